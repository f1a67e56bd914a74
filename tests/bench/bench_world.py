"""The servers of the benchmark, and load.c, the driver that asks them."""

import dataclasses
import json
import os
import statistics
import subprocess

from daemon import ROOT
from harness import Process, World, build_directory, mysql_table, wait_until

BENCH = build_directory() / "tests/bench"
QUERY = "SELECT 1 FROM recipients WHERE address = '%s'"


@dataclasses.dataclass
class Run:
    """What load.c said of one run."""

    recipients: int
    sessions: int
    seconds: float
    per_second: float
    p50_us: float
    p99_us: float
    max_us: float
    cpu_us: float
    wrong: int

    @property
    def cpu_per_recipient(self):
        return self.cpu_us / self.recipients


@dataclasses.dataclass
class Ratio:
    """The median of the pairs' ratios, and their least and greatest."""

    values: list

    @property
    def median(self):
        return statistics.median(self.values)

    def __str__(self):
        return f"{self.median:.3f} ({min(self.values):.3f} .. {max(self.values):.3f})"


class Filter(Process):
    """floor or naive: a milter that is one of the benchmark's own programs."""

    def __init__(self, directory, name, *arguments):
        super().__init__(directory / "log")
        self.socket = directory / f"{name}.sock"
        self.argv = [BENCH / name, f"unix:{self.socket}", *arguments]

    def start(self):
        self.spawn(self.argv, dict(os.environ))
        wait_until(lambda: self.socket.exists() or not self.alive(), what=f"{self.socket}")
        assert self.alive(), self.log.text()
        self.socket.chmod(0o666)  # Postfix is somebody else
        return self

    stop = Process.end


class BenchWorld(World):
    """A World with the floor, the naive milter and the driver."""

    def __init__(self, quick):
        super().__init__()
        self.quick = quick
        self.pairs = 5
        self.shared = {}

    def filter(self, name, *arguments, directory=None):
        place = directory or self.scratch.new(name)
        return self._begin(Filter(place, name, *arguments))

    def once(self, name, make):
        """What several measures use: made by the first."""
        if name not in self.shared:
            self.shared[name] = make()
        return self.shared[name]

    # what there is to ask

    def questions(self, count, start=0, expected=2, pattern="user{:08d}@example.test"):
        path = self.scratch.path / f"q-{expected}-{start}-{count}-{abs(hash(pattern)) % 10**6}"
        if not path.exists():
            with open(path, "w") as file:
                file.writelines(
                    f"{expected} {pattern.format(i)}\n" for i in range(start, start + count))
        return path

    def database(self):
        """recipients: user00000000 to user00199999."""
        return self.once("database", lambda: self.make_database(200_000))

    def make_database(self, count, name="bench-db", options=()):
        database = self.mariadb(name, options=["--skip-log-bin", *options])
        database.sql("CREATE DATABASE mail CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", database=None)
        database.load(ROOT / "db/schema.sql", ROOT / "tests/e2e/schema.sql", database="mail")
        database.sql("SET GLOBAL net_read_timeout = 600")
        with database.connect() as connection, connection.cursor() as cursor:
            connection._read_timeout = 900
            cursor.execute("INSERT INTO recipients (address) SELECT CONCAT('user', LPAD(seq, 8, '0'),"
                           f" '@example.test') FROM seq_0_to_{count - 1}")
            cursor.execute("ANALYZE TABLE recipients")
        return database

    def map(self, database=None):
        table = mysql_table(self, database or self.database(), QUERY, name="recipients.cf")
        os.chmod(table.partition(":")[2], 0o644)  # proxymap is not root
        return table

    def node(self, name="rm", **config):
        """rcpt-milter as it is by default, with the trace off."""
        return self.milter(name, verbose=0, **config)

    # asking

    def warm(self, target, questions, count):
        """Asks for each once, on fewer connections than there are lookup slots: nothing is shed."""
        return self.load(target, questions, count, connections=8)

    def load(self, target, questions, count, connections=16, per_session=100, smtp=False,
             tolerant=False):
        """One run against a milter (its socket, its processor time) or an SMTP port."""
        address = f"inet:127.0.0.1:{target}" if smtp else f"unix:{target.socket}"
        argv = [BENCH / "load", *(["-s"] if smtp else ["-p", str(pid_of(target))]),
                *(["-t"] if tolerant else []),
                "-c", str(connections), "-m", str(per_session), "-n", str(count), address, questions]
        done = subprocess.run(argv, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(map(str, argv))}\n{done.stdout}{done.stderr}")
        return Run(**json.loads(done.stdout))

    def compare(self, ours, theirs, rounds=None):
        """Calls both in turn, now the one first and now the other; returns their runs."""
        runs = []
        for turn in range(rounds or self.pairs):
            if turn % 2:
                other = theirs()
                runs.append((ours(), other))
            else:
                mine = ours()
                runs.append((mine, theirs()))
        return runs


def pid_of(target):
    """Of the program itself: env(1) and its like become it by exec."""
    return target.child.pid


def ratio(runs, what):
    return Ratio([what(ours) / what(theirs) for ours, theirs in runs])


def throughput(run):
    return run.per_second


def p99(run):
    return run.p99_us
