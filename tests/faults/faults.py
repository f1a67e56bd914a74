"""The faults, one entry each in FAULTS, and what must be answered while one lasts.

A fault says what becomes of the directory, and which tiers it takes away from the node. From that
and the rules of DESIGN.md (2 and 3) the cells follow: see replies().
"""

import contextlib
import dataclasses
import os
import pathlib
import random
import resource
import signal
import subprocess
import threading
import time
import typing

import pymysql

from harness import wait_until
from network import CutOff, Dribble, Flip, Garbage, Reset, Slow, WrongValue
from node_world import (
    COLD, KEY_OF_AN_OUTCOME, KNOWN_GOOD, MEMCACHED, PER_CELL, PROCESS,
    ROLES, SENTINEL, STALE, UNKNOWN, address,
)  # fmt: skip

# What a lookup in the directory comes to.
WORKS = "works"  # a complete answer
DOWN = "down"  # UNAVAILABLE
UNSURE = "works or down"  # the change is under way
EMPTY = "empty"  # a complete answer, and a false one: it knows nobody, and an interlock knows that
EMPTY_UNNOTICED = "empty, unnoticed"  # the same, and no interlock can know it
LAGGING = "lagging"  # the same for the latest recipients, the cold ones

PASS = "250"
NOBODY = {"primary": "450", "fallback": "550 5.1.1"}
CANNOT_TELL = {"primary": "451", "fallback": "550 5.4.3"}
BY_POSTFIX = "451 by Postfix"  # it got no answer in time, and defers
HELD = {"primary": "450", "fallback": "451 held"}  # a primary holds nothing: it says 4xx anyway


def nothing(world):
    pass


@dataclasses.dataclass
class Fault:
    name: str
    inject: typing.Callable
    repair: typing.Callable
    directory: str = WORKS
    at_first: str = ""  # what the directory does while the fault sets in, where that differs
    breaks: frozenset = frozenset()  # tiers that are not there for the node
    may_break: frozenset = frozenset()  # tiers that may or may not be
    late: bool = False  # a lookup may reach its deadline, and is held
    held: bool = False  # nobody is bounced for such an outage
    restarts: bool = False  # the nodes' sessions end when it comes
    meanwhile: typing.Callable = nothing  # comes while the first questions are under way
    lasts: float = 1  # seconds at least
    old_sessions_only: bool = False  # new ones cannot be had while it lasts
    hangs: bool = False  # a session may get no answer at all: Postfix must be there, and defers
    grace_s: float = 0  # what Postfix adds to lookup_deadline then
    needs: dict = dataclasses.field(default_factory=dict)  # NodeWorld's arguments

    def replies(self, role, who, first=False):
        """The replies that are right, in words."""
        directory = self.at_first if first and self.at_first else self.directory
        stages = [WORKS, DOWN] if directory == UNSURE else [directory]
        right = {BY_POSTFIX} if self.hangs else set()
        return right.union(*(self._replies(stage, role, who) for stage in stages))

    def _replies(self, directory, role, who):
        vouched = who not in (COLD, UNKNOWN) and who not in self.breaks
        if who in self.may_break:
            return self._what_holds(directory, role, who, True) | self._what_holds(directory, role, who, False)
        return self._what_holds(directory, role, who, vouched)

    def _what_holds(self, directory, role, who, vouched):
        if directory == WORKS:
            return {NOBODY[role]} if who == UNKNOWN else {PASS}
        if directory == DOWN:
            return {PASS} if vouched else self._unavailable(role)
        if vouched and (who in (PROCESS, MEMCACHED) or directory == LAGGING):
            return {PASS}
        if directory == EMPTY_UNNOTICED and not vouched:
            return {NOBODY[role]}
        return {HELD[role]}

    def _unavailable(self, role):
        if self.held and role == "fallback":
            return {HELD[role]}
        return {CANNOT_TELL[role]} | ({HELD[role]} if self.late and role == "fallback" else set())


WORST_LAST = [WORKS, UNSURE, LAGGING, EMPTY_UNNOTICED, EMPTY, DOWN]


def several(faults, name=None, repair_order=None):
    """Some faults at once: they come in this order, and go in that one (else the last goes
    first)."""

    def inject(world):
        for fault in faults:
            fault.inject(world)

    def repair(world):
        for fault in repair_order or faults[::-1]:
            fault.repair(world)

    def any_of(field):
        return any(getattr(fault, field) for fault in faults)

    directory = max((fault.directory for fault in faults), key=WORST_LAST.index)
    return Fault(
        name or ", ".join(fault.name for fault in faults), inject, repair, directory,
        breaks=frozenset().union(*(fault.breaks for fault in faults)),
        may_break=frozenset().union(*(fault.may_break for fault in faults)),
        late=any_of("late"), held=any_of("held"), restarts=any_of("restarts"), hangs=any_of("hangs"),
        old_sessions_only=any_of("old_sessions_only"), lasts=max(fault.lasts for fault in faults),
        grace_s=max(fault.grace_s for fault in faults),
        needs={name: value for fault in faults for name, value in fault.needs.items()},
    )  # fmt: skip


def both(one, two):
    return several([one, two])


# MySQL: the process and the way to it

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


# MySQL: what is wrong inside

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


# memcached

GONE = frozenset({MEMCACHED, STALE})
MEMCACHED_PROXY = {"memcached": "proxy"}


def memcached_proxied(name, manner):
    return Fault(name, lambda w: w.memcached_proxy.behave(manner(w)),
                 lambda w: w.memcached_proxy.behave(), breaks=GONE, needs=MEMCACHED_PROXY)  # fmt: skip


def revive_memcached(world):
    world.memcached.resume()
    wait_until(world.memcached.answers, what="memcached to answer")


def fill_memcached(world):
    """Until nothing of what was there is left: with values of the same size, since each size has a
    list of its own."""
    mine = {key for key in world.memcached.keys() if key.startswith(KEY_OF_AN_OUTCOME)}
    for n in range(100000):
        if n % 1000 == 0 and not mine & set(world.memcached.keys()):
            return
        world.memcached.set(f"{KEY_OF_AN_OUTCOME}{n:032x}", b"rm1 %032x K 1700000000" % n)
    raise AssertionError("not everything was evicted")


def any_other_value(world):
    """A fair value of the same kind of key, but not of this one."""

    def value(key):
        others = [k for k in world.memcached.keys() if k != key and k[:-32] == key[:-32]]
        return world.memcached.get(random.choice(others)) if others else None

    return value


STRANGERS = [address(UNKNOWN, role, n) for role in ROLES for n in range(PER_CELL)]


def forge(world):
    """"Known, verified now", for every stranger we will ask for, but with another key's digest."""
    before = set(world.memcached.keys())
    world.warmer.ask(*STRANGERS)
    for key in set(world.memcached.keys()) - before:
        world.memcached.set(key, b"rm1 %032x K %d" % (7, time.time()))


def forge_well(world):
    """Whoever can write into memcached can find out the digest too: only the seal tells. Made up;
    a resident's; and the node's own with one letter changed."""
    resident = world.memcached.get(next(iter(world.in_memcached[MEMCACHED])))
    for n, stranger in enumerate(STRANGERS):
        before = set(world.memcached.keys())
        world.warmer.ask(stranger)
        (key,) = set(world.memcached.keys()) - before
        value = world.memcached.get(key)
        changed = value.replace(b" A ", b" K ", 1)
        world.memcached.set(key, [changed[:-16], resident, changed][n % 3])


MEMCACHED_ALONE = [
    Fault("memcached killed", lambda w: w.memcached.kill(), lambda w: w.memcached.start(), breaks=GONE),
    Fault("memcached hangs (SIGSTOP)", lambda w: w.memcached.suspend(), revive_memcached, breaks=GONE),
    Fault("memcached blackholed", lambda w: w.memcached_namespace.cut(),
          lambda w: w.memcached_namespace.mend(), breaks=GONE, needs={"memcached": "namespace"}),
    memcached_proxied("memcached dribbles", lambda w: Dribble(0.05)),
    Fault("memcached restarted, empty", lambda w: w.memcached.restart(), nothing, breaks=GONE),
    Fault("memcached full, evicting", fill_memcached, lambda w: w.memcached.flush(), breaks=GONE,
          needs={"memory": 2}),
    memcached_proxied("memcached answers with another key's value", lambda w: WrongValue(any_other_value(w))),
    Fault("memcached: forged values", forge, nothing),
    Fault("memcached: forged values, sealed", forge_well, nothing, breaks=frozenset({STALE}),
          needs={"secret": True}),
    memcached_proxied("memcached: garbage on the wire", lambda w: Garbage()),
    memcached_proxied("memcached: a bit flipped", lambda w: Flip()),
]  # fmt: skip
MEMCACHED_FAULTS = [each for fault in MEMCACHED_ALONE
                    for each in (fault, both(fault, MYSQL_KILLED))]  # fmt: skip


# the node itself

def set_limit(node, what, soft):
    """Of the running process. A privileged process may not do that to another user's here, so it
    becomes that user."""
    name = {resource.RLIMIT_NOFILE: "nofile", resource.RLIMIT_NPROC: "nproc"}[what]
    subprocess.run([*node.wrapper, "prlimit", f"--pid={node.pid}", f"--{name}={soft}:"], check=True)


def limit_files(world):
    """Not one more file or connection than it has now; and it needs one for MySQL."""
    world.kill_connections()
    for node in world.nodes.values():
        set_limit(node, resource.RLIMIT_NOFILE, len(os.listdir(f"/proc/{node.pid}/fd")) - 4)


def limit_threads(world):
    for node in world.nodes.values():
        set_limit(node, resource.RLIMIT_NPROC, 1)


def unlimit(what):
    def repair(world):
        for node in world.nodes.values():
            set_limit(node, what, 4096)

    return repair


def clock(name, seconds):
    return Fault(name, lambda w: w.set_clock(seconds), lambda w: w.set_clock(0),
                 needs={"node": "fake clock"})  # fmt: skip


def down_at_the_start(name, *servers, breaks=frozenset()):
    def inject(world):
        for server in servers:
            getattr(world, server).kill()
        world.restart_nodes()

    def repair(world):
        for server in servers:
            getattr(world, server).start()

    return Fault(name, inject, repair, DOWN, held=True, restarts=True, breaks=breaks)


# It is the node's own trouble, so it bounces nobody. A connection may still be made with a
# descriptor that something else gave back; and who finds the one to memcached in use gets no other.
NO_FILES = Fault("no file descriptor left", limit_files, unlimit(resource.RLIMIT_NOFILE), UNSURE,
                 may_break=GONE, held=True, old_sessions_only=True)  # fmt: skip
NO_THREADS = Fault("no thread left", limit_threads, unlimit(resource.RLIMIT_NPROC),
                   old_sessions_only=True, hangs=True, grace_s=1,
                   needs={"node": "other user", "postfix": True})  # fmt: skip
AHEAD, BACK = clock("clock an hour ahead", 3600), clock("clock an hour back", -3600)
# The process cache goes with the old configuration; but whom it held is known good.
RELOAD = Fault("configuration reloaded", lambda w: [node.reload() for node in w.nodes.values()], nothing)
LOG_HANGS = Fault("nobody reads the log", lambda w: [node.pipe.hang() for node in w.nodes.values()],
                  lambda w: [node.pipe.go_on() for node in w.nodes.values()],
                  needs={"node": "piped log"})  # fmt: skip

NODE = [
    NO_FILES,
    NO_THREADS,
    both(NO_THREADS, MYSQL_KILLED),
    AHEAD,
    BACK,
    both(AHEAD, MYSQL_KILLED),
    both(BACK, MYSQL_KILLED),
    both(MYSQL_KILLED, RELOAD),
    LOG_HANGS,
    down_at_the_start("started with MySQL down", "mysql"),
    down_at_the_start("started with everything down", "mysql", "memcached", breaks=GONE),
]


# the known-good store; with MySQL killed, or it would not be asked

STORE_FILE = "known-good.mdb"


def store_files(node):
    """The store and LMDB's lock beside it."""
    return list(node.state.glob(f"{STORE_FILE}*"))


def make_unwritable(world):
    for node in world.nodes.values():
        for path in store_files(node):
            path.chmod(0o400)
        node.state.chmod(0o500)


def make_writable(world):
    for node in world.nodes.values():
        node.state.chmod(0o700)
        for path in store_files(node):
            path.chmod(0o600)


def inside(node):
    """The state directory as the node sees it: its disk is its own."""
    return pathlib.Path(f"/proc/{node.pid}/root{node.state}")


def fill_disk(world):
    for node in world.nodes.values():
        with open(inside(node) / "filler", "wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(bytes(4096))
            except OSError:
                pass


def empty_disk(world):
    for node in world.nodes.values():
        (inside(node) / "filler").unlink()


def damage(world):
    """Every byte is another, while it is mapped."""
    for node in world.nodes.values():
        with open(node.state / STORE_FILE, "r+b") as file:
            file.write(random.Random(3).randbytes(os.fstat(file.fileno()).st_size))


def cut_short(world):
    for node in world.nodes.values():
        os.truncate(node.state / STORE_FILE, 0)


def remove_store(world):
    for node in world.nodes.values():
        for path in store_files(node):
            path.unlink()


NO_LONGER_SURE = {"may_break": frozenset({KNOWN_GOOD})}
OTHER_USER = {"needs": {"node": "other user"}}
STORE_ALONE = [
    Fault("known-good store unwritable", make_unwritable, make_writable, **OTHER_USER),
    Fault("known-good store on a full disk", fill_disk, empty_disk, needs={"node": "small disk"}),
    Fault("known-good store damaged", damage, nothing, **NO_LONGER_SURE),
    Fault("known-good store cut to nothing", cut_short, nothing, **NO_LONGER_SURE),
    Fault("known-good store removed", remove_store, nothing, **NO_LONGER_SURE),
]
STORE = [each for fault in STORE_ALONE for each in (fault, both(fault, MYSQL_KILLED))]
STORE.append(dataclasses.replace(
    several([STORE_ALONE[0], down_at_the_start("started with MySQL down", "mysql")]),
    may_break=frozenset({PROCESS, KNOWN_GOOD}),
))  # fmt: skip


# through Postfix, and several at once

def through_postfix(fault):
    return dataclasses.replace(fault, name=f"{fault.name}, through Postfix", needs={**fault.needs, "postfix": True})


THROUGH_POSTFIX = [through_postfix(fault) for fault in (MYSQL_KILLED, MYSQL_HANGS, MEMCACHED_ALONE[1])]


SHARED_WORLD = {"mysql": "proxy", "memcached": "proxy", "node": "fake clock"}


def fits(fault):
    """Can it come to a world that others share?"""
    return fault.meanwhile is nothing and fault.needs.items() <= SHARED_WORLD.items()


def at_random(seed):
    """Something goes wrong inside MySQL, or with MySQL as a whole, or both; perhaps with memcached,
    perhaps with the node; in some order, and it is mended in another. Statements need a server:
    they come before it goes, and are taken back when it is there again."""
    chance = random.Random(seed)
    inner = [fault for fault in MYSQL_INSIDE if fits(fault) and fault.directory == DOWN]
    outer = [[fault for fault in faults if fits(fault)]
             for faults in (MYSQL_SERVER, MEMCACHED_ALONE, [AHEAD, BACK, RELOAD])]  # fmt: skip
    first = [chance.choice(inner)]
    others = [chance.choice(faults) for faults in chance.sample(outer, chance.choice([1, 2, 2, 3]))]
    name = f"seed {seed}: " + ", ".join(fault.name for fault in first + others)
    return several(first + others, name, [*chance.sample(others, len(others)), *first])


SEEDS = 60 if os.environ.get("FAULTS_LONG") else 8

FAULTS = [*MYSQL_SERVER, *MYSQL_INSIDE, *MEMCACHED_FAULTS, *NODE, *STORE,
          *THROUGH_POSTFIX, *map(at_random, range(1, SEEDS + 1))]  # fmt: skip
