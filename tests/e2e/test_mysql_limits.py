"""A MySQL that takes no more connections, and one whose table is locked: what senders hear, and how
little the log says about it."""

import contextlib
import re
import threading

import pymysql
import pytest

from harness import wait_until

UNKNOWN = {"primary": (450, "4.1.1"), "fallback": (550, "5.1.1")}
UNAVAILABLE = {"primary": (451, "4.4.3"), "fallback": (550, "5.4.3")}


class Crowd:
    """Sessions that ask for alice and for ghosts without a pause, and remember every answer."""

    def __init__(self, milter, sessions=6):
        self.milter, self.alice, self.ghosts = milter, [], []
        self.ends = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(n,)) for n in range(sessions)]

    def run(self, number):
        asked = 0
        while not self.ends.is_set():
            asked += 1
            answers = self.milter.ask("alice@example.test", f"ghost{number}.{asked}@example.test")
            self.alice.append(answers[0].codes)
            self.ghosts.append(answers[1].codes)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def more(self, count=30):
        seen = len(self.ghosts)
        wait_until(lambda: len(self.ghosts) >= seen + count, what="more answers")

    def __exit__(self, *_):
        self.ends.set()
        for thread in self.threads:
            thread.join()


def status_line(milter, directory):
    lines = milter.ctl("status").stdout.splitlines()
    found = [line.strip() for line in lines if f"mysql unix:{directory.socket} " in line]
    assert len(found) == 1, lines
    return found[0]


def take_all_connections(directory, holder):
    """As checker, who has no right to the extra one."""
    with contextlib.suppress(pymysql.err.OperationalError):
        while True:
            holder.enter_context(contextlib.closing(pymysql.connect(
                unix_socket=str(directory.socket), user="checker", password="s3cret-Passw0rd",
                database="mail",
            )))  # fmt: skip


@pytest.mark.sanitizer
@pytest.mark.parametrize("role", ["primary", "fallback"])
@pytest.mark.parametrize("limit, error", [("server", 1040), ("user", 1226)])
def test_too_many_connections_stop_no_lookup_while_one_is_ours(
    world, own_directory, own_recipients, role, limit, error
):
    if limit == "user":  # connections from before that would not count
        own_directory.sql("ALTER USER checker@localhost WITH MAX_USER_CONNECTIONS 1")
    milter = world.milter(
        role=role, recipient_maps=own_recipients, process_cache_entries="0", verbose=0
    )
    assert milter.ask("alice@example.test").code == 250
    assert "up, 1 connection" in status_line(milter, own_directory)
    with contextlib.ExitStack() as holder:
        if limit == "server":
            own_directory.sql("SET GLOBAL max_connections = 10")
            take_all_connections(own_directory, holder)
        with Crowd(milter) as crowd:
            wait_until(lambda: f"up, 1 connection; no more for 1 s: error {error}"
                       in status_line(milter, own_directory), what="the refusal to show")  # fmt: skip
            crowd.more()
            if limit == "server":
                holder.close()
            else:
                own_directory.sql("ALTER USER checker@localhost WITH MAX_USER_CONNECTIONS 0")
            wait_until(lambda: "no more for" not in status_line(milter, own_directory), 5,
                       "new connections")  # fmt: skip
            crowd.more()
    assert {code for code, _ in crowd.alice} == {250}
    assert set(crowd.ghosts) == {UNKNOWN[role]}
    assert len(milter.log.find(f"error {error}.*going on with 1 connection$")) == 1
    assert len(milter.log.find("takes new connections again after")) == 1
    assert not milter.log.find("no lookup goes there")


@pytest.mark.parametrize("role", ["primary", "fallback"])
def test_too_many_connections_with_none_of_ours_is_an_outage(
    world, own_directory, own_recipients, role
):
    milter = world.milter(
        role=role, recipient_maps=own_recipients, process_cache_entries="0", mysql_connections="1"
    )
    assert milter.ask("alice@example.test").code == 250, "it has answered once"
    with contextlib.ExitStack() as holder:
        own_directory.sql("SET GLOBAL max_connections = 10")
        take_all_connections(own_directory, holder)
        root = holder.enter_context(contextlib.closing(own_directory.connect()))
        with root.cursor() as cursor:
            cursor.execute("SELECT id FROM information_schema.processlist WHERE user = 'checker'"
                           " ORDER BY id LIMIT 1")  # fmt: skip
            cursor.execute(f"KILL {cursor.fetchone()[0]}")
            take_all_connections(own_directory, holder)
        codes = [milter.ask(f"ghost{n}@example.test").codes for n in range(5)]
        assert set(codes) == {UNAVAILABLE[role]}
    wait_until(lambda: milter.ask("alice@example.test").code == 250, 5, "alice to be known again")
    assert milter.ask("ghost@example.test").codes == UNKNOWN[role]
    assert len(milter.log.find("error 1040.*no lookup goes there")) == 1
    assert len(milter.log.find("answers again after")) == 1


@pytest.mark.parametrize("role", ["primary", "fallback"])
def test_a_table_locked_for_15_seconds_is_one_outage(world, own_directory, own_recipients, role):
    milter = world.milter(
        role=role, recipient_maps=own_recipients, process_cache_entries="0", verbose=0,
        mysql_query_timeout="2s", outage_patience="1h", known_good_ttl="1s",
    )  # fmt: skip
    assert milter.ask("alice@example.test").code == 250
    trials = 0
    with own_directory.connect() as connection, connection.cursor() as cursor:
        with Crowd(milter) as crowd:
            crowd.more()
            cursor.execute("LOCK TABLES recipients WRITE, alias_domains WRITE")
            wait_until(lambda: "resting for" in status_line(milter, own_directory), what="an outage")
            while "resting for 15 s" not in status_line(milter, own_directory):
                if "on trial for" in status_line(milter, own_directory):
                    trials += 1
                    wait_until(lambda: "on trial for" not in status_line(milter, own_directory),
                               what="the trial to end")  # fmt: skip
            cursor.execute("UNLOCK TABLES")
            wait_until(lambda: "up, " in status_line(milter, own_directory), 5, "the right answers")
            assert milter.ask("alice@example.test").code == 250
            assert milter.ask("ghost@example.test").codes == UNKNOWN[role]
    assert trials >= 2, "it was tried meanwhile"
    assert {code for code, _ in crowd.alice} == {250, 451}
    assert set(crowd.ghosts) == {UNKNOWN[role], (451, "4.4.3")}
    assert len(milter.log.find("no lookup goes there")) == 1
    answers = milter.log.find(r"answers again after \d+\.\d s")
    assert len(answers) == 1
    assert 15 <= float(re.search(r"after (\d+\.\d) s; meanwhile ", answers[0])[1]) <= 25, answers
