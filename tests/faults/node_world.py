"""One world for one fault: a MariaDB, a memcached, a primary and a fallback that share both, and a
third daemon, the warmer, that only puts things into memcached.

Each recipient is known to exactly one tier besides the directory, and to a node of one role only:

    cold          nobody was ever asked about it
    process       in the node's process cache, and in its known-good store; gone from memcached
    memcached     in memcached, put there by the warmer
    stale         the same, verified longer than positive_ttl ago
    known good    in the node's known-good store, learned from a file
    unknown       there is none
"""

import contextlib
import functools
import os
import pathlib
import re
import select
import shutil
import subprocess
import sys
import threading
import time

import pymysql

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE.parent / "e2e"))

from fake_clock import LIBRARY as FAKE_CLOCK, FakeClock  # noqa: E402
from harness import Scratch, World, mysql_table, wait_until  # noqa: E402
from network import Namespace, Proxy  # noqa: E402

ROLES = ("primary", "fallback")
COLD, PROCESS, MEMCACHED, STALE, KNOWN_GOOD = "cold", "process", "memcached", "stale", "known good"
WARMTHS = (COLD, PROCESS, MEMCACHED, STALE, KNOWN_GOOD)
UNKNOWN = "unknown"

PER_CELL = 12  # recipients of each kind; a round takes one
DEADLINE_S = 3
STALE_BY_S = 2 * 3600  # with positive_ttl = 1h
SENTINEL = "zz-sentinel@example.test"
QUERY = "SELECT address FROM recipients WHERE address = '%s' AND active"
KEY_OF_AN_OUTCOME = "rcpt-milter:r"
VALUE = re.compile(rb"(rm1 [0-9a-f]{32} [A-Z] )([0-9]{10})(.*)", re.DOTALL)

SETTINGS = {
    "lookup_deadline": f"{DEADLINE_S}s", "mysql_connect_timeout": "1s", "mysql_query_timeout": "1s",
    "memcache_timeout": "500ms", "process_cache_ttl": "1h", "positive_ttl": "1h",
    "negative_ttl": "1s", "sentinel_recipients": SENTINEL, "sentinel_interval": "1s",
}  # fmt: skip

# Another user's: it may read what it must, but writes only what it owns, and its threads count.
OTHER_USER = 54320
AS_OTHER_USER = ["setpriv", f"--reuid={OTHER_USER}", f"--regid={OTHER_USER}", "--clear-groups",
                 "--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"]  # fmt: skip


def address(who, role, number):
    return f"{who.replace(' ', '-')}-{role}-{number}@example.test"


def addresses(who, *roles):
    return [address(who, role, n) for role in roles or ROLES for n in range(PER_CELL)]


def fill(database):
    """Our schema, its user, and everybody who is somebody."""
    database.sql("CREATE DATABASE mail CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", database=None)
    database.load(ROOT / "db/schema.sql", database="mail")
    somebody = [SENTINEL, "first-primary@example.test", "first-fallback@example.test",
                *(a for who in (*WARMTHS, "back") for a in addresses(who))]  # fmt: skip
    somebody += [f"other{n}@example.test" for n in range(300)]
    rows = ", ".join(f"('{a}')" for a in somebody)
    database.sql(f"INSERT INTO recipients (address) VALUES {rows}")
    database.sql("CREATE TABLE backup AS SELECT * FROM recipients")
    database.sql("CREATE USER checker@'%' IDENTIFIED BY 's3cret-Passw0rd'")
    database.sql("GRANT SELECT, EXECUTE ON mail.* TO checker@'%'")


class Template:
    """A data directory with everybody in it, which each world's MariaDB begins with."""

    def __init__(self):
        self.scratch = Scratch()
        with World(self.scratch) as world:
            database = world.mariadb()
            fill(database)
            database.sql("SET GLOBAL innodb_fast_shutdown = 1")
        self.path = database.data

    def remove(self):
        self.scratch.remove()


TRIALS = {  # what needs more than servers, and a command that works where it is to be had
    "namespace": ["unshare", "-n", "nft", "list", "ruleset"],
    "small disk": ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"],
    "other user": [*AS_OTHER_USER, "true"],
    "fake clock": ["sh", "-c", f"ls /usr/lib/*/{FAKE_CLOCK} /usr/lib*/{FAKE_CLOCK} | grep -q ."],
}


@functools.cache
def is_possible(need):
    """Whether this machine lets us; a container often does not."""
    try:
        return need not in TRIALS or subprocess.run(TRIALS[need], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


class LogPipe:
    """Where a node logs to: a pipe, which somebody reads until he hangs."""

    def __init__(self, path):
        self.path = path
        os.mkfifo(path)
        self.fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self.reading, self.stopping = True, False
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self):
        while not self.stopping:
            if self.reading and select.select([self.fd], [], [], 0.05)[0]:
                os.read(self.fd, 65536)
            elif not self.reading:
                time.sleep(0.05)

    def hang(self):
        """The pipe is full, and stays so."""
        self.reading = False
        wait_until(self._is_full, what="the log's pipe to be full")

    def _is_full(self):
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(self.fd, b"x" * 512)
        return select.select([], [self.fd], [], 0.2)[1] == []

    def go_on(self):
        self.reading = True

    def stop(self):
        self.stopping = True
        self.thread.join()
        os.close(self.fd)


class NodeWorld(World):
    """`mysql` and `memcached` say what stands before the server: "" nothing, "proxy" or
    "namespace"; a `mysql` that is a "replica" has its primary behind it. `node` is how the two
    nodes run: "", "other user", "small disk", "fake clock" or "piped log". `settings` are
    parameters on top of SETTINGS, `memory` is memcached's, `secret` seals what it holds, and
    `postfix` puts a Postfix in front of each node, through which the questions then go."""

    def __init__(self, template, mysql="", memcached="", node="", settings=None, memory=16,
                 postfix=False, secret=False):  # fmt: skip
        super().__init__()
        self.node_kind, self.postfix_wanted = node, postfix
        self.settings = {**SETTINGS, **(settings or {})}
        if secret:
            secret_file = self.file("secret", "only the nodes know this\n", 0o600)
            self.settings["memcache_secret_file"] = secret_file
        self.deadline_s = float(self.settings["lookup_deadline"].rstrip("s"))
        self.kept = contextlib.ExitStack()  # what a fault needs until it is repaired
        self.proxies = []
        self.in_memcached = {}  # who -> keys
        try:
            host = self._start_mysql(template, mysql)
            server = self._start_memcached(memcached, memory)
            self.recipients = mysql_table(self, self.mysql, QUERY, hosts=host)
            self._start_daemons(server)
            self._warm()
        except BaseException:
            self.close(failed=True)
            raise

    def close(self, failed=False):
        self.kept.close()
        super().close(failed)
        while self.proxies:
            self.proxies.pop().stop()

    # starting

    def _start_mysql(self, template, before):
        self.mysql_namespace = self._begin(Namespace(self.scratch)) if before == "namespace" else None
        options = {"template": template.path}
        if self.mysql_namespace:
            options["wrapper"] = self.mysql_namespace.wrapper
            options["options"] = ["--skip-networking=0", "--bind-address=0.0.0.0", "--port=3306"]
        elif before == "replica":
            options["options"] = self._log_options(2)
        self.mysql = self.mariadb(**options)
        if before == "replica":
            self._replicate(template)
        if before == "proxy":
            self.mysql_proxy = self._proxy(self.mysql.socket)
            return f"inet:127.0.0.1:{self.mysql_proxy.port}"
        if self.mysql_namespace:
            return f"inet:{self.mysql_namespace.address}:3306"
        return f"unix:{self.mysql.socket}"

    @staticmethod
    def _log_options(number):
        return ["--log-bin=binlog", f"--server-id={number}", "--relay-log=relay"]

    def _replicate(self, template):
        primary = self.mariadb("primary", tcp=True, template=template.path, options=self._log_options(1))
        primary.sql("CREATE USER copier@'127.0.0.1' IDENTIFIED BY 'copier'")
        primary.sql("GRANT REPLICATION SLAVE ON *.* TO copier@'127.0.0.1'")
        primary.sql("GRANT REPLICA MONITOR ON *.* TO checker@'%'")
        self.mysql.sql("CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_USER = 'copier',"
                       f" MASTER_PORT = {primary.port}, MASTER_PASSWORD = 'copier',"
                       " MASTER_USE_GTID = slave_pos")  # fmt: skip
        self.mysql.sql("START SLAVE")
        wait_until(self.in_step, what="the replica to be in step")

    def in_step(self):
        with self.mysql.connect() as connection, connection.cursor(pymysql.cursors.DictCursor) as cursor:
            cursor.execute("SHOW SLAVE STATUS")
            return cursor.fetchone()["Seconds_Behind_Master"] == 0

    def _start_memcached(self, before, memory):
        if before == "namespace":
            self.memcached_namespace = space = self._begin(Namespace(self.scratch))
            where = (space.address, 11211)
            self.memcached = super().memcached(address=where, wrapper=space.wrapper, megabytes=memory)
            return "inet:%s:%d" % where
        self.memcached = super().memcached(megabytes=memory)
        if before == "proxy":
            self.memcached_proxy = self._proxy(self.memcached.socket)
            return f"inet:127.0.0.1:{self.memcached_proxy.port}"
        return f"unix:{self.memcached.socket}"

    def _proxy(self, target):
        self.proxies.append(Proxy(target))
        return self.proxies[-1]

    def _start_daemons(self, server):
        options = {"recipient_maps": self.recipients, "memcache_servers": server, **self.settings}
        self.warmer = self.milter("warmer", **options)
        self.nodes, self.mx = {}, {}
        for role in ROLES:
            more = self._postfix_directory(role) if self.postfix_wanted else {}
            node = self.milter_not_started(role, role=role, **options, **more)
            self._prepare(node)
            self.nodes[role] = node.start()
            if self.postfix_wanted:
                self.mx[role].listen_with({"smtpd": node}).start()

    def _postfix_directory(self, role):
        """It asks no longer than a lookup may take, and a second."""
        self.mx[role] = self.postfix_not_started(
            f"mx-{role}", relay_domains="example.test",
            milter_command_timeout=f"{int(self.deadline_s) + 1}s",
        )  # fmt: skip
        directory = self.mx[role].milter_directory()
        directory.chmod(0o2777)  # for another user's node
        return {"socket_directory": directory, "milter_socket_mode": "0666"}

    def _prepare(self, node):
        if self.node_kind == "other user":
            node.wrapper = AS_OTHER_USER
            for path in (node.directory, node.state):
                shutil.chown(path, OTHER_USER, OTHER_USER)
        elif self.node_kind == "small disk":
            mount = 'mount -t tmpfs -o size=2m tmpfs "$0" && exec "$@"'
            node.wrapper = ["unshare", "-m", "sh", "-c", mount, node.state]
        elif self.node_kind == "piped log":
            node.pipe = LogPipe(node.directory / "pipe")
            self.proxies.append(node.pipe)
            node.arguments = []  # a trace would be written for everybody
            node.wrapper = ["sh", "-c", 'exec "$@" 2>"$0"', node.pipe.path]
        elif self.node_kind == "fake clock":
            node.clock = FakeClock(node.directory / "clock")
            node.environment.update(node.clock.environment)

    # warming

    def _warm(self):
        self._all_pass(self.warmer, [SENTINEL])  # its key is none of the new ones, then
        for who in (PROCESS, MEMCACHED, STALE):
            self.in_memcached[who] = self._put_into_memcached(addresses(who))
        for role, node in self.nodes.items():
            self._all_pass(node, addresses(PROCESS, role))
        for key in self.in_memcached[PROCESS]:
            self.memcached.ask(f"delete {key}\r\n".encode())
        for key in self.in_memcached[STALE]:
            self._make_stale(key)
        for role, node in self.nodes.items():
            self._all_pass(node, [f"first-{role}@example.test"])
            self.learn(node, addresses(KNOWN_GOOD, role))

    def _put_into_memcached(self, recipients):
        before = set(self.memcached.keys())
        self._all_pass(self.warmer, recipients)
        keys = {key for key in set(self.memcached.keys()) - before if key.startswith(KEY_OF_AN_OUTCOME)}
        assert len(keys) == len(recipients), (len(keys), len(recipients))
        return keys

    def _all_pass(self, node, recipients):
        answers = node.ask(*recipients)
        answers = answers if isinstance(answers, list) else [answers]
        assert {answer.code for answer in answers} == {250}, answers

    def _make_stale(self, key):
        """The value says when it was verified: `rm1 KEYHASH K SECONDS` (db/outcome.h)."""
        head, seconds, seal = VALUE.fullmatch(self.memcached.get(key)).groups()
        self.memcached.set(key, b"%s%d%s" % (head, int(seconds) - STALE_BY_S, seal))

    def learn(self, node, recipients):
        list_of_them = self.file("learn", "\n".join(recipients) + "\n")
        done = node.ctl("learn", list_of_them)
        assert done.returncode == 0, done

    # for faults

    def keep(self, context):
        """Enters it until the repair."""
        return self.kept.enter_context(context)

    def release(self):
        self.kept.close()

    def kill_connections(self, by=None):
        """Those of the daemons, at the server; through this connection, or a new one."""
        with contextlib.ExitStack() as stack:
            connection = by or stack.enter_context(self.mysql.connect())
            with connection.cursor() as cursor:
                cursor.execute("SELECT id FROM information_schema.processlist WHERE user = 'checker'")
                for (number,) in cursor.fetchall():
                    with contextlib.suppress(pymysql.MySQLError):  # it may have gone
                        cursor.execute(f"KILL {number}")

    def restart_nodes(self):
        for node in self.nodes.values():
            node.kill()
            node.start()

    def set_clock(self, seconds):
        for node in self.nodes.values():
            node.clock.set(seconds)
