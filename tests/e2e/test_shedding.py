"""More sessions than the directory can serve: each gets its answer, nearly all of them at once, and
none of them a 5xx for that reason."""

import pathlib
import resource
import selectors
import socket
import struct
import time

import pytest

from harness import mysql_table, wait_until
from milter_client import ACTIONS_ALL, STEPS_ALL

SESSIONS = 2000
SHED = b"451 4.4.3"


def packet(command, payload=b""):
    return struct.pack(">I", len(payload) + 1) + command + payload


def rcpt_packets(recipient):
    return packet(b"D", b"R{rcpt_addr}\0" + recipient + b"\0") + packet(b"R", b"<" + recipient + b">\0")


NEGOTIATE = packet(b"O", struct.pack(">III", 6, ACTIONS_ALL, STEPS_ALL))


class Member:
    """One session of a crowd. It asks for its next recipient as soon as it has an answer."""

    def __init__(self, path, recipients):
        self.socket = socket.socket(socket.AF_UNIX)
        self.begin = time.monotonic()
        self.socket.connect(str(path))
        self.recipients = list(recipients)
        self.bytes = b""
        self.asked = None
        self.answers = []  # (packet, seconds since its RCPT, seconds since the connection)
        self.socket.sendall(NEGOTIATE)

    def receive(self):
        """False when it has all its answers. The milter must not hang up before that."""
        data = self.socket.recv(4096)
        assert data, "the milter closed the connection"
        self.bytes += data
        while len(self.bytes) >= 4:
            (length,) = struct.unpack(">I", self.bytes[:4])
            if len(self.bytes) < 4 + length:
                break
            answer, self.bytes = self.bytes[4 : 4 + length], self.bytes[4 + length :]
            if self.asked is not None:
                now = time.monotonic()
                self.answers.append((answer, now - self.asked, now - self.begin))
            else:
                assert answer[:1] == b"O", answer
            if not self.recipients:
                self.socket.sendall(packet(b"Q"))
                return False
            self.asked = time.monotonic()
            self.socket.sendall(rcpt_packets(self.recipients.pop(0)))
        return True


def crowd(path, asking, limit=90):
    """All sessions at once, each with its recipients; all answers, when the last one is there."""
    end = time.monotonic() + limit
    with selectors.DefaultSelector() as selector:
        members = [Member(path, recipients) for recipients in asking]
        for member in members:
            selector.register(member.socket, selectors.EVENT_READ, member)
        left = len(members)
        while left:
            ready = selector.select(max(0, end - time.monotonic()))
            assert ready, f"{left} sessions without an answer for {limit} s"
            for key, _ in ready:
                if not key.data.receive():
                    selector.unregister(key.fileobj)
                    key.fileobj.close()
                    left -= 1
    return [answer for member in members for answer in member.answers]


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))]


@pytest.fixture
def many_files():
    """Each session is a file here and one there."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = SESSIONS + 1000
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"only {hard} files may be open")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def memory(milter):
    """Resident memory in MiB: (now, at its peak)."""
    text = pathlib.Path(f"/proc/{milter.pid}/status").read_text()
    field = dict(line.split(":", 1) for line in text.splitlines())
    return int(field["VmRSS"].split()[0]) / 1024, int(field["VmHWM"].split()[0]) / 1024


def slow_map(world, directory, seconds, value="'x'", where="TRUE"):
    return mysql_table(
        world, directory, f"SELECT {value} FROM DUAL WHERE SLEEP({seconds}) = 0 AND {where} AND '%s' <> ''"
    )


@pytest.mark.parametrize("role, slots", [("primary", 12), ("fallback", 12), ("primary", 2), ("fallback", 2)])
def test_2000_sessions_at_a_directory_that_takes_2_seconds(world, directory, many_files, role, slots):
    """Everybody exists. 99 of 100 wait less than a second, nobody longer than the deadline.

    Memory: a session is libmilter's context and its buffers, a few KiB, and a worker's stack and
    arena while one runs. 64 MiB is 32 KiB for each; a thread or a connection for each, or a queue
    that grows with every question, would be more. After the second crowd it holds what it held
    after the first: 8 MiB are left to the allocator's moods."""
    milter = world.milter(
        role=role, recipient_maps=slow_map(world, directory, 2), verbose=0, lookup_slots=slots,
        lookup_deadline="5s", mysql_query_timeout="5s", mysql_connections="12",
        process_cache_entries="0",
    )  # fmt: skip
    at_start, _ = memory(milter)
    after = []
    for wave in range(2):
        asking = [[b"user%d-%d-%d@example.test" % (wave, i, j) for j in range(1 + i % 3)] for i in range(SESSIONS)]
        with milter.counted() as count:
            answers = crowd(milter.socket, asking)
        assert len(answers) == sum(map(len, asking))
        waits = [wait for _, wait, _ in answers]
        since_connect = [wait for _, _, wait in answers]
        said = {answer[:1] if answer[:1] == b"c" else answer[1:10] for answer, _, _ in answers}
        print(f"{role} {slots} wave {wave}: from RCPT p50 {percentile(waits, 0.5):.2f} p99"
              f" {percentile(waits, 0.99):.2f} max {max(waits):.2f}; from connect p50"
              f" {percentile(since_connect, 0.5):.2f} p99 {percentile(since_connect, 0.99):.2f}"
              f" max {max(since_connect):.2f}; memory {memory(milter)}")  # fmt: skip
        assert said == {b"c", SHED}
        assert percentile(waits, 0.99) < 1
        assert max(waits) < 6, "lookup_deadline and a second"
        # Three answers in turn, and 2000 handshakes before the first of them.
        assert percentile(since_connect, 0.99) < 5
        assert count["recipients"] == len(answers) and count["reply_5xx"] == 0
        assert 0 < count["reply_pass"] <= len(answers) - count["lookups_shed"]
        wait_until(lambda: milter.stats()["sessions"] >= SESSIONS * (wave + 1), what="all to be closed")  # noqa: B023
        after.append(memory(milter))
    assert after[1][1] - at_start < 64
    assert after[1][0] - after[0][0] < 8


@pytest.mark.sanitizer
def test_commands_that_come_together_do_not_wait_for_each_other(world, directory):
    """libmilter's convoy. Commands that it sees at the same moment are handed to the workers that
    idle, however few; those that get none would wait until a blocked one is done."""
    milter = world.milter(
        recipient_maps=slow_map(world, directory, 2), verbose=0, lookup_slots="12", mysql_query_timeout="5s",
        mysql_connections="12", process_cache_entries="0",
    )  # fmt: skip
    late = []
    for turn in range(8):  # without help, about every third goes wrong
        sessions = [milter.session() for _ in range(30)]
        milter.suspend()
        for i, session in enumerate(sessions):
            session.mail()
            session.send_bytes(rcpt_packets(b"user%d-%d@example.test" % (turn, i)))
        milter.resume()
        begin = time.monotonic()
        with selectors.DefaultSelector() as selector:
            for session in sessions:
                selector.register(session.connection, selectors.EVENT_READ, session)
            while selector.get_map():
                for key, _ in selector.select(20):
                    assert key.data.answer().code in (250, 451)
                    selector.unregister(key.fileobj)
                    late.append(time.monotonic() - begin > 1.5)
        for session in sessions:
            session.close()
        assert sum(late) <= 12 * (turn + 1), "those that have a slot, and nobody else"
    assert sum(late) == 8 * 12, "and those that have one wait"


def test_a_slow_directory_makes_no_sessions_of_our_own_visible(world, directory):
    """The program wakes libmilter by connecting to itself: that is no session."""
    milter = world.milter(recipient_maps=slow_map(world, directory, 1), process_cache_entries="0", verbose=2)
    milter.log.wait("session closes")  # of the question whether it answers
    mark = milter.log.end()
    with milter.counted() as count:
        for i in range(3):
            assert milter.ask(f"user{i}@example.test").code == 250
        wait_until(lambda: len(milter.log.find("session closes", mark)) >= 3, what="the sessions to close")
    assert count["sessions"] == 3 and count["recipients"] == 3
    assert len(milter.log.find("session (opens|closes)", mark)) == 6


@pytest.mark.parametrize("also_recipients", [False, True], ids=["roles", "roles and recipients"])
def test_lookup_slots_bound_everything_that_waits_for_a_server(world, directory, also_recipients):
    """Nobody exists, so each answer needs the role, which is as slow to find."""
    recipients = slow_map(world, directory, 2, where="FALSE") if also_recipients else "inline:{nobody@nowhere.test=x}"
    milter = world.milter(
        recipient_maps=recipients, role_maps=slow_map(world, directory, 2, value="'primary'"), verbose=0,
        lookup_slots="3", lookup_deadline="10s", mysql_query_timeout="5s", mysql_connections="12",
        process_cache_entries="0",
    )  # fmt: skip
    answers = crowd(milter.socket, [[b"user@d%d.test" % i] for i in range(200)])
    assert {answer[1:4] for answer, _, _ in answers} <= {b"450", b"451"}
    assert 1 <= sum(wait > 1.5 for _, wait, _ in answers) <= 3


def test_2000_sessions_at_a_memcached_that_hangs(world, many_files):
    """It takes no slot: it costs each at most memcache_timeout, and soon nobody anything."""
    memcached = world.memcached()
    milter = world.milter(
        recipient_maps="static:OK", memcache_servers=f"unix:{memcached.socket}", process_cache_entries="0", verbose=0
    )
    memcached.suspend()
    answers = crowd(milter.socket, [[b"user%d@example.test" % i] for i in range(SESSIONS)])
    assert {answer[:1] for answer, _, _ in answers} == {b"c"}
    assert percentile([wait for _, wait, _ in answers], 0.99) < 1
