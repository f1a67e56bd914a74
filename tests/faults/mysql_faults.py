"""Faults of the directory: the server, the way to it, and what is in it."""

import contextlib
import signal
import threading

import pymysql

from fault import DOWN, EMPTY, EMPTY_UNNOTICED, LAGGING, UNSURE, WORKS, Fault, nothing
from harness import wait_until
from network import CutOff, Dribble, Garbage, Reset, Slow
from node_world import COLD, KNOWN_GOOD, PER_CELL, SENTINEL, address

# The process and the way to it

PROXY = {"mysql": "proxy"}
ASKED = b"FROM recipients"  # what a lookup contains, and the setting up of a session does not


def proxied(name, manner, **more):
    return Fault(name, lambda w: w.mysql_proxy.behave(manner()), lambda w: w.mysql_proxy.behave(),
                 needs=more.pop("needs", PROXY), **more)  # fmt: skip


def revive_mysql(world):
    """A connection that hangs in the backlog of a stopped server may still be answered."""
    world.mysql.resume()
    wait_until(world.mysql.answers, what="MariaDB to answer")


def begin_shutdown(world):
    """It has said goodbye to everybody, and then does not get on."""
    mark = world.mysql.log.end()
    world.mysql.send(signal.SIGTERM)
    world.mysql.log.wait("[Nn]ormal shutdown|Initiated by", mark)
    world.mysql.suspend()


def end_shutdown(world):
    world.mysql.end()
    world.mysql.start()


def restart_in_mid_query(world):
    """The lookups wait for a lock when the server dies under them."""
    wait_until(lambda: world.mysql.running(containing="FROM recipients"), what="a lookup under way")
    world.mysql.kill()
    world.mysql.start()


MYSQL_KILLED = Fault("MySQL killed", lambda w: w.mysql.kill(), lambda w: w.mysql.start(), DOWN)
MYSQL_HANGS = Fault("MySQL hangs (SIGSTOP)", lambda w: w.mysql.suspend(), revive_mysql, DOWN, late=True)

MYSQL_SERVER = [
    MYSQL_KILLED,
    MYSQL_HANGS,
    Fault("MySQL blackholed", lambda w: w.mysql_namespace.cut(), lambda w: w.mysql_namespace.mend(),
          DOWN, late=True, needs={"mysql": "namespace"}),
    proxied("MySQL: RST on connect", Reset, directory=DOWN),
    proxied("MySQL dribbles", lambda: Dribble(0.3), directory=DOWN, late=True),
    # A refusal takes five queries: the recipient and its domain, a sentinel, and both once more.
    proxied("MySQL slow, 2 s", lambda: Slow(2, ASKED),
            needs={**PROXY, "settings": {"lookup_deadline": "14s", "mysql_query_timeout": "4s"}}),
    proxied("MySQL: garbage on the wire", Garbage, directory=DOWN, late=True),
    proxied("MySQL: connection cut off in the result", lambda: CutOff(ASKED), directory=DOWN),
    Fault("MySQL shutting down, and hanging in it", begin_shutdown, end_shutdown, DOWN, late=True),
    Fault("MySQL restarted in mid-query", lambda w: lock_table(w), lambda w: w.release(), UNSURE,
          meanwhile=restart_in_mid_query),
]  # fmt: skip


# What is wrong inside

def change(world, *statements):
    for statement in statements:
        world.mysql.sql(statement)


def statements(name, inject, repair, directory, kill=False, **more):
    def do_inject(world):
        change(world, *inject)
        if kill:
            world.kill_connections()

    return Fault(name, do_inject, lambda w: change(w, *repair), directory, **more)


class Locked:
    """LOCK TABLES ... WRITE by somebody else."""

    def __init__(self, database):
        self.connection = database.connect()

    def __enter__(self):
        with self.connection.cursor() as cursor:
            cursor.execute("LOCK TABLES recipients WRITE")

    def __exit__(self, *_):
        with contextlib.suppress(pymysql.MySQLError):  # the server may have been killed
            self.connection.close()


def lock_table(world):
    world.keep(Locked(world.mysql))


class BlockedAlter:
    """An ALTER TABLE waits for a transaction that has read the table, and all readers wait for
    it."""

    def __init__(self, database):
        self.database = database

    def __enter__(self):
        self.reader = self.database.connect()
        self.cursor = self.reader.cursor()
        self.cursor.execute("BEGIN")
        self.cursor.execute("SELECT * FROM recipients LIMIT 1")
        self.thread = threading.Thread(target=self._alter)
        self.thread.start()
        wait_until(
            lambda: self.database.sql(
                "SELECT 1 FROM information_schema.processlist WHERE state LIKE '%metadata lock%'"
                " AND info LIKE 'ALTER%'"
            ),
            what="the ALTER to wait",
        )

    def _alter(self):
        with contextlib.suppress(pymysql.MySQLError):  # the server may be killed
            self.database.sql(
                "ALTER TABLE recipients DROP COLUMN IF EXISTS note, ADD COLUMN note TEXT"
            )

    def __exit__(self, *_):
        with contextlib.suppress(pymysql.MySQLError):
            self.reader.close()
        self.thread.join()


class Crowd:
    """As many connections of this user as the server takes, with these limits and until they are
    lifted. Ours is made before: there is no room for another, not even for a while after."""

    def __init__(self, world, user, password, limits, lifted):
        self.world, self.login = world, {"user": user, "password": password}
        self.limits, self.lifted, self.connections = limits, lifted, []

    def __enter__(self):
        self.ours = self.world.mysql.connect()
        self._execute(self.limits)
        self.world.kill_connections(by=self.ours)
        for _ in range(50):
            try:
                self.connections.append(pymysql.connect(
                    unix_socket=str(self.world.mysql.socket), database="mail", **self.login))  # fmt: skip
            except pymysql.MySQLError:
                return
        raise AssertionError("there is always room for one more")

    def __exit__(self, *_):
        for connection in self.connections:
            with contextlib.suppress(pymysql.MySQLError):
                connection.close()
        try:
            self._execute(self.lifted)
        except pymysql.MySQLError:  # the server was killed, and all connections with it
            self.ours = self.world.mysql.connect()
            self._execute(self.lifted)
        self.ours.close()

    def _execute(self, statements):
        with self.ours.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)


def too_many_connections(world):
    """The guests take every place, those of the nodes' idle connections too."""
    world.keep(Crowd(world, "guest", "", [
        "CREATE USER IF NOT EXISTS guest@localhost", "GRANT SELECT ON mail.* TO guest@localhost",
        "SET GLOBAL max_connections = 10",
    ], ["SET GLOBAL max_connections = 200"]))  # fmt: skip


def max_user_connections(world):
    limit = "GRANT USAGE ON *.* TO checker@'%' WITH MAX_USER_CONNECTIONS "
    world.keep(Crowd(world, "checker", "s3cret-Passw0rd", [f"{limit} 2"], [f"{limit} 0"]))


REFILL = ["REPLACE INTO recipients (address, destination, active)"
          " SELECT address, destination, active FROM backup"]  # fmt: skip
TESTED = "address NOT LIKE 'other%'"
HALF = f"DELETE FROM recipients WHERE {TESTED}"
HALF_WITH_SENTINEL = f"{HALF} AND address <> '{SENTINEL}'"


def vanish(world):
    """The table is half loaded, the sentinel is there, and more of the known good have been asked
    for than vanish_limit lets go."""
    change(world, HALF_WITH_SENTINEL)
    for role, node in world.nodes.items():
        node.ask(*(address(KNOWN_GOOD, role, PER_CELL - n) for n in range(1, 4)))


def lag_behind(world):
    """What was written last has not come yet."""
    change(world, "STOP SLAVE SQL_THREAD", f"DELETE FROM recipients WHERE address LIKE '{COLD}-%'")


def catch_up(world):
    change(world, *REFILL, "START SLAVE")
    wait_until(world.in_step, what="the replica to be in step")


MYSQL_INSIDE = [
    statements("MySQL: wrong password", ["SET PASSWORD FOR checker@'%' = PASSWORD('other')"],
               ["SET PASSWORD FOR checker@'%' = PASSWORD('s3cret-Passw0rd')"], DOWN, kill=True),
    statements("MySQL: right to read taken away", ["REVOKE SELECT ON mail.* FROM checker@'%'"],
               ["GRANT SELECT ON mail.* TO checker@'%'"], DOWN, kill=True),
    statements("MySQL: table missing", ["RENAME TABLE recipients TO elsewhere"],
               ["RENAME TABLE elsewhere TO recipients"], DOWN),
    statements("MySQL: column missing", ["ALTER TABLE recipients DROP COLUMN active"],
               ["ALTER TABLE recipients ADD COLUMN active BOOLEAN NOT NULL DEFAULT TRUE"], DOWN),
    Fault("MySQL: column renamed in flight", nothing,
          lambda w: change(w, "ALTER TABLE recipients RENAME COLUMN enabled TO active"), DOWN,
          at_first=UNSURE,
          meanwhile=lambda w: change(w, "ALTER TABLE recipients RENAME COLUMN active TO enabled")),
    Fault("MySQL: LOCK TABLES WRITE, 15 s", lock_table, lambda w: w.release(), DOWN, lasts=15, late=True),
    Fault("MySQL: ALTER waits for a reader", lambda w: w.keep(BlockedAlter(w.mysql)),
          lambda w: w.release(), DOWN, late=True),
    Fault("MySQL: Too many connections", too_many_connections,
          lambda w: w.release(), DOWN),
    Fault("MySQL: max_user_connections", max_user_connections, lambda w: w.release(), DOWN),
    statements("MySQL read-only", ["SET GLOBAL read_only = ON"], ["SET GLOBAL read_only = OFF"], WORKS),
    statements("table emptied, DELETE", ["DELETE FROM recipients"], REFILL, EMPTY),
    statements("table emptied, TRUNCATE", ["TRUNCATE recipients"], REFILL, EMPTY),
    statements("table half loaded, sentinel missing", [HALF], REFILL, EMPTY),
    statements("table half loaded, sentinel there", [HALF_WITH_SENTINEL], REFILL, EMPTY_UNNOTICED),
    Fault("table half loaded, sentinel there, beyond vanish_limit", vanish,
          lambda w: change(w, *REFILL), EMPTY, needs={"settings": {"vanish_limit": "2/4s"}}),
    Fault("MySQL: replica lagging", lag_behind, catch_up, LAGGING,
          needs={"mysql": "replica", "settings": {"max_replica_lag": "30s"}}),
]  # fmt: skip
