"""A MariaDB primary with a replica: either dies, the replica is behind, or nobody knows.

A recipient made on the primary and not yet on the replica must not be bounced by it."""

import threading

import pytest

from conftest import load_directory
from harness import mysql_table, wait_until

QUERY = "SELECT address FROM recipients WHERE address = '%s'"
HEARTBEAT = "SELECT TIMESTAMPDIFF(SECOND, MAX(ts), UTC_TIMESTAMP()) FROM heartbeat"
HELD = (451, "4.4.3")
UNKNOWN = (550, "5.1.1")


class Pair:
    """primary and replica, in step."""

    def __init__(self, world):
        self.primary = world.mariadb("primary", tcp=True, options=self.options(world, 1))
        self.replica = world.mariadb("replica", options=self.options(world, 2))
        self.primary.sql("CREATE USER copier@'127.0.0.1' IDENTIFIED BY 'copier'", database=None)
        self.primary.sql("GRANT REPLICATION SLAVE ON *.* TO copier@'127.0.0.1'", database=None)
        load_directory(self.primary)
        self.primary.sql("CREATE TABLE heartbeat (id INT PRIMARY KEY, ts DATETIME)")
        self.beat()
        self.grant("REPLICA MONITOR")
        self.replica_sql(
            "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_USER = 'copier',"
            f" MASTER_PORT = {self.primary.port}, MASTER_PASSWORD = 'copier',"
            " MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 1"
        )
        self.replica_sql("START SLAVE")
        self.wait_in_step()

    @staticmethod
    def options(world, number):
        return ("--log-bin=binlog", f"--server-id={number}", "--relay-log=relay",
                "--skip-slave-start=OFF", "--slave-net-timeout=4")  # fmt: skip

    def replica_sql(self, statement):
        return self.replica.sql(statement, database=None)

    def grant(self, right):
        self.primary.sql(f"GRANT {right} ON *.* TO checker@localhost")

    def beat(self):
        self.primary.sql("REPLACE INTO heartbeat VALUES (1, UTC_TIMESTAMP())")

    def add(self, address):
        self.primary.sql("INSERT INTO recipients (address) VALUES (%s)", address)

    def lag(self):
        """Seconds_Behind_Master; None where it does not know."""
        with self.replica.connect(None) as connection, connection.cursor() as cursor:
            cursor.execute("SHOW ALL SLAVES STATUS")
            names = [column[0] for column in cursor.description]
            return dict(zip(names, cursor.fetchone()))["Seconds_Behind_Master"]

    def wait_in_step(self):
        position = self.primary.sql("SELECT @@gtid_binlog_pos")[0][0]
        done = self.replica_sql(f"SELECT MASTER_GTID_WAIT('{position}', 20)")
        assert done[0][0] == 0
        wait_until(lambda: self.lag() == 0, what="the replica to be in step")


@pytest.fixture
def pair(world):
    return Pair(world)


def fallback(world, database, hosts=None, lag="30s", **options):
    more = {"lag_query": options.pop("lag_query")} if "lag_query" in options else {}
    hosts = " ".join(f"unix:{host.socket}" for host in hosts or [database])
    return world.milter(
        role="fallback", process_cache_entries="0", max_replica_lag=lag,
        recipient_maps=mysql_table(world, database, QUERY, hosts=hosts, **more), **options,
    )  # fmt: skip


def status_of(milter, database):
    lines = milter.ctl("status").stdout.splitlines()
    return [line.strip() for line in lines if f"mysql unix:{database.socket} " in line]


class Mail:
    """Asks for alice without a pause, and remembers what she was told."""

    def __init__(self, milter):
        self.milter, self.codes, self.ends = milter, [], threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.ends.is_set():
            self.codes.append(self.milter.ask("alice@example.test").code)

    def __enter__(self):
        self.thread.start()
        return self

    def more(self, count=20):
        seen = len(self.codes)
        wait_until(lambda: len(self.codes) >= seen + count, what="more answers for alice")

    def __exit__(self, *_):
        self.ends.set()
        self.thread.join()


@pytest.mark.parametrize("victim", ["primary", "replica"])
def test_either_of_the_two_dies_and_lookups_go_on(world, pair, victim):
    milter = fallback(world, pair.primary, [pair.primary, pair.replica])
    dead = getattr(pair, victim)
    with Mail(milter) as mail:
        mail.more()
        assert milter.ask("ghost1@example.test").codes == UNKNOWN
        dead.kill()
        mail.more(50)
        # Without its primary the replica cannot tell how far it is behind.
        wait_until(lambda: milter.ask("ghost2@example.test").codes
                   == (HELD if victim == "primary" else UNKNOWN), what="the other's word")  # fmt: skip
        dead.start()
        mail.more(50)
        pair.wait_in_step()
        wait_until(lambda: milter.ask("ghost3@example.test").codes == UNKNOWN, what="a sure answer")
        wait_until(lambda: len(status_of(milter, dead)) == 1
                   and "resting" not in status_of(milter, dead)[0], what="its use")  # fmt: skip
    assert set(mail.codes) == {250}


@pytest.mark.parametrize("role, unknown", [("fallback", UNKNOWN), ("primary", (450, "4.1.1"))])
def test_a_replica_in_step_is_believed(world, pair, role, unknown):
    milter = fallback(world, pair.replica)
    milter.reload(role=role)
    assert milter.ask("alice@example.test").code == 250
    assert milter.ask("ghost@example.test").codes == unknown
    assert milter.log.find("behind") and not milter.log.find("warning.*behind")


@pytest.mark.sanitizer
def test_who_is_not_yet_on_a_stopped_replica_is_held(world, pair):
    milter = fallback(world, pair.replica)
    assert milter.ask("ghost@example.test").codes == UNKNOWN
    pair.replica_sql("STOP SLAVE SQL_THREAD")
    pair.add("newcomer@example.test")
    with milter.counted() as count:
        for _ in range(3):
            assert milter.ask("newcomer@example.test").codes == HELD
        assert milter.ask("alice@example.test").code == 250
    assert count["interlock_replica_lag"] == 3
    assert "its replication is not running" in status_of(milter, pair.replica)[0]

    pair.replica_sql("START SLAVE SQL_THREAD")
    pair.wait_in_step()
    assert milter.ask("newcomer@example.test").code == 250
    assert milter.ask("ghost@example.test").codes == UNKNOWN
    assert "replication" not in status_of(milter, pair.replica)[0]
    assert len(milter.log.find("nobody gets a 5xx on its word")) == 1
    assert len(milter.log.find("is within max_replica_lag again")) == 1


def test_a_replica_that_is_further_behind_is_held_until_it_has_caught_up(world, pair):
    """Its table is locked for the copier; reading goes on."""
    milter = fallback(world, pair.replica, lag="1s")
    with pair.replica.connect() as connection, connection.cursor() as cursor:
        cursor.execute("LOCK TABLES recipients READ")
        pair.add("newcomer@example.test")
        wait_until(lambda: (pair.lag() or 0) > 1, what="the replica to be behind")
        assert milter.ask("newcomer@example.test").codes == HELD
        assert milter.ask("ghost@example.test").codes == HELD
        assert milter.ask("alice@example.test").code == 250
        assert " s behind, more than max_replica_lag" in status_of(milter, pair.replica)[0]
        cursor.execute("UNLOCK TABLES")
    pair.wait_in_step()
    assert milter.ask("newcomer@example.test").code == 250
    assert milter.ask("ghost@example.test").codes == UNKNOWN
    assert len(milter.log.find("s behind, more than max_replica_lag; nobody gets")) == 1


def test_a_delayed_replica_is_held_and_believed_when_its_delay_is_over(world, pair):
    milter = fallback(world, pair.replica, lag="2s")
    pair.replica_sql("STOP SLAVE")
    pair.replica_sql("CHANGE MASTER TO MASTER_DELAY = 3600")
    pair.replica_sql("START SLAVE")
    pair.add("newcomer@example.test")
    wait_until(lambda: (pair.lag() or 0) > 2, what="the delay to show")
    assert milter.ask("newcomer@example.test").codes == HELD
    pair.replica_sql("STOP SLAVE")
    pair.replica_sql("CHANGE MASTER TO MASTER_DELAY = 0")
    pair.replica_sql("START SLAVE")
    pair.wait_in_step()
    assert milter.ask("newcomer@example.test").code == 250


def test_without_the_right_to_see_the_lag_nobody_is_bounced(world, pair):
    pair.primary.sql("REVOKE REPLICA MONITOR ON *.* FROM checker@localhost")
    pair.wait_in_step()
    milter = fallback(world, pair.replica)
    for number in range(3):
        assert milter.ask(f"ghost{number}@example.test").codes == HELD
    assert milter.ask("alice@example.test").code == 250
    lines = milter.log.find("(warning|error): ")
    assert len(lines) == 1, lines
    assert "error 1227" in lines[0] and "MONITOR" in lines[0]
    assert "s3cret-Passw0rd" not in milter.log.text()
    # On a primary it changes nothing.
    milter.reload(role="primary")
    assert milter.ask("ghost@example.test").codes == (450, "4.1.1")


def test_a_heartbeat_tells_the_lag_without_any_right(world, pair):
    pair.primary.sql("REVOKE REPLICA MONITOR ON *.* FROM checker@localhost")
    pair.beat()
    pair.wait_in_step()
    milter = fallback(world, pair.replica, lag="3s", lag_query=HEARTBEAT)
    pair.beat()
    pair.wait_in_step()
    assert milter.ask("ghost@example.test").codes == UNKNOWN
    # Nobody beats any more: the primary is gone, or the way from it.
    wait_until(lambda: milter.ask("ghost@example.test").codes == HELD, what="the pulse to be missed")
    assert "is 4 s behind, more than max_replica_lag" in milter.log.text()
    assert milter.ask("alice@example.test").code == 250
    pair.beat()
    pair.wait_in_step()
    assert milter.ask("ghost@example.test").codes == UNKNOWN
    # A pulse that never was is no pulse.
    pair.primary.sql("DELETE FROM heartbeat")
    pair.wait_in_step()
    assert milter.ask("ghost@example.test").codes == HELD


def test_a_reload_turns_the_guard_on_and_off(world, pair):
    milter = fallback(world, pair.replica, lag="0s")
    pair.replica_sql("STOP SLAVE SQL_THREAD")
    assert milter.ask("ghost@example.test").codes == UNKNOWN, "nobody asked how old this is"
    milter.reload(max_replica_lag="30s")
    assert milter.ask("ghost@example.test").codes == HELD
    assert "may be behind" in status_of(milter, pair.replica)[0]
    milter.reload(max_replica_lag="0s")
    assert milter.ask("ghost@example.test").codes == UNKNOWN
    assert "behind" not in status_of(milter, pair.replica)[0]


def test_explain_tells_how_far_the_server_is_behind(world, pair):
    milter = fallback(world, pair.replica)
    explained = milter.ctl("lookup", "ghost@example.test", "--explain").stdout
    assert f"mysql unix:{pair.replica.socket} is 0 s behind" in explained
    pair.replica_sql("STOP SLAVE SQL_THREAD")
    explained = milter.ctl("lookup", "ghost@example.test", "--explain", "--no-cache").stdout
    assert "may be behind: its replication is not running" in explained


def test_the_limit_is_a_time_of_at_most_a_day(world):
    for value, good in (("0", True), ("1d", True), ("1s", True), ("2d", False), ("1500ms", False)):
        milter = world.milter_not_started(f"limit-{value}", max_replica_lag=value)
        if good:
            milter.start()
        else:
            status, said = milter.refusal()
            assert status == 78 and "max_replica_lag" in said
