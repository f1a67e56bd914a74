"""SMTP sessions through a real Postfix with a primary and a fallback behind it."""

import pytest

from harness import SmtpClient, World, ask_postfix, mysql_table, wait_until


@pytest.fixture(scope="module")
def nodes(scratch, recipients):
    with World(scratch) as world:
        mx = world.postfix_not_started(relay_domains="example.test all.test alias.test")
        milters = {
            role: world.milter(
                role, socket_directory=mx.milter_directory(), role=role,
                recipient_maps=recipients, recipient_delimiter="+", lookup_deadline="20s",
                mysql_query_timeout="15s",
            )
            for role in ("primary", "fallback")
        }  # fmt: skip
        mx.listen_with(milters).start()
        mx.milters = milters
        yield mx


UNKNOWN = {"primary": (450, "4.1.1"), "fallback": (550, "5.1.1")}


@pytest.mark.sanitizer
@pytest.mark.parametrize("role", ["primary", "fallback"])
def test_each_of_100_mixed_recipients_gets_its_own_answer(nodes, role):
    kinds = [
        ("alice@example.test", 250), ("no{}@example.test", UNKNOWN[role][0]),
        ("alice+{}@example.test", 250), ("any{}@all.test", 250), ("u{}@elsewhere.test", 554),
        ("bob@alias.test", 250), ("no{}@alias.test", UNKNOWN[role][0]), ("postmaster", 250),
        ('"no {}"@example.test', UNKNOWN[role][0]), ('"john doe"@example.test', 250),
    ]  # fmt: skip
    with SmtpClient(nodes.port(role)) as session:
        session.mail()
        for i in range(100):
            address, code = kinds[i % len(kinds)]
            reply = session.rcpt(address.format(i))
            assert reply.code == code, (address.format(i), reply)
        assert session.data().code == 250


def test_only_accepted_recipients_of_a_mixed_message_get_it(nodes):
    mark = nodes.log.end()
    with SmtpClient(nodes.port("fallback")) as session:
        session.mail()
        codes = [session.rcpt(f"{name}@example.test").code for name in ("nil1", "alice", "nil2", "bob")]
        assert codes == [550, 250, 550, 250]
        queue_id = session.data().text.rpartition(" ")[2]
    nodes.log.wait(f"{queue_id}: removed", mark)
    sent = nodes.log.find(f"{queue_id}: to=.*status=sent", mark)
    assert len(sent) == 2 and "alice@" in "".join(sent) and "bob@" in "".join(sent)


@pytest.mark.parametrize("role", ["primary", "fallback"])
def test_rset_and_several_messages_keep_answers_apart(nodes, role):
    with SmtpClient(nodes.port(role)) as session:
        for i in range(5):
            session.mail(f"sender{i}@elsewhere.test")
            assert session.rcpt(f"ghost{i}@example.test").codes == UNKNOWN[role]
            assert session.rset().code == 250
            session.mail(f"sender{i}@elsewhere.test")
            assert session.rcpt("alice@example.test").code == 250
            assert session.rcpt(f"ghost{i}@example.test").codes == UNKNOWN[role]
            assert session.data().code == 250


def test_a_message_without_an_accepted_recipient_gets_no_data(nodes):
    with SmtpClient(nodes.port("primary")) as session:
        session.mail()
        assert session.rcpt("ghost@example.test").code == 450
        assert session.data().code >= 400


@pytest.mark.parametrize("role", ["primary", "fallback"])
def test_pipelined_commands_get_their_answers_in_order(nodes, role):
    with SmtpClient(nodes.port(role)) as session:
        known = ["alice@example.test", "bob@example.test"]
        commands, codes = ["MAIL FROM:<s@elsewhere.test>"], [250]
        for i in range(40):
            commands.append(f"RCPT TO:<{known[i // 2 % 2] if i % 2 else f'pipe{i}@example.test'}>")
            codes.append(250 if i % 2 else UNKNOWN[role][0])
        commands += ["RSET", "MAIL FROM:<>", "RCPT TO:<bob@example.test>", "RCPT TO:<pipe@example.test>"]
        codes += [250, 250, 250, UNKNOWN[role][0]]
        assert [reply.code for reply in session.pipeline(commands)] == codes


def test_the_empty_sender_is_asked_about_like_any_other(nodes):
    replies = ask_postfix(nodes.port("fallback"), "alice@example.test", "void@example.test", sender="")
    assert [reply.code for reply in replies] == [250, 550]


@pytest.mark.parametrize(
    "argument",
    ["alice@example.test", "<alice@example.test>", "<@a.test,@b.test:alice@example.test>",
     "<ALICE@EXAMPLE.TEST>", '<"alice"@example.test>', '<"a\\lice"@example.test>', "<jürgen@example.test>",
     "<JÜRGEN@example.test>", '"Alice"<alice@example.test>', "<alice@example.test> NOTIFY=never"],
)  # fmt: skip
@pytest.mark.parametrize("role", ["primary", "fallback"])
def test_every_way_to_write_an_address_gets_the_answer_of_the_address(nodes, role, argument):
    """What the milter gets is the client's own text; Postfix makes something of it first."""
    ghost = argument.replace("lice", "list").replace("LICE", "LIST").replace("rgen", "rgex").replace("RGEN", "RGEX")
    with SmtpClient(nodes.port(role)) as session:
        session.mail(options="SMTPUTF8" if "J" in argument or "j" in argument else "")
        assert session.command(f"RCPT TO:{argument}").code == 250
        reply = session.command(f"RCPT TO:{ghost}")
        assert reply.codes == UNKNOWN[role], (ghost, reply)


def test_utf8_without_smtputf8_is_answered_like_utf8_with_it(nodes):
    with SmtpClient(nodes.port("fallback")) as session:
        session.mail()
        assert session.rcpt("jürgen@example.test").code == 250
        assert session.rcpt("jörgen@example.test").code == 550


def test_a_refusal_is_found_in_the_log_by_recipient_client_and_queue_id(nodes):
    milter = nodes.milters["fallback"]
    mark = milter.log.end()
    with SmtpClient(nodes.port("fallback")) as session:
        session.mail("writer@elsewhere.test")
        session.rcpt("typo-one@example.test")
        assert session.rcpt("alice@example.test").code == 250
        session.rcpt("typo-two@example.test")
        queue_id = session.data().text.rpartition(" ")[2]
    early = milter.log.wait(r"reject: RCPT from .*<typo-one@example\.test>", mark)
    late = milter.log.wait(r"reject: RCPT from .*<typo-two@example\.test>", mark)
    for line, recipient in ((early, "typo-one"), (late, "typo-two")):
        assert "[127.0.0.1]" in line and "550 5.1.1" in line
        assert "from=<writer@elsewhere.test>" in line and f"to=<{recipient}@example.test>" in line
        assert 'verdict="unknown on the fallback"' in line
    # Postfix gives a queue id once a recipient was accepted.
    assert "NOQUEUE: reject:" in early
    assert f"{queue_id}: reject:" in late
    assert not milter.log.find("reject:.*alice@example.test", mark)


def test_one_line_is_logged_per_refusal(nodes):
    milter = nodes.milters["primary"]
    mark = milter.log.end()
    ask_postfix(nodes.port("primary"), "once@example.test", "once@example.test")
    wait_until(lambda: len(milter.log.find("reject:.*to=<once@example.test>", mark)) >= 2)
    assert len(milter.log.find("reject:", mark)) == 2


@pytest.fixture
def node(world, recipients):
    """A fallback of this test's own behind a Postfix of its own."""
    mx = world.postfix_not_started(relay_domains="example.test")
    milter = world.milter(
        socket_directory=mx.milter_directory(), role="fallback", recipient_maps=recipients,
        fallback_unknown_reply="550 5.1.1 <$recipient> is 100% unknown (%s %d%%) at $domain",
    )  # fmt: skip
    mx.listen_with({"smtpd": milter}).start()
    return mx, milter


def test_a_killed_milter_means_451_and_nothing_is_relayed(node):
    mx, milter = node
    with SmtpClient(mx.port()) as session:
        session.mail()
        assert session.rcpt("alice@example.test").code == 250
        milter.kill()
        assert session.rcpt("bob@example.test").code == 451
        assert session.rcpt("ghost@example.test").code == 451
        assert session.data().code // 100 == 4
    with SmtpClient(mx.port()) as session:
        assert session.mail().code == 451
        assert session.rcpt("alice@example.test").code >= 400
        assert session.data().code >= 400
    assert not mx.log.find("status=sent")

    milter.start()
    replies = ask_postfix(mx.port(), "alice@example.test", "ghost@example.test")
    assert [reply.code for reply in replies] == [250, 550]


def test_percent_signs_and_names_of_a_reply_reach_the_client(node):
    mx, _ = node
    reply = ask_postfix(mx.port(), "ghost@example.test")
    assert str(reply) == (
        "550 5.1.1 <ghost@example.test> is 100% unknown (%s %d%%) at example.test"
    )


def test_it_is_never_an_open_relay(node):
    mx, milter = node
    assert ask_postfix(mx.port(), "someone@elsewhere.test").codes == (554, "5.7.1")
    milter.stop()
    assert ask_postfix(mx.port(), "someone@elsewhere.test").code >= 400
    with SmtpClient(mx.port()) as session:
        assert session.mail().code == 451


def test_a_stopping_milter_answers_what_it_was_asked(world, directory):
    """TERM drains: the answer in flight is delivered, and the exit is clean."""
    query = "SELECT address FROM recipients WHERE address = '%s' AND SLEEP(1) = 0"
    milter = world.milter(
        role="fallback", recipient_maps=mysql_table(world, directory, query), lookup_deadline="10s"
    )
    with milter.session() as session:
        session.mail()
        session.macros["{rcpt_addr}"] = "alice@example.test"
        session.send_macros("R")
        session.send("R", b"<alice@example.test>\0")
        wait_until(lambda: directory.running(containing="SLEEP(1)"), what="the query to begin")
        milter.send(15)
        assert session.answer().kind == "c"
    milter.stop()
