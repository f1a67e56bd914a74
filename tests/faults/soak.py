#!/usr/bin/python3
"""Random faults against a steady mixed load: `make soak SECONDS=600`, `tests/faults/soak.py 600`.

One primary and one fallback share a MariaDB and a memcached. Clients ask for recipients that were
always there, never there, made a moment ago and removed a moment ago. The faults are those of the
matrix that several can share (faults.py). An oracle (oracle.py) knows what each recipient truly was
while it was asked for. What must not happen, and makes the exit status 1:

  false bounces    5.1.1, or on the primary any 5xx, for a recipient that was in the table from
                   before the question until after the answer: no cache may be the reason, and no
                   negative_ttl excuses it, since a rejection needs a query made for it. And 5.4.3
                   for one in the node's known-good store: it learned all who were always there.
  invented         250 for a recipient that never was there
  outlived         250 for one removed longer ago than its caches may keep it, with nothing broken
                   since
  late replies     later than lookup_deadline + 1 s, or none
  not back         after a repair the right answers took longer than 5 s
  restarts         a daemon ended or was started anew
"""

import argparse
import collections
import contextlib
import dataclasses
import itertools
import os
import pathlib
import random
import re
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e")]
sys.dont_write_bytecode = True

import pymysql  # noqa: E402

import oracle  # noqa: E402
from fault import DOWN, EMPTY, NOBODY, PASS, WORKS, Fault, several  # noqa: E402
from faults import fits  # noqa: E402
from harness import MilterClient, build_directory  # noqa: E402
from matrix import BACK_S, SLACK_S, in_words  # noqa: E402
from memcached_faults import MEMCACHED_ALONE  # noqa: E402
from mysql_faults import HALF, MYSQL_INSIDE, MYSQL_SERVER  # noqa: E402
from node_faults import RELOAD  # noqa: E402
from node_world import ROLES, NodeWorld, Template, addresses  # noqa: E402

SETTINGS = {
    "process_cache_ttl": "2s", "positive_ttl": "5s", "negative_ttl": "1s",
    "vanish_limit": "10000/10m",  # we remove on purpose
}  # fmt: skip
CACHED_S = 5 + 1  # positive_ttl, counted in whole seconds
LINGERS_S = 3  # process_cache_ttl and a second: what was believed during a fault
CLIENTS = 3  # of each node
PAUSE_S = 0.01  # between two questions of a client
CHURN_S = 0.2  # between two changes of the directory
MUST_BE_0 = ("false bounces", "invented", "outlived", "late replies", "not back", "restarts")


def take_away(world):
    """All but a few, who are not asked for: the sentinel goes with the rest."""
    world.mysql.sql("CREATE TABLE kept AS SELECT * FROM recipients")
    world.mysql.sql(HALF)


def put_back(world):
    world.mysql.sql("INSERT INTO recipients SELECT * FROM kept"
                    " WHERE address NOT IN (SELECT address FROM recipients)")  # fmt: skip
    world.mysql.sql("DROP TABLE kept")


# Nobody changes the directory meanwhile, so that the oracle is right.
TABLE_LOST = Fault("table lost and loaded again", take_away, put_back, EMPTY)


def usable(faults):
    return [fault for fault in faults
            if fits(fault) and "node" not in fault.needs and fault.directory in (WORKS, DOWN)
            and fault.lasts <= 1]  # fmt: skip


@dataclasses.dataclass
class Memory:
    """Of one daemon."""

    kilobytes: int
    threads: int
    files: int

    @classmethod
    def of(cls, pid):
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        field = {name: int(re.search(rf"{name}:\s+(\d+)", status)[1]) for name in ("VmRSS", "Threads")}
        return cls(field["VmRSS"], field["Threads"], len(os.listdir(f"/proc/{pid}/fd")))

    def __str__(self):
        return f"{self.kilobytes / 1024:.1f} MB, {self.threads} threads, {self.files} files"


class Soak:
    def __init__(self, world, seconds, seed, say=print):
        self.world, self.seconds, self.seed, self.say = world, seconds, seed, say
        self.count = collections.Counter({name: 0 for name in MUST_BE_0})
        self.lock = threading.Lock()  # of the counter and what follows
        self.remarks = []
        self.truth = oracle.Oracle()
        self.residents = [a for who in ("cold", "process", "memcached", "back") for a in addresses(who)]
        for resident in self.residents:
            self.truth.was_always(resident, oracle.EXISTS)
        self.created, self.removed = collections.deque(maxlen=50), collections.deque(maxlen=50)
        self.numbers = itertools.count()
        self.changes = threading.Lock()  # held while the directory is not to be changed
        self.broken_until = 0.0  # monotonic; inf while a fault lasts
        self.stopping = threading.Event()

    def run(self):
        for node in self.world.nodes.values():
            self.world.learn(node, self.residents)
            node.ask(*self.residents)
        pids = {role: node.pid for role, node in self.world.nodes.items()}
        before = {role: Memory.of(pid) for role, pid in pids.items()}
        self.begun = time.monotonic()
        threads = [threading.Thread(target=self._guarded, args=(self._ask_on, role, n))
                   for role in ROLES for n in range(CLIENTS)]  # fmt: skip
        threads += [threading.Thread(target=self._guarded, args=(self._change_on,))]
        for thread in threads:
            thread.start()
        try:
            self._break_and_mend()
        finally:
            self.stopping.set()
            for thread in threads:
                thread.join()
        for role, node in self.world.nodes.items():
            if not node.alive() or node.pid != pids[role]:
                self._note("restarts", f"{role} ended: {node.log.text()[-500:]}")
            else:
                self.say(f"{role}: at first {before[role]}, in the end {Memory.of(node.pid)}")

    def _guarded(self, run, *arguments):
        try:
            run(*arguments)
        except BaseException as error:
            self._note("late replies", f"a thread of the test ended: {error!r}")
            raise

    def _note(self, name, remark=None):
        with self.lock:
            self.count[name] += 1
            if remark and len(self.remarks) < 100:
                self.remarks.append(f"{time.monotonic() - self.begun:7.1f} s  {name}: {remark}")

    # the clients

    def _ask_on(self, role, number):
        chance = random.Random(f"{self.seed} {role} {number}")
        while not self.stopping.is_set():
            try:
                with MilterClient(self.world.nodes[role].socket, limit=self.late_s() + 5) as session:
                    session.mail()
                    for _ in range(chance.randint(1, 8)):
                        self._ask(session, role, self._somebody(chance))
                        time.sleep(PAUSE_S)
            except (OSError, EOFError) as error:
                self._note("late replies", f"{role}: no reply at all ({error!r})")

    def late_s(self):
        return self.world.deadline_s + SLACK_S

    def _somebody(self, chance):
        kind = chance.random()
        for share, some in ((0.15, self.created), (0.3, self.removed)):
            if kind < share and some:
                return some[chance.randrange(len(some))]
        if kind < 0.5:
            return f"stranger{chance.randrange(10**9)}@example.test"
        return chance.choice(self.residents)

    def _ask(self, session, role, recipient):
        begin, broken_before = time.monotonic(), self._is_broken()
        reply = session.rcpt(recipient)
        end = time.monotonic()
        words = in_words(role, reply)
        self._note("replies")
        self._note(f"{role}: {words}")
        about = f"{recipient} on the {role}: {reply}, after {end - begin:.2f} s"
        if end - begin > self.late_s():
            self._note("late replies", about)
        truth = self.truth.truth(recipient, begin, end)
        if truth == oracle.EXISTS and reply.code >= 500:
            self._judge_bounce(role, recipient, reply, about)
        if truth == oracle.ABSENT and reply.code == 250:
            self._judge_accept(recipient, begin, broken_before or self._is_broken(), about)

    def _judge_bounce(self, role, recipient, reply, about):
        learned = recipient in self.residents
        if role == "primary" or reply.enhanced != "5.4.3" or learned:
            self._note("false bounces", about)
        else:
            self._note("5.4.3 for one that nothing vouched for")

    def _judge_accept(self, recipient, begin, broken, about):
        gone = self.truth.gone_for(recipient, begin)
        if gone is None:
            self._note("invented", about)
        elif gone <= CACHED_S:
            self._note("false accepts: removed so lately that caches may say so")
        elif broken:
            self._note("false accepts: removed, and vouched for while something was broken")
        else:
            self._note("outlived", f"{about}, gone for {gone:.1f} s")

    # the directory

    def _change_on(self):
        chance = random.Random(f"{self.seed} changes")
        while not self.stopping.is_set():
            with self.changes:
                self._change(chance)
            self.stopping.wait(CHURN_S)

    def _change(self, chance):
        if len(self.created) > 20 and chance.random() < 0.5:
            recipient = self.created.popleft()
            if self._remove(recipient):
                self.removed.append(recipient)
        else:
            recipient = f"created{next(self.numbers)}@example.test"
            if self._create(recipient):
                self.created.append(recipient)

    def _create(self, recipient):
        return self.truth.change(recipient, oracle.EXISTS, lambda: self._sql(
            "INSERT INTO recipients (address) VALUES (%s)", recipient))  # fmt: skip

    def _remove(self, recipient):
        return self.truth.change(recipient, oracle.ABSENT, lambda: self._sql(
            "DELETE FROM recipients WHERE address = %s", recipient))  # fmt: skip

    def _sql(self, statement, *values):
        try:
            self.world.mysql.sql(statement, *values)
            return True
        except (pymysql.MySQLError, OSError):
            return False

    # the faults

    def _is_broken(self):
        return time.monotonic() < self.broken_until

    def _break_and_mend(self):
        chance = random.Random(self.seed)
        end = self.begun + self.seconds
        mysql, memcached = usable([*MYSQL_SERVER, *MYSQL_INSIDE]), usable(MEMCACHED_ALONE)
        while time.monotonic() < end:
            fault = chance.choice([*mysql, *mysql, *memcached, RELOAD, *[TABLE_LOST] * 3])
            if chance.random() < 0.3:
                fault = several([chance.choice(mysql), chance.choice(memcached)])
            self.stopping.wait(chance.uniform(0.5, 3))
            self.say(f"{time.monotonic() - self.begun:7.1f} s  {fault.name}")
            self.broken_until = float("inf")
            with self.changes if fault is TABLE_LOST else contextlib.nullcontext():
                fault.inject(self.world)
                self.stopping.wait(chance.uniform(0.1, 6))
                fault.repair(self.world)
            self._note("faults")
            self._wait_for_right_answers(fault)
            self.broken_until = time.monotonic() + LINGERS_S

    def _wait_for_right_answers(self, fault):
        end = time.monotonic() + BACK_S
        wrong = None
        while wrong is None or wrong and time.monotonic() < end:
            wrong = [remark for role in ROLES for remark in self._wrong_now(role)]
        if wrong:
            self._note("not back", f"{fault.name}: {wrong}")

    def _wrong_now(self, role):
        """A recipient that was created this moment, and a stranger."""
        number = next(self.numbers)
        resident, stranger = f"fresh{number}@example.test", f"strange{number}@example.test"
        if not self._create(resident):
            return ["the directory cannot be written"]
        try:
            replies = self.world.nodes[role].ask(resident, stranger, limit=self.late_s() + 5)
        except (OSError, EOFError) as error:
            return [f"{role}: {error!r}"]
        return [f"{role}: {reply}" for reply, right in zip(replies, (PASS, NOBODY[role]))
                if in_words(role, reply) != right]  # fmt: skip


def soak(seconds, seed, template, say=print):
    """The counts; the remarks are said."""
    world = NodeWorld(template, mysql="proxy", memcached="proxy", settings=SETTINGS)
    with world:
        run = Soak(world, seconds, seed, say)
        run.run()
        try:
            world.close()
        except AssertionError as error:
            run._note("restarts", str(error))
    for remark in run.remarks:
        say(remark)
    return run.count


def main():
    parser = argparse.ArgumentParser(description="random faults against a steady mixed load")
    parser.add_argument("seconds", type=int)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    if not (build_directory() / "rcpt-milter").exists():
        sys.exit("rcpt-milter is not built: make")
    print(f"{options.seconds} s, seed {options.seed}", flush=True)
    template = Template()
    try:
        count = soak(options.seconds, options.seed, template, lambda line: print(line, flush=True))
    finally:
        template.remove()
    for name in sorted(count, key=lambda name: (name in MUST_BE_0, name)):
        print(f"{count[name]:8} {name}{' (must be 0)' if name in MUST_BE_0 else ''}")
    return 1 if any(count[name] for name in MUST_BE_0) else 0


if __name__ == "__main__":
    sys.exit(main())
