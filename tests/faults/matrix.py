"""Runs faults against worlds, and tells what was answered."""

import dataclasses
import pathlib
import threading
import time

from fault import BY_POSTFIX, NOBODY, PASS
from harness import MilterClient, SmtpClient
from node_world import (
    PER_CELL, ROLES, UNKNOWN, WARMTHS, NodeWorld, address,
)  # fmt: skip

COLUMNS = [*WARMTHS, UNKNOWN]
CELLS = [(role, who) for role in ROLES for who in COLUMNS]
BACK_S = 5  # so soon after the repair everything is right again: a promise
SLACK_S = 1  # beyond lookup_deadline: the same
MATRIX = pathlib.Path(__file__).with_name("MATRIX.md")


def in_words(role, reply):
    """"250", "450", "451", "451 held", "550 5.1.1": what the cells hold."""
    if reply.codes == (451, "4.7.1"):
        return BY_POSTFIX
    if reply.code == 451 and role == "fallback":
        return "451 held"
    return f"{reply.code} {reply.enhanced}" if reply.code >= 500 else str(reply.code)


@dataclasses.dataclass
class Answer:
    recipient: str
    words: str
    seconds: float
    right: set

    def __str__(self):
        return (f"{self.recipient}: {self.words} after {self.seconds:.2f} s,"
                f" right is {' or '.join(sorted(self.right))}")


@dataclasses.dataclass
class Run:
    """What one fault came to."""

    deadline_s: float = 0
    cells: dict = dataclasses.field(default_factory=lambda: {cell: [] for cell in CELLS})
    wrong_after: dict = dataclasses.field(default_factory=dict)  # role -> what was still wrong
    stopped: str = ""  # what was wrong when the servers were stopped

    def late_s(self):
        return self.deadline_s + SLACK_S


class Session:
    """One question in one session, which may be there before the fault comes."""

    def __init__(self, world, role, limit):
        start = time.monotonic()
        if role in world.mx:
            self.client = SmtpClient(world.mx[role].port(), limit=limit)
        else:
            self.client = MilterClient(world.nodes[role].socket, limit=limit)
        self.client.mail()
        self.opening_s = time.monotonic() - start

    def ask(self, recipient):
        """(reply, seconds)"""
        start = time.monotonic()
        reply = self.client.rcpt(recipient)
        return reply, max(self.opening_s, time.monotonic() - start)


class Trial:
    """One fault in one world."""

    def __init__(self, fault, world, rounds):
        self.fault, self.world, self.rounds = fault, world, rounds
        self.run = Run(world.deadline_s + fault.grace_s)
        self.sessions = {}  # (role, who, number) -> the session for that question

    def conduct(self):
        for number in range(self.rounds if self.fault.old_sessions_only else 1):
            self._open_sessions(number)
        self.fault.inject(self.world)
        begun = time.monotonic()
        if self.fault.restarts:
            self._open_sessions(0)
        self._ask_at_once()
        for number in range(1, self.rounds):
            self._ask_one_by_one(number)
            if number == 1:
                time.sleep(max(0, begun + self.fault.lasts - time.monotonic()))  # it lasts
        self.fault.repair(self.world)
        self._see_them_right()
        for session in self.sessions.values():
            session.client.close()

    def _session(self, role, who, number):
        if (role, who, number) not in self.sessions:
            self.sessions[role, who, number] = Session(self.world, role, self.run.late_s() + 2)
        return self.sessions[role, who, number]

    def _open_sessions(self, number):
        for role, who in CELLS:
            self.sessions.pop((role, who, number), None)
            self._session(role, who, number)

    def _ask_at_once(self):
        threads = [threading.Thread(target=self._ask, args=(role, who, 0)) for role, who in CELLS]
        for thread in threads:
            thread.start()
        self.fault.meanwhile(self.world)
        for thread in threads:
            thread.join()

    def _ask_one_by_one(self, number):
        def ask_all(role):
            for who in COLUMNS:
                self._ask(role, who, number)

        threads = [threading.Thread(target=ask_all, args=(role,)) for role in ROLES]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _ask(self, role, who, number):
        recipient = address(who, role, number)
        start = time.monotonic()
        try:
            reply, seconds = self._session(role, who, number).ask(recipient)
            words = in_words(role, reply)
        except (OSError, EOFError) as error:
            words, seconds = f"no reply ({type(error).__name__})", time.monotonic() - start
        right = self.fault.replies(role, who, first=number == 0)
        self.run.cells[role, who].append(Answer(recipient, words, seconds, right))

    # after the repair

    def _see_them_right(self):
        end = time.monotonic() + BACK_S
        threads = [threading.Thread(target=self._see_right, args=(role, end)) for role in ROLES]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _see_right(self, role, end):
        """Somebody never asked for, a stranger, and all who were asked for during the fault."""
        wrong = ["nothing was asked"]
        number = 0
        while wrong and time.monotonic() < end:
            wrong = self._what_is_wrong(role, number)
            number += 1
            time.sleep(0.1)
        self.run.wrong_after[role] = wrong

    def _what_is_wrong(self, role, number):
        right = {address("back", role, number % PER_CELL): PASS,
                 address("stranger", role, number): NOBODY[role]}  # fmt: skip
        for who in COLUMNS:
            right.update({address(who, role, n): NOBODY[role] if who == UNKNOWN else PASS
                          for n in range(self.rounds)})  # fmt: skip
        try:
            replies = self.world.nodes[role].ask(*right, limit=self.run.late_s() * len(right))
        except (OSError, EOFError) as error:
            return [f"no session ({type(error).__name__})"]
        return [f"{recipient}: {reply}" for (recipient, words), reply in zip(right.items(), replies)
                if in_words(role, reply) != words]  # fmt: skip


def conduct(fault, template, rounds):
    with NodeWorld(template, **fault.needs) as world:
        trial = Trial(fault, world, rounds)
        trial.conduct()
        try:
            world.close()
        except AssertionError as error:
            trial.run.stopped = str(error)
    return trial.run


# the table

def cell_text(answers):
    """The right replies, if all were; several when time decides between them."""
    wrong = sorted({answer.words for answer in answers if answer.words not in answer.right})
    if wrong or not answers:
        return f"**{', '.join(wrong) or 'not asked'}**"
    stages = []
    for answer in answers:
        text = " or ".join(sorted(answer.right, reverse=True))
        if text not in stages:
            stages.append(text)
    return ", then ".join(stages)


def table(runs):
    """Markdown."""
    head = ["fault", *(f"{role}: {who}" for role, who in CELLS), "right again within 5 s"]
    lines = [head, ["---"] * len(head)]
    for name, run in runs.items():
        back = "yes" if not any(run.wrong_after.values()) else "**no**"
        lines.append([name, *(cell_text(run.cells[cell]) for cell in CELLS), back])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


HEAD = """\
# What is answered while something is broken

`make check-faults` writes this file: each row is a fault, injected into real servers; each cell is
what the node answered to a recipient that only that tier knew (and the directory). `cold`: nobody
was asked about it before; `process`: the process cache (and, confirmed with it, the known-good
store); `memcached`, and `stale` there (past `positive_ttl`); `known good`: the local store, learned
from a file; `unknown`: there is no such recipient. "A or B":
both are right, and which comes first is a matter of milliseconds; "A, then B": A while the fault
sets in. **Bold** is wrong. Every reply came within `lookup_deadline` + 1 s.

"""


def write(runs):
    text = HEAD + table(runs)
    if not MATRIX.exists() or MATRIX.read_text() != text:
        MATRIX.write_text(text)
