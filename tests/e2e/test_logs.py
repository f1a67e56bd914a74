"""What is logged, and how: text, JSON, the journal's fields; what a flood leaves out; what a recovery says.
That every line of every other test is one we know is daemon.py's to see (log_grammar.py)."""

import json
import re
import socket
import threading

import pytest

from harness import wait_until
from log_grammar import Ungrammatical, check_log

HOSTILE = [
    b"<\"a> role=fallback verdict=\\\"known\\\"\"@example.test>",
    b"<\"x; from=<y> to=<z>\"@example.test>",
    b"<new\nline@example.test>",
    b"<\xff\xfe@example.test>",
    "<\u202edrawkcab@example.test>".encode(),
    "<jürgen🐦@example.test>".encode(),
    b"<" + b"a" * 5000 + b"@example.test>",
    b"<}{\",@example.test>",
    b"<\\u0000@example.test>",
    b"",
]


@pytest.fixture
def known(world):
    return f"texthash:{world.file('map', 'alice@example.test OK' + chr(10))}"


def objects(milter, since=0):
    return [json.loads(line) for line in milter.log.lines(since)]


# The grammar itself

RECIPIENT = ('rcpt-milter: NOQUEUE: reject: RCPT from a[192.0.2.1]: 450 4.1.1 <x@y>: no; from=<s> to=<x@y> '
             'role=primary verdict="unknown on a primary" evidence=directory age=0s')  # fmt: skip


@pytest.mark.parametrize("line", [
    RECIPIENT,
    RECIPIENT.replace("450 4.1.1", "550 5.1.1") + ' why="no reason"',
    RECIPIENT + ' held="a sentinel recipient is missing" why="x"',
    'rcpt-milter: 1A2b: pass: RCPT from b[::1]; from=<> to=<x@y> role=fallback verdict="known"',
    "rcpt-milter: error: mysql h: gone; no lookup goes there until it answers again",
    "rcpt-milter: trace [192.0.2.1] key x@y",
])  # fmt: skip
def test_the_grammar_takes_what_is_right(line):
    check_log(line.encode() + b"\n")


@pytest.mark.parametrize("line", [
    RECIPIENT.replace("rcpt-milter: ", ""),
    RECIPIENT.replace("4.1.1", "5.1.1"),
    RECIPIENT.replace("to=<x@y>", "to=<x@y> role=fallback"),
    RECIPIENT.replace("to=<x@y>", "to=<x>@y>"),
    RECIPIENT.replace(' verdict="unknown on a primary"', ""),
    RECIPIENT.replace("450 4.1.1", "550 5.1.1") + ' held="x"',
    RECIPIENT.replace("evidence=directory", "evidence=nobody"),
    RECIPIENT + " s3cret-Passw0rd",
    "rcpt-milter: something nobody has heard of",
    "rcpt-milter: stopped\x1b[2J",
    "rcpt-milter: stopped \u202e",
    "stopped",
    '{"time":"2026-11-20T20:00:00.123Z","level":"info","program":"rcpt-milter","event":"recipient","message":"x"}',
    "{",
])  # fmt: skip
def test_the_grammar_refuses_what_is_wrong(line):
    with pytest.raises(Ungrammatical):
        check_log(line.encode() + b"\n")


# Forms

@pytest.mark.parametrize("form", ["text", "json"])
def test_no_client_can_break_a_line(world, known, form):
    """Each hostile recipient is one line, or one object, that says what it was."""
    milter = world.milter(recipient_maps=known, log_format=form, log_known="yes", verbose=0)
    mark = milter.log.end()
    with milter.session(client="192.0.2.7") as session:
        session.mail(b"<sen\"der>@elsewhere.test>")
        for argument in HOSTILE:
            assert session.rcpt(argument).code >= 400
        assert session.rcpt("alice@example.test").code == 250
    milter.log.wait("alice@example.test", mark)
    lines = milter.log.lines(mark)
    assert len(lines) == len(HOSTILE) + 1
    milter.check_log()
    if form == "json":
        recipients = objects(milter, mark)
        assert {entry["client_address"] for entry in recipients} == {"192.0.2.7"}
        named = [entry["to"] for entry in recipients]
        assert '"a> role=fallback verdict=\\"known\\""@example.test' in named
        assert "jürgen🐦@example.test" in named and "\u202edrawkcab@example.test" in named
        assert r"\xff\xfe@example.test" in named and "new\nline@example.test" in named
        assert recipients[-1]["action"] == "pass" and "code" not in recipients[-1]


def test_a_json_line_has_the_fields_of_its_recipient(world, known):
    milter = world.milter(recipient_maps=known, role="fallback", log_format="json", syslog_name="mx-2")
    mark = milter.log.end()
    with milter.session(client="192.0.2.7", client_name="mail.example.org") as session:
        session.mail("sender@elsewhere.test", queue_id="4Xyz12")
        session.rcpt("ghost@example.test")
    milter.log.wait('"recipient"', mark)
    (entry,) = [entry for entry in objects(milter) if entry["event"] == "recipient"]
    age = entry.pop("age")
    assert isinstance(age, int) and age >= 0
    assert re.fullmatch(r"2\d\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", entry.pop("time"))
    assert entry == {
        "level": "info", "program": "mx-2", "event": "recipient",
        "message": "4Xyz12: reject: RCPT from mail.example.org[192.0.2.7]: 550 5.1.1 <ghost@example.test>: "
                   "User unknown, please check the address",
        "queue_id": "4Xyz12", "action": "reject", "client_name": "mail.example.org",
        "client_address": "192.0.2.7", "code": "550", "enhanced": "5.1.1",
        "text": "<ghost@example.test>: User unknown, please check the address",
        "from": "sender@elsewhere.test", "to": "ghost@example.test", "role": "fallback",
        "verdict": "unknown on the fallback", "evidence": "directory",
    }  # fmt: skip
    milter.stop()
    events = {entry["event"] for entry in objects(milter)}
    assert events == {"recipient", "trace", "daemon"}  # every line of its life


def test_what_the_files_have_to_say_at_the_start_is_json_too(world):
    path = world.file("map", "alice@example.test OK\nlonely\n")
    milter = world.milter(recipient_maps=f"texthash:{path}", log_format="json", verbose=2)
    milter.ask("alice@example.test")
    milter.stop()
    assert [entry for entry in objects(milter) if entry["level"] == "warning" and str(path) in entry["message"]]


def test_a_reload_changes_the_form(world, known):
    milter = world.milter(recipient_maps=known)
    mark = milter.log.end()
    milter.reload(log_format="json")
    milter.ask("ghost@example.test")
    milter.log.wait("ghost", mark)
    assert objects(milter, mark)[-1]["to"] == "ghost@example.test"


# The journal

IN_A_WORLD_WITH_A_JOURNAL = """
    mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal &&
    mount --bind "$0" /run/systemd/journal &&
    export JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) && exec "$@"
"""


class Journal:
    """What systemd's journal would receive."""

    def __init__(self, directory):
        self.directory = directory
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(directory / "socket"))
        self.socket.settimeout(30)
        self.wrapper = ["unshare", "--mount", "sh", "-c", IN_A_WORLD_WITH_A_JOURNAL, directory]

    def next(self, **wanted):
        """The next entry with these fields."""
        while True:
            entry = dict(line.split("=", 1) for line in self.socket.recv(65536).decode().splitlines())
            if wanted.items() <= entry.items():
                return entry


@pytest.fixture
def journal(world):
    journal = Journal(world.scratch.new("j"))
    yield journal
    journal.socket.close()


def test_the_journal_gets_the_fields(world, known, journal):
    milter = world.milter(recipient_maps=known, wrapper=journal.wrapper, syslog_name="mx-2", verbose=0)
    started = journal.next(PRIORITY="6")
    assert started["RCPT_MILTER_EVENT"] == "daemon"
    milter.ask("ghost@example.test")
    entry = journal.next(RCPT_MILTER_EVENT="recipient")
    assert entry["SYSLOG_IDENTIFIER"] == "mx-2" and entry["SYSLOG_FACILITY"] == "2"
    assert entry["RCPT_MILTER_TO"] == "ghost@example.test"
    assert entry["RCPT_MILTER_VERDICT"] == "unknown on a primary"
    assert entry["RCPT_MILTER_CODE"] == "450" and entry["RCPT_MILTER_EVIDENCE"] == "directory"
    check_log(f"mx-2: {entry['MESSAGE']}\n".encode(), "mx-2")
    milter.reload(log_format="json")
    milter.ask("ghost2@example.test")
    entry = journal.next(RCPT_MILTER_TO="ghost2@example.test")
    assert json.loads(entry["MESSAGE"])["to"] == "ghost2@example.test"
    assert not milter.log.find("ghost")  # nothing is said twice


def test_a_journal_that_does_not_read_holds_nobody_up(world, known, journal):
    milter = world.milter(recipient_maps=known, wrapper=journal.wrapper, log_rate_limit="0")
    for _ in range(3):
        answers = milter.ask(*[f"g{i}@example.test" for i in range(100)])
        assert {answer.code for answer in answers} == {450}
    read = threading.Thread(target=lambda: journal.next(MESSAGE="stopped"))
    read.start()
    milter.stop()
    read.join()


def test_without_the_journal_behind_it_standard_error_is_what_it_is(world, known):
    milter = world.milter(recipient_maps=known, environment={"JOURNAL_STREAM": "1:2"})
    milter.ask("ghost@example.test")
    milter.log.wait("reject:.*ghost")


# Floods

def test_a_flood_is_cut_and_counted(world, known):
    milter = world.milter(recipient_maps=known, log_known="yes", verbose=0, log_rate_limit="20/1h")
    mark = milter.log.end()
    milter.ask(*[f"g{i}@example.test" for i in range(120)], *["alice@example.test"] * 30)
    milter.reload(role="fallback")  # a change of state is told all the same
    milter.ask(*[f"b{i}@example.test" for i in range(25)])
    milter.stop()
    assert len(milter.log.find(r"450 4\.1\.1", mark)) == 20
    assert not milter.log.find("pass: RCPT", mark)
    assert len(milter.log.find(r"550 5\.1\.1", mark)) == 20, "bounces have a limit of their own"
    assert milter.log.find("configuration .* reloaded", mark)
    (told,) = milter.log.find("left out", mark)
    assert re.search(r"warning: 135 lines about recipients were left out in the last \d+ s "
                     r"\(pass 30, 4xx 100, 5xx 5\)", told)  # fmt: skip


def test_what_was_left_out_is_told_when_the_flood_is_over(world, known):
    milter = world.milter(recipient_maps=known, verbose=0, log_rate_limit="10/1s")
    while milter.stats()["log_lines_suppressed"] < 50:
        milter.ask(*[f"g{i}@example.test" for i in range(40)])
    milter.log.wait("lines about recipients were left out")
    told = [int(re.search(r"(\d+) lines about", line)[1]) for line in milter.log.find("left out")]
    wait_until(lambda: sum(told) == milter.stats()["log_lines_suppressed"])


# States

@pytest.mark.sanitizer
def test_a_recovery_says_how_long_it_took_and_who_answered(world, own_directory, own_recipients):
    milter = world.milter(role="fallback", recipient_maps=own_recipients, process_cache_entries="0")
    assert milter.ask("alice@example.test").code == 250
    wait_until(lambda: milter.stats()["known_good_entries"] == 1)
    own_directory.kill()
    for _ in range(3):
        assert milter.ask("alice@example.test").code == 250
    assert {answer.code for answer in milter.ask("nobody@example.test", "ghost@example.test")} == {550}
    own_directory.start()
    wait_until(lambda: milter.ask("carol@example.test").code == 250)
    (told,) = milter.log.find("mysql .* answers again after")
    said = re.search(r"after \d+\.\d s; meanwhile 0 lookups were answered from stale answers, 3 from the "
                     r"known-good store, (\d+) by nobody$", told)  # fmt: skip
    assert said and int(said[1]) >= 2, told
