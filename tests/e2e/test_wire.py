"""The milter protocol itself: what it negotiates, and what Postfix would never send."""

import os
import socket
import struct
import threading

import pytest

from harness import MilterClient, MilterGone
from milter_client import (ACTIONS_ALL, NO_CONNECT, NO_DATA, NO_HELO, NO_MAIL, NO_RCPT, NO_REPLY,
                           SET_SYMLIST)  # fmt: skip

pytestmark = pytest.mark.sanitizer


@pytest.fixture
def known(world):
    path = world.file("map", "alice@example.test OK\nbob@example.test OK\n用户@example.test OK\n")
    return f"texthash:{path}"


@pytest.fixture(params=["primary", "fallback"])
def milter(request, world, known):
    return world.milter(role=request.param, recipient_maps=known, recipient_delimiter="+", verbose=2)


def unknown(milter):
    return {"primary": (450, "4.1.1"), "fallback": (550, "5.1.1")}[milter.config["role"]]


HELD = (451, "4.4.3")

# Negotiation


def test_it_negotiates_away_all_but_rcpt(milter):
    with milter.session() as session:
        assert session.steps & NO_RCPT == 0 and session.steps & NO_REPLY["R"] == 0
        for bit in (NO_CONNECT, NO_HELO, NO_MAIL, NO_DATA):
            assert session.steps & bit, hex(session.steps)
        assert session.actions & ~SET_SYMLIST == 0, "it changes no message"
        asked = session.symlists["R"].split()
        assert {"{rcpt_addr}", "{client_addr}", "{mail_addr}", "{auth_type}", "i"} <= set(asked)


def test_it_lives_without_setsymlist(milter):
    with milter.session(actions=ACTIONS_ALL & ~SET_SYMLIST) as session:
        assert session.symlists == {} and session.actions == 0
        session.mail()
        assert session.rcpt("alice@example.test").code == 250
        assert session.rcpt("ghost@example.test").codes == unknown(milter)


def test_it_lives_with_a_server_that_skips_nothing(milter):
    """An old sendmail sends every stage; each gets its answer."""
    with milter.session(steps=0) as session:
        session.mail()
        assert session.rcpt("alice@example.test").kind == "c"
        assert session.rcpt("ghost@example.test").codes == unknown(milter)
        session._event("T", b"")
        for command, payload in (("L", b"Subject\0x\0"), ("N", b""), ("B", b"text\r\n"), ("E", b"")):
            session.send(command, payload)
            assert session.answer().kind in "ca"
        session.mail()
        assert session.rcpt("ghost@example.test").codes == unknown(milter)


def test_a_pass_is_continue_and_never_accept(milter):
    with milter.session() as session:
        session.mail()
        for recipient in ("alice@example.test", "postmaster", "bob+x@example.test"):
            assert session.rcpt(recipient).kind == "c"
    with milter.session(auth_type="PLAIN") as session:
        session.mail()
        assert session.rcpt("ghost@example.test").kind == "c"


# Macros


def test_without_any_macros_the_argument_is_checked(milter):
    with milter.session() as session:
        assert session.rcpt_without_macros("alice@example.test").code == 250
        assert session.rcpt_without_macros("ghost@example.test").codes == unknown(milter)


def test_with_an_empty_macro_packet_the_argument_is_checked(milter):
    with milter.session() as session:
        assert session.rcpt("alice@example.test", resolved=None).code == 250
        assert session.rcpt("ghost@example.test", resolved=None).codes == unknown(milter)


def test_a_sticky_macro_of_the_recipient_before_passes_nobody(milter):
    with milter.session() as session:
        session.mail()
        assert session.rcpt("alice@example.test").code == 250
        assert session.rcpt_without_macros("ghost@example.test").codes == HELD
        assert session.rcpt_without_macros("bob@example.test").codes == HELD
        assert session.rcpt("bob@example.test").code == 250


def test_a_sticky_macro_passes_no_other_utf8_recipient(milter):
    with milter.session() as session:
        session.mail()
        assert session.rcpt("用户@example.test").code == 250
        assert session.rcpt_without_macros("别人别人@example.test").code != 250


ROUTED = [  # to alice@example.test: Postfix 3.7.11
    "alice%example.test@mx.test", "example.test!alice@mx.test", "alice%example.test@[127.0.0.1]",
    '"@a.test:alice"@example.test', "alice%example.test",
]  # fmt: skip


def test_a_recipient_routed_through_this_host_is_the_one_postfix_resolved(milter):
    for argument in ROUTED:
        with milter.session() as session:
            for _ in range(2):  # the sender comes again, over the same connection
                session.mail()
                assert session.rcpt(argument, resolved="alice@example.test").code == 250, argument
                session.abort()
            ghost = session.rcpt(argument.replace("alice", "ghost"), resolved="ghost@example.test")
            assert ghost.codes == unknown(milter), argument
            assert session.rcpt(argument, resolved="alice@example.test").code == 250, argument


def test_nobody_is_refused_for_the_sticky_macro_of_an_unknown_recipient(milter):
    """The argument names alice; what {rcpt_addr} says is left over from a ghost before her."""
    for argument in [*ROUTED, "alice@example.test", '"Alice" <alice@example.test>', "<<alice@example.test>>"]:
        with milter.session() as session:
            session.mail()
            assert session.rcpt("ghost@example.test").codes == unknown(milter)
            for _ in range(2):
                assert session.rcpt_without_macros(argument).codes == HELD, argument
            session.abort()
            session.mail()
            assert session.rcpt_without_macros(argument).codes == HELD, argument
            assert session.rcpt(argument, resolved="alice@example.test").code == 250, argument


def test_a_sticky_macro_that_is_no_address_bounces_nobody(milter):
    with milter.session() as session:
        session.mail()
        assert session.rcpt("a..b@example.test", resolved="a@@b").code != 250
        assert session.rcpt_without_macros("alice@example.test").codes == HELD


def test_no_macro_outlives_its_session(milter):
    with milter.session() as session:
        session.mail()
        assert session.rcpt("ghost@example.test").codes == unknown(milter)
        session.abort()
        session.next_session()
        session.mail()
        assert session.rcpt_without_macros("alice@example.test").code == 250


def test_what_postfix_resolved_counts_where_it_rewrote_the_argument(milter):
    with milter.session() as session:
        session.mail()
        for argument, resolved in (
            (b'"Alice" <alice@example.test>', b"alice@example.test"),
            (b"<@relay.test,@other.test:alice@example.test>", b"alice@example.test"),
            (b"<ALICE@Example.Test>", b"alice@example.test"),
            (b'<"alice"@example.test>', b"alice@example.test"),
            (b'<"al\\ice"@example.test>', b"alice@example.test"),
        ):
            assert session.rcpt(argument, resolved=resolved).code == 250, argument
            ghost = argument.replace(b"lice", b"lison").replace(b"LICE", b"LISON").replace(b"l\\ice", b"l\\ison")
            answer = session.rcpt(ghost, resolved=b"alison@example.test")
            assert answer.codes == unknown(milter), (ghost, answer)


def test_two_different_addresses_of_which_one_may_be_old_are_held(milter):
    with milter.session() as session:
        session.mail()
        assert session.rcpt("alice@example.test").code == 250
        answer = session.rcpt("ghost@example.test", resolved="alice@example.test")
    assert answer.codes == HELD
    assert milter.log.find("reject:.*ghost@example.test")


# Bytes


@pytest.mark.parametrize(
    "argument",
    [
        b"<ali\0ce@example.test>", b"<alice@example.test\0>", b"\0", b"", b"<>", b"<", b">", b"<<>>",
        b"<alice@example.test", b"alice@example.test>", b"<alice@@example.test>", b"<@>", b"<alice@>",
        b"<alice@example..test>", b"<alice@.example.test>", b"<alice@-example.test>", b"<a b@example.test>",
        b"<alice@exa mple.test>", b"<\"alice@example.test>", b"<\"ali\"ce@example.test>",
        b"<alice\x7f@example.test>", b"<alice\x1b[0m@example.test>", b"<alice\r\n@example.test>",
        b"<\xc0\xafalice@example.test>", b"<\xed\xa0\x80@example.test>", b"<\xff@example.test>",
        b"<" + b"a" * 5000 + b"@example.test>", b"<alice@" + b"d" * 300 + b".test>",
        b"<alice@[127.0.0.1>", b"<alice@[300.0.0.1]>", b"<.alice@example.test>",
        b"<" + b"\"" * 2000, b"<" + b"\\" * 2000,
    ],
    ids=lambda value: repr(value[:24]),
)  # fmt: skip
def test_what_cannot_be_parsed_never_passes(milter, argument):
    with milter.session() as session:
        session.mail()
        # As the argument alone, and as Postfix might have resolved it.
        for resolved in (None, argument.split(b"\0")[0]):
            session.macros["{rcpt_addr}"] = resolved
            session.send_macros("R")
            session.send("R", argument + b"\0")
            answer = session.answer()
            assert answer.code != 250, (argument, resolved, answer)
        assert session.rcpt("alice@example.test").code == 250, "the session goes on"


def test_an_rcpt_packet_without_any_argument_does_no_harm(milter):
    with milter.session() as session:
        session.macros["{rcpt_addr}"] = None
        session.send("R", b"")
        try:
            assert session.answer().code != 250
        except (MilterGone, ConnectionResetError):
            pass
    assert milter.ask("alice@example.test").code == 250


def test_no_control_byte_reaches_the_log(milter):
    evil = b"<a\x1b[2J\r\nNov 20 00:00:00 mx forged: line\x07\x9b\xc2\x9b@example.test>"
    with milter.session(client_name="evil\r\nforged: too", client="192.0.2.9") as session:
        session.mail("wri\nter\x1b@elsewhere.test")
        session.rcpt(evil)
        session.rcpt_without_macros(evil)
    milter.log.wait("reject:.*forged: line")
    for line in milter.log.bytes().split(b"\n"):
        assert not any(byte < 0x20 or byte == 0x7F for byte in line), line
        line.decode("utf-8")
        assert b"\xc2\x9b" not in line
        assert not line.startswith((b"Nov 20", b"forged"))


# Sessions


def test_several_messages_and_aborts_share_a_session(milter):
    with milter.session() as session:
        for i in range(20):
            session.mail(f"sender{i}@elsewhere.test", queue_id=f"4ABC{i}")
            assert session.rcpt("alice@example.test").code == 250
            assert session.rcpt(f"ghost{i}@example.test").codes == unknown(milter)
            session.abort()
    assert milter.log.find("4ABC7: reject:.*from=<sender7@.*to=<ghost7@")


def test_a_connection_may_carry_several_sessions(milter):
    with milter.session() as session:
        for i in range(3):
            session.mail()
            assert session.rcpt("alice@example.test").code == 250
            assert session.rcpt(f"ghost{i}@example.test").codes == unknown(milter)
            session.abort()
            session.next_session()


def test_a_session_may_end_anywhere(milter):
    def begin(negotiate=True):
        return MilterClient(milter.socket, negotiate=negotiate)

    begin(negotiate=False).close()
    begin().close()
    session = begin()
    session.mail()
    session.close()
    session = begin()
    session.mail()
    session.send_macros("R")
    session.close()
    session = begin()
    session.mail()
    session.send("R", b"<ghost@example.test>\0")
    session.close()
    session = begin(negotiate=False)
    session.send("Q")
    session.close()
    session = begin()
    session.send_bytes(struct.pack(">I", 100) + b"Rhalf")
    session.close()
    assert milter.ask("alice@example.test").code == 250


@pytest.mark.parametrize(
    "garbage",
    [b"EHLO x\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\0" * 64, b"\xff" * 64, struct.pack(">I", 0),
     struct.pack(">I", 0x7FFFFFFF) + b"R", struct.pack(">I", 5) + b"Oabcd",
     struct.pack(">I", 13) + b"O" + struct.pack(">III", 1, 0, 0), struct.pack(">I", 1) + b"\xee",
     struct.pack(">I", 4) + b"Rabc"],
    ids=lambda value: repr(value[:12]),
)  # fmt: skip
def test_garbage_does_no_harm(milter, garbage):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(milter.socket))
        connection.sendall(garbage)
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(20)
        try:
            while connection.recv(4096):
                pass
        except (ConnectionResetError, BrokenPipeError):
            pass
    assert milter.ask("alice@example.test").code == 250


def test_many_sessions_at_once_get_their_own_answers(milter):
    """Session state and macros belong to sessions, not to threads: libmilter moves them about."""
    wrong = []

    def run(number):
        try:
            with milter.session() as session:
                for i in range(25):
                    session.mail(f"s{number}@elsewhere.test")
                    if session.rcpt("alice@example.test").code != 250:
                        wrong.append((number, i, "alice"))
                    address = f"g{number}x{i}@example.test"
                    answer = session.rcpt(address)
                    if answer.codes != unknown(milter) or address not in answer.text:
                        wrong.append((number, i, answer))
                    session.abort()
        except (OSError, EOFError) as error:
            wrong.append((number, error))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, wrong[:3]
    for number in (0, 7, 15):
        assert milter.log.find(f"from=<s{number}@elsewhere.test> to=<g{number}x3@example.test>")
        assert not milter.log.find(f"reject:.*from=<s{number}@.*to=<g(?!{number}x)")


def test_open_descriptors_do_not_grow_with_sessions(milter):
    def descriptors():
        return len(os.listdir(f"/proc/{milter.pid}/fd"))

    milter.ask("ghost@example.test")
    before = descriptors()
    for i in range(100):
        milter.ask(f"ghost{i}@example.test")
    assert descriptors() <= before + 10
