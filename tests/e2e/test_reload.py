"""SIGHUP: the new configuration takes over and nobody notices, or it is refused and nobody suffers."""

import os
import re
import threading

import pytest

from harness import SmtpClient, wait_until


@pytest.fixture
def known(world):
    return f"texthash:{world.file('map', 'alice@example.test OK' + chr(10))}"


def test_a_reload_changes_what_it_says(world, known):
    milter = world.milter(recipient_maps=known)
    assert milter.ask("ghost@example.test").codes == (450, "4.1.1")
    milter.reload(role="fallback")
    assert milter.ask("ghost@example.test").codes == (550, "5.1.1")
    milter.reload(recipient_maps="static:x")
    assert milter.ask("ghost@example.test").code == 250
    assert milter.stats()["reloads"] == 2


def test_an_open_session_goes_on_under_the_new_configuration(world, known):
    milter = world.milter(recipient_maps=known)
    with milter.session() as session:
        session.mail()
        assert session.rcpt("ghost@example.test").code == 450
        milter.reload(role="fallback")
        assert session.rcpt("ghost@example.test").code == 550


@pytest.mark.sanitizer
def test_reloads_under_load_lose_nothing(world, recipients):
    """Sessions over the milter protocol and through Postfix, while the configuration changes."""
    memcached = world.memcached()
    mx = world.postfix_not_started(relay_domains="example.test")
    milter = world.milter(
        socket_directory=mx.milter_directory(), role="primary", recipient_maps=recipients,
        memcache_servers=f"unix:{memcached.socket}", memcache_timeout="5s",
        lookup_deadline="30s", mysql_query_timeout="25s", lookup_slots="12",
    )  # fmt: skip
    mx.listen_with({"smtpd": milter}).start()
    stop = threading.Event()
    wrong, asked = [], []

    def check(reply, codes, what):
        asked.append(what)
        if reply.code not in codes:
            wrong.append((what, reply))

    def over_milter(number):
        with milter.session() as session:
            i = 0
            while not stop.is_set():
                session.mail()
                check(session.rcpt("alice@example.test"), (250,), "alice")
                # Unknown ones are 450 under one configuration and 550 under the next.
                check(session.rcpt(f"m{number}i{i}@example.test"), (450, 550), "ghost")
                session.abort()
                i += 1

    def over_smtp(number):
        i = 0
        while not stop.is_set():
            with SmtpClient(mx.port()) as session:
                for _ in range(5):
                    check(session.mail(), (250,), "MAIL")
                    check(session.rcpt("bob@example.test"), (250,), "bob")
                    check(session.rcpt(f"s{number}i{i}@example.test"), (450, 550), "ghost")
                    check(session.rset(), (250,), "RSET")
                    i += 1

    def guarded(run, number):
        try:
            run(number)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test must hear of it
            wrong.append((run.__name__, repr(error)))

    threads = [threading.Thread(target=guarded, args=(run, number))
               for number, run in enumerate([over_milter] * 3 + [over_smtp] * 2)]  # fmt: skip
    for thread in threads:
        thread.start()
    try:
        for i in range(12):
            before = len(asked)
            milter.reload(role=("fallback", "primary")[i % 2], negative_ttl=f"{60 + i}s")
            wait_until(lambda before=before: len(asked) > before + 20 or wrong, 60, "answers to go on")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not wrong, wrong[:5]
    assert milter.stats()["reloads"] == 12
    milter.stop()


def test_reloads_do_not_leak_threads_connections_or_descriptors(world, own_directory, own_recipients):
    milter = world.milter(recipient_maps=own_recipients, mysql_connections="2")

    def census():
        milter.ask("alice@example.test")
        return (len(os.listdir(f"/proc/{milter.pid}/fd")), len(os.listdir(f"/proc/{milter.pid}/task")),
                len(own_directory.running()))  # fmt: skip

    milter.reload(positive_ttl="50m")
    before = census()
    for i in range(10):
        milter.reload(positive_ttl=f"{i + 1}m")
    after = census()
    assert after[0] <= before[0] + 5 and after[1] <= before[1] + 3 and after[2] <= 2, (before, after)


# A wrong configuration

WRONG = [
    ({"rolle": "primary"}, r"rolle.*role"),
    ({"role": "primry"}, r"role"),
    ({"lookup_deadline": "soon"}, r"lookup_deadline"),
    ({"lookup_slots": "0"}, r"lookup_slots"),
    ({"primary_unknown_reply": "450 5.1.1 mixed classes"}, r"primary_unknown_reply"),
    ({"fallback_unknown_reply": "gone"}, r"fallback_unknown_reply"),
    ({"recipient_maps": "texthash:/nonexistent/map"}, r"/nonexistent/map"),
    ({"recipient_maps": "mysql:/nonexistent/x.cf"}, r"/nonexistent/x\.cf"),
    ({"recipient_maps": "hash:/etc/aliases"}, r"hash"),
    ({"memcache_servers": "unix:relative"}, r"memcache_servers"),
    ({"exempt_networks": "10.0.0.1/8"}, r"exempt_networks"),
    ({"positive_ttl": "$nosuch"}, r"nosuch"),
]
wrong_cases = pytest.mark.parametrize("change, names", WRONG, ids=lambda value: next(iter(value.items()))[0]
                                      if isinstance(value, dict) else "")  # fmt: skip


@wrong_cases
def test_a_wrong_configuration_is_refused_at_start_with_file_and_line(world, known, change, names):
    milter = world.milter_not_started(**{"recipient_maps": known, **change})
    status, said = milter.refusal()
    assert status not in (0, None) and status > 0, (status, said)
    parameter = next(iter(change))
    line = 1 + [text.partition(" =")[0] for text in milter.conf.read_text().splitlines()].index(parameter)
    assert f"{milter.conf}:{line}" in said, said
    assert re.search(names, said), said
    assert not milter.socket.exists()


@wrong_cases
def test_a_wrong_configuration_is_ignored_at_reload_with_one_line(world, known, change, names):
    milter = world.milter(recipient_maps=known)
    lines = milter.reload_refused(**change)
    complaints = [line for line in lines if "error" in line]
    assert len(complaints) == 1, lines
    assert f"{milter.conf}:" in complaints[0], complaints
    answers = milter.ask("alice@example.test", "ghost@example.test")
    assert [answer.code for answer in answers] == [250, 450], "the old configuration is in force"
    milter.reload(**{**dict.fromkeys(change), "recipient_maps": known})
    assert milter.ask("ghost@example.test").code == 450


def test_did_you_mean(world):
    status, said = world.milter_not_started(recipient_map="static:x").refusal()
    assert status and "recipient_maps" in said


def test_a_missing_configuration_file_is_refused(world):
    milter = world.milter_not_started()
    milter.conf.unlink()
    status, said = milter.refusal()
    assert status and str(milter.conf) in said


def test_a_broken_map_file_is_refused_with_its_own_file_and_line(world):
    path = world.file("broken.cf", "hosts = localhost\nquery\n")
    status, said = world.milter_not_started(recipient_maps=f"mysql:{path}").refusal()
    assert status and f"{path}:2" in said, said


def test_a_parameter_that_needs_a_restart_is_named(world, known):
    milter = world.milter(recipient_maps=known)
    mark = milter.log.end()
    milter.reload(milter_socket="unix:/tmp/rm-never.sock")
    assert milter.log.find("milter_socket.*restart", mark)
    assert milter.ask("alice@example.test").code == 250
