"""What a fault is, and what must be answered while it lasts.

A fault says what becomes of the directory, and which tiers it takes away from the node. From that
and the rules of DESIGN.md (2 and 3) the cells follow: see replies().
"""

import dataclasses
import typing

from node_world import COLD, MEMCACHED, PROCESS, UNKNOWN

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
        if directory == UNSURE and who == UNKNOWN:
            right.add(HELD[role])  # the sentinels could no longer be asked
        return right.union(*(self._replies(stage, role, who) for stage in stages))

    def _replies(self, directory, role, who):
        vouched = [who not in (COLD, UNKNOWN) and who not in self.breaks]
        if who in self.may_break:
            vouched = [True, False]
        return set().union(*(self._what_holds(directory, role, who, either) for either in vouched))

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
