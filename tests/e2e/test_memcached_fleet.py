"""Three memcached servers, of which one dies, hangs, lies, and comes back empty or with what it had.

What is promised then: an answer is right or as old as it may be. A recipient created meanwhile may be
deferred by a primary for negative_ttl, counted from when the directory said no; one removed meanwhile
may pass for positive_ttl; while the directory is down "exists" vouches for stale_ttl. A fallback never
bounces on any of it. A server's keys are its own: nobody else gets them while it is away, so that
nothing is there twice when it returns.
"""

import re
import socket
import threading
import time

import pytest

from harness import wait_until

UNKNOWN = {"primary": (450, "4.1.1"), "fallback": (550, "5.1.1")}
ROLES = pytest.mark.parametrize("role", ["primary", "fallback"])
SHARE = 20  # recipients that exist, and as many that do not


@pytest.fixture
def fleet(world, directory, recipients, request):
    fleet = Fleet(world, directory, recipients, request.node.name)
    yield fleet
    for server in fleet.servers:
        server.kill()  # asked nicely, each takes a second


class Fleet:
    def __init__(self, world, directory, recipients, tag):
        self.world, self.directory, self.recipients = world, directory, recipients
        self.servers = [world.memcached() for _ in range(3)]
        tag = re.sub("[^a-z0-9]+", "-", tag).strip("-")  # the directory may be other tests', too
        self.names = [f"member{i}.{tag}@example.test" for i in range(SHARE)]
        self.ghosts = [f"ghost{i}.{tag}@example.test" for i in range(SHARE)]
        for name in self.names:
            self.create(name)

    def create(self, name):
        self.directory.sql("INSERT INTO recipients (address) VALUES (%s)", name)

    def remove(self, name):
        self.directory.sql("DELETE FROM recipients WHERE address = %s", name)

    def node(self, role, name="rm", servers=None, **options):
        """Without a process cache, so that every question meets memcached; and what a node itself
        knows to be good is soon forgotten, so that only memcached vouches."""
        sockets = servers or [f"unix:{server.socket}" for server in self.servers]
        return self.world.milter(
            name, **{
                "role": role, "recipient_maps": self.recipients, "process_cache_entries": "0",
                "memcache_servers": ", ".join(sockets), "memcache_timeout": "1s",
                "known_good_ttl": "1s", "removal_grace": "0", **options,
            }
        )  # fmt: skip

    def outcomes(self, server):
        """A memcached that is moving its items about may leave one out."""
        return {key for key in server.keys() if key[-33] == "r"}

    def shares(self, count):
        """The keys of each, when there are so many altogether."""
        return wait_until(
            lambda: (found := [self.outcomes(server) for server in self.servers])
            and sum(map(len, found)) == count and found, what=f"{count} keys"
        )  # fmt: skip

    def generations(self):
        """The keys of each: that of everything, and that of the domain."""
        return wait_until(
            lambda: (found := [{key for key in server.keys() if key[-33] == "g"} for server in self.servers])
            and sum(map(len, found)) == 2 and found, what="two generations"
        )  # fmt: skip

    def home(self, milter, name):
        """The server that has the answer about this recipient."""
        return self.find(milter, name)[0]

    def find(self, milter, name):
        """That server, and the key."""
        milter.ask(name)
        mark = milter.log.end()
        milter.ask(name)
        line = milter.log.wait(r"trace .*memcached \S+:r[0-9a-f]{32}: hit", mark)
        key = line.partition("memcached ")[2].partition(": hit")[0]
        (server,) = (server for server in self.servers if server.get(key) is not None)
        return server, key

    def used_again(self, milter, server):
        """Waits until the node has found that this server is back."""
        wait_until(
            lambda: f"memcached unix:{server.socket} up" in milter.ctl("status").stdout,
            what="the server to be used again",
        )

    def assert_right(self, milter):
        answers = milter.ask(*self.names, *self.ghosts)
        assert {answer.codes for answer in answers[:SHARE]} == {(250, "")}
        assert {answer.codes for answer in answers[SHARE:]} == {UNKNOWN[milter.config["role"]]}


def older_than(moment, seconds):
    wait_until(lambda: time.time() >= moment + seconds + 1, what="the answers to be out of date")


@pytest.mark.sanitizer
@ROLES
def test_one_of_three_dies_and_returns_empty(fleet, role):
    milter = fleet.node(role)
    fleet.assert_right(milter)
    shares = fleet.shares(2 * SHARE)
    assert all(shares)

    fleet.servers[0].kill()
    fleet.assert_right(milter)
    with milter.counted() as count:
        fleet.assert_right(milter)
    if role == "primary":
        assert count["memcache_hits"] == len(shares[1]) + len(shares[2]), "the others keep theirs"
    for server, share in list(zip(fleet.servers, shares))[1:]:
        assert fleet.outcomes(server) <= share, "and do not get those of the dead one"

    fleet.servers[0].start()

    def is_filled():
        fleet.assert_right(milter)
        return len(fleet.outcomes(fleet.servers[0])) == len(shares[0])

    wait_until(is_filled, what="it to be filled again")


@ROLES
def test_each_in_turn_hangs_and_goes_on_under_questions(fleet, role):
    """Never two at a time, never a wrong answer, and each question in its time."""
    milter = fleet.node(role)
    fleet.assert_right(milter)
    for server in fleet.servers:
        server.suspend()
        begin = time.monotonic()
        fleet.assert_right(milter)
        assert time.monotonic() - begin < 15, "not a second for each of its keys"
        server.resume()
        fleet.assert_right(milter)


def test_created_while_its_server_hung_is_known_when_negative_ttl_is_over(fleet):
    primary = fleet.node("primary", "p", negative_ttl="4s")
    fallback = fleet.node("fallback", "f", negative_ttl="4s")
    late = fleet.ghosts[0]
    home = fleet.home(primary, late)
    said_no = time.time()
    home.suspend()
    fleet.create(late)
    assert fallback.ask(late).code == 250
    assert primary.ask(late).code == 250, "nobody remembers, so the directory is asked"
    home.resume()
    # The old "no" is there again. A primary may believe it, a fallback asks before it bounces.
    while time.time() < said_no + 4:
        assert primary.ask(late).codes in {(250, ""), UNKNOWN["primary"]}
        assert fallback.ask(late).code == 250
    older_than(said_no, 4)
    assert primary.ask(late).code == 250
    assert fallback.ask(late).code == 250


@ROLES
def test_removed_while_its_server_hung_passes_no_longer_than_positive_ttl(fleet, role):
    milter = fleet.node(role, positive_ttl="4s")
    home = fleet.home(milter, fleet.names[0])
    said_yes = time.time()
    home.suspend()
    fleet.remove(fleet.names[0])
    assert milter.ask(fleet.names[0]).codes == UNKNOWN[role]
    home.resume()
    while time.time() < said_yes + 4:
        assert milter.ask(fleet.names[0]).codes in {(250, ""), UNKNOWN[role]}
    older_than(said_yes, 4)
    assert milter.ask(fleet.names[0]).codes == UNKNOWN[role]


def test_a_value_that_returns_vouches_within_stale_ttl_and_not_after_it(world, own_directory, own_recipients):
    fleet = Fleet(world, own_directory, own_recipients, "stale")
    milter = fleet.node("primary", positive_ttl="1s", stale_ttl="12s")
    home, key = fleet.find(milter, fleet.names[0])
    said_yes = time.time()
    home.set(key, home.get(key))  # without an expiry: nobody but us looks at its age
    home.suspend()
    older_than(said_yes, 1)
    own_directory.kill()
    home.resume()
    with milter.counted() as count:
        wait_until(lambda: milter.ask(fleet.names[0]).code == 250, 8, "it to vouch while the directory is down")
    assert count["stale_vouched"] == 1
    home.suspend()
    assert milter.ask(fleet.names[0]).codes == (451, "4.4.3")
    older_than(said_yes, 12)
    home.resume()
    fleet.used_again(milter, home)
    assert home.get(key), "it still has it"
    assert milter.ask(fleet.names[0]).codes == (451, "4.4.3")


def test_a_flush_reaches_the_values_of_a_server_that_hangs(fleet):
    """The generation moves on; what a hung server still has is never asked for again."""
    milter = fleet.node("primary", positive_ttl="1h")
    fleet.assert_right(milter)
    without = [server for server, keys in zip(fleet.servers, fleet.generations()) if not keys]
    assert without, "two generations, three servers"
    removed = [name for name in fleet.names if fleet.home(milter, name) is without[0]]
    assert removed
    without[0].suspend()
    for name in removed:
        fleet.remove(name)
    assert milter.ctl("flush", "--all").returncode == 0
    without[0].resume()
    fleet.used_again(milter, without[0])
    assert {answer.codes for answer in milter.ask(*removed)} == {UNKNOWN["primary"]}


def test_a_flush_that_could_not_be_told_to_a_server_says_so(fleet):
    milter = fleet.node("primary")
    fleet.assert_right(milter)
    for server, keys in zip(fleet.servers, fleet.generations()):
        if keys:
            server.suspend()
    done = milter.ctl("flush", "--all")
    assert done.returncode != 0 and "memcached could not be told" in done.stdout + done.stderr


class Liar:
    """In front of a memcached. `mode`: "honest"; "mix", the value of another key under the name of the
    one that was asked for; "other", the whole line of another; "dribble", a byte now and then."""

    def __init__(self, path, target):
        self.path, self.target, self.mode, self.lies = path, target, "honest", 0
        self.ended = threading.Event()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen(50)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self.ended.set()
        self.listener.close()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection, connection.makefile("rb") as lines:
            for line in lines:
                words = line.split()
                if words[0] in (b"set", b"add"):
                    line += lines.read(int(words[4]) + 2)
                try:
                    self._answer(connection, line, words)
                except OSError:
                    return

    def _answer(self, connection, line, words):
        mode, key = self.mode, words[1].decode()
        others = [k for k in self.target.keys() if k != key and k[-33] == key[-33]]
        if mode in ("mix", "other") and words[0] == b"get" and others:
            self.lies += 1
            other = others[self.lies % len(others)]
            answer = self.target.ask(f"get {other}\r\n".encode(), b"END\r\n")
            if mode == "mix":
                answer = answer.replace(other.encode(), words[1], 1)
        else:
            answer = self.target.ask(line, b"END\r\n" if words[0] == b"get" else b"\r\n")
        if mode != "dribble":
            connection.sendall(answer)
            return
        self.lies += 1
        for byte in answer:
            connection.sendall(bytes([byte]))
            if self.ended.wait(0.05):
                return


@pytest.mark.parametrize("mode", ["mix", "other", "dribble"])
@ROLES
def test_one_of_three_lies_and_no_answer_is_wrong(fleet, role, mode):
    liar = Liar(fleet.servers[0].directory / "liar", fleet.servers[0])
    try:
        servers = [f"unix:{liar.path}", *(f"unix:{server.socket}" for server in fleet.servers[1:])]
        milter = fleet.node(role, servers=servers, process_cache_ttl="0s")
        fleet.assert_right(milter)
        assert fleet.outcomes(fleet.servers[0]), "it has a share"
        liar.mode = mode
        for _ in range(2):
            fleet.assert_right(milter)
        assert liar.lies > 0
        liar.mode = "honest"
        fleet.assert_right(milter)
    finally:
        liar.close()
