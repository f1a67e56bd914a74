"""Nothing is cached any more and everybody comes at once: the directory is asked by its few
connections, whom this host knows passes, nobody waits for long and nobody bounces."""

import contextlib
import threading

import pytest

from harness import mysql_table, wait_until
from test_shedding import SESSIONS, SHED, crowd, many_files, rcpt_packets  # noqa: F401

CONNECTIONS = 4
DEADLINE = 5  # seconds
PACED = "SELECT address FROM recipients WHERE address = '%s' AND active AND SLEEP((SELECT seconds FROM pace)) = 0"
PASS = b"c"


def recipient(number):
    return b"cold%d@example.test" % number


@pytest.fixture(scope="module")
def pace(directory):
    """2,000 recipients, and how long the directory takes for each: pace(seconds)."""
    directory.sql("INSERT INTO recipients (address) SELECT CONCAT('cold', seq, '@example.test')"
                  f" FROM seq_0_to_{SESSIONS - 1}")  # fmt: skip
    directory.sql("CREATE TABLE pace (seconds DOUBLE NOT NULL) SELECT 0 AS seconds")
    return lambda seconds: directory.sql("UPDATE pace SET seconds = %s", seconds)


class Watch:
    """What the directory is at, as its own statistics have it."""

    def __init__(self, directory):
        self.connection = directory.connect()
        self.running = []  # how many queries at a time, again and again
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.look)

    def sql(self, statement):
        with self.connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall()

    def status(self, name):
        return int(self.sql(f"SHOW GLOBAL STATUS LIKE '{name}'")[0][1])

    def __enter__(self):
        wait_until(lambda: self.status("Threads_connected") == 1, what="everybody else to be gone")
        self.sql("FLUSH STATUS")  # Max_used_connections begins anew
        self.thread.start()
        return self

    def look(self):
        query = ("SELECT COUNT(*) FROM information_schema.processlist"
                 " WHERE user = 'checker' AND info LIKE '%pace%'")  # fmt: skip
        while not self.ended.wait(0.002):
            self.running.append(self.sql(query)[0][0])

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()
        self.connections = self.status("Max_used_connections") - 1  # it is one itself
        self.connection.close()


def ask_in_turn(milter, numbers, sessions):
    """A few sessions, each with its share of the recipients; number -> answer."""
    shares = [numbers[i::sessions] for i in range(sessions)]
    answers = crowd(milter.socket, [map(recipient, share) for share in shares])
    asked = [number for share in shares for number in share]
    # "451 4.4.3" is enough of a reply.
    return {number: answer[:10] for number, (answer, _, _) in zip(asked, answers, strict=True)}


def cached(milter):
    """How many of all are in a cache, when they are asked for once more."""
    with milter.counted() as count:
        assert set(ask_in_turn(milter, range(SESSIONS), 16).values()) <= {PASS, b"y" + SHED}
    return count["process_cache_hits"] + count["memcache_hits"]


@pytest.mark.parametrize("role", ["primary", "fallback"])
def test_after_a_flush_2000_sessions_neither_hurt_the_directory_nor_bounce(world, directory, pace, many_files, role):  # noqa: F811
    memcached = world.memcached()
    milter = world.milter(
        role=role, recipient_maps=mysql_table(world, directory, PACED), verbose=0, lookup_deadline=f"{DEADLINE}s",
        # This machine may be busy, and nobody is to be asked a second time for that reason.
        memcache_servers=f"unix:{memcached.socket}", memcache_timeout="2s", mysql_connections=CONNECTIONS,
    )  # fmt: skip
    known_good, new = range(0, SESSIONS, 2), range(1, SESSIONS, 2)
    pace(0)
    assert set(ask_in_turn(milter, known_good, 8).values()) == {PASS}
    milter.stop()
    memcached.kill()
    memcached.start()
    pace(0.02)  # not slow, but slower than 2,000 sessions
    with Watch(directory) as watch:
        milter.start()
        with milter.counted() as count:
            answers = crowd(milter.socket, [[recipient(i)] for i in range(SESSIONS)])
            said = [answer if answer == PASS else answer[1:10] for answer, _, _ in answers]
            waits = [wait for _, wait, _ in answers]
        milter.stop()
    print(f"{role}: {count['lookups_shed']} shed, {count['directory_found']} found, {count['known_good_vouched']}"
          f" vouched for, longest wait {max(waits):.2f}, at most {max(watch.running)} queries at a time")  # fmt: skip

    assert max(watch.running) == CONNECTIONS, "all of them are used, and no more"
    assert watch.connections == CONNECTIONS
    assert max(waits) < 2 * DEADLINE
    assert {said[i] for i in known_good} == {PASS}
    assert {said[i] for i in new} == {PASS, SHED}
    assert count["reply_5xx"] == 0 and count["process_cache_hits"] == count["memcache_hits"] == 0
    assert count["lookups_shed"] > SESSIONS / 2, "it was a crowd"
    assert 0 < count["directory_found"] and 0 < count["known_good_vouched"]

    # They come again, and again. Nobody who has a place in a cache needs the directory any more.
    pace(0)
    milter.start()
    with milter.counted() as count:
        wait_until(lambda: cached(milter) == SESSIONS, what="the caches to have everybody")
    assert count["reply_5xx"] == 0
    milter.stop()
    milter.start()
    with milter.counted() as count:
        answers = crowd(milter.socket, [[recipient(i)] for i in range(SESSIONS)])
    assert {answer for answer, _, _ in answers} == {PASS}
    assert count["memcache_hits"] == SESSIONS
    assert count["directory_found"] == count["lookups_shed"] == count["known_good_vouched"] == 0


@pytest.mark.parametrize("role", ["primary", "fallback"])
def test_a_few_more_sessions_than_lookup_slots_wait_for_their_turn(world, directory, pace, role):
    """All at the same moment, at a directory that is well. Shed at once, a third of them would have
    to come again later: 32 in all."""
    milter = world.milter(
        role=role, recipient_maps=mysql_table(world, directory, PACED), verbose=0, lookup_slots="8",
        mysql_connections="8", process_cache_entries="0",
    )  # fmt: skip
    pace(0.01)
    with milter.counted() as count, contextlib.ExitStack() as stack:
        for turn in range(8):
            sessions = [stack.enter_context(milter.session()) for _ in range(12)]
            milter.suspend()
            for i, session in enumerate(sessions):
                session.mail()
                session.send_bytes(rcpt_packets(recipient(20 * turn + i)))
            milter.resume()
            codes = [session.answer().code for session in sessions]
            assert set(codes) <= {250, 451}
    assert count["recipients"] == 96 and count["lookups_shed"] <= 8
