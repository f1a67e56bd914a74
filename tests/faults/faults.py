"""All faults: FAULTS. What one is says fault.py; here are the combinations."""

import dataclasses
import os
import random

from fault import DOWN, nothing, several
from memcached_faults import MEMCACHED_ALONE, MEMCACHED_FAULTS
from mysql_faults import MYSQL_HANGS, MYSQL_INSIDE, MYSQL_KILLED, MYSQL_SERVER
from node_faults import AHEAD, BACK, NODE, RELOAD, STORE

def through_postfix(fault):
    return dataclasses.replace(
        fault, name=f"{fault.name}, through Postfix", needs={**fault.needs, "postfix": True}
    )


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
