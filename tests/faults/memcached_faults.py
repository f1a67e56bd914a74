"""Faults of memcached, each alone and with MySQL killed."""

import random
import time

from fault import Fault, both, nothing
from harness import wait_until
from mysql_faults import MYSQL_KILLED
from network import Dribble, Flip, Garbage, WrongValue
from node_world import KEY_OF_AN_OUTCOME, MEMCACHED, PER_CELL, ROLES, STALE, UNKNOWN, address

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
    memcached_proxied("memcached answers with another key's value",
                      lambda w: WrongValue(any_other_value(w))),
    Fault("memcached: forged values", forge, nothing),
    Fault("memcached: forged values, sealed", forge_well, nothing, breaks=frozenset({STALE}),
          needs={"secret": True}),
    memcached_proxied("memcached: garbage on the wire", lambda w: Garbage()),
    memcached_proxied("memcached: a bit flipped", lambda w: Flip()),
]  # fmt: skip
MEMCACHED_FAULTS = [each for fault in MEMCACHED_ALONE
                    for each in (fault, both(fault, MYSQL_KILLED))]  # fmt: skip
