"""Faults of the node itself and of its known-good store."""

import dataclasses
import os
import pathlib
import random
import resource
import subprocess

from fault import DOWN, UNSURE, Fault, both, nothing, several
from memcached_faults import GONE
from mysql_faults import MYSQL_KILLED
from node_world import KNOWN_GOOD, PROCESS

# Its limits, its clock, its log

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


# The known-good store; with MySQL killed, or it would not be asked

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
