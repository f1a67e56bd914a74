"""An upgrade: the daemon is stopped and started again at once, under load. Nobody is refused for it,
nobody gets a wrong answer, and nobody waits long."""

import contextlib
import selectors
import signal
import threading
import time

import pytest

from harness import MilterGone, SmtpClient, mysql_table, wait_until

UNKNOWN = {"primary": {450}, "fallback": {550}}
WAIT = {451}  # held, unavailable, or Postfix's own for a milter that is not there
GAP = 5.0  # seconds of any one wait; libmilter's own stop alone would take as long
RESTARTS = 3


class Load:
    """Threads that each hold one session after the other, until told to stop."""

    def __init__(self, threads, session):
        self.session = session
        self.lock = threading.Lock()
        self.visits = []  # under the lock: dicts with begin, end, codes, cut
        self.errors = []  # under the lock: what no session may end with
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in self.threads), "a session hangs"

    def _run(self):
        while not self.stopping.is_set():
            visit = {"begin": time.monotonic(), "codes": [], "cut": None, "waits": []}
            try:
                self.session(visit)
            except Exception as error:  # it is for the test to judge
                with self.lock:
                    self.errors.append(repr(error))
            visit["end"] = time.monotonic()
            with self.lock:
                self.visits.append(visit)

    def since(self, moment):
        """Visits that began after it."""
        with self.lock:
            return [visit for visit in self.visits if visit["begin"] >= moment]

    def wait_for_more(self, what, enough=100):
        """Until so many visits that began from now on went well from beginning to end."""
        now = time.monotonic()
        wait_until(
            lambda: self.errors or sum(not visit["cut"] for visit in self.since(now)) >= enough, 60, what
        )

    def judge(self):
        assert not self.errors, self.errors[:5]
        longest = max((wait for visit in self.visits for wait in visit["waits"]), default=0)
        assert longest < GAP, longest
        return longest


@contextlib.contextmanager
def timed(visit):
    begin = time.monotonic()
    try:
        yield
    finally:
        visit["waits"].append(time.monotonic() - begin)


def check(role, visit, recipient, code):
    """Right or "later", and only ever that."""
    visit["codes"].append(code)
    allowed = WAIT | ({250} if recipient.startswith("alice") else UNKNOWN[role])
    assert code in allowed, (recipient, code)


def restart(milter):
    """Returns (when it was told to stop, when it said that it serves)."""
    mark = milter.log.end()
    begin = time.monotonic()
    assert milter.end(signal.SIGTERM, 30) == 0
    milter.start(ready=False)
    milter.log.wait("serves", mark)
    return begin, time.monotonic()


@pytest.fixture
def slow_recipients(world, directory):
    """So that there is always something in flight."""
    return mysql_table(
        world, directory, "SELECT address FROM recipients WHERE address = '%s' AND SLEEP(0.01) = 0"
    )


@pytest.mark.sanitizer
@pytest.mark.parametrize("role", ["primary", "fallback"])
def test_a_restart_under_milter_load(world, slow_recipients, role):
    """50 raw sessions, as 50 smtpd processes would hold. A session is either answered rightly or cut
    off while the daemon stops, which Postfix makes a 451."""
    milter = world.milter(role=role, recipient_maps=slow_recipients, verbose=0, process_cache_entries="0",
                          mysql_connections="8")  # fmt: skip

    def visit_once(visit):
        try:
            with timed(visit):
                session = milter.session(limit=30)
            with session:
                session.mail()
                for recipient in ("alice@example.test", "ghost@example.test"):
                    with timed(visit):
                        code = session.rcpt(recipient).code
                    check(role, visit, recipient, code)
        except (MilterGone, OSError) as error:
            visit["cut"] = repr(error)  # not itself: its frames hold the socket
            wait_until(lambda: milter.answers() or load.stopping.is_set(), what="it to serve again")

    with Load(50, visit_once) as load:
        load.wait_for_more("load before")
        gaps = []
        for _ in range(RESTARTS):
            begin, serving = restart(milter)
            load.wait_for_more("load after a restart")
            gaps.append(serving - begin)
            cut = [visit for visit in load.since(serving) if visit["cut"]]
            assert not cut, f"{len(cut)} sessions after it served: {cut[:3]}"
    longest = load.judge()
    answered = [code for visit in load.visits for code in visit["codes"]]
    cut = sum(visit["cut"] is not None for visit in load.visits)
    print(f"{role}: {len(answered)} answers, {cut} cut, gaps {[round(gap, 2) for gap in gaps]}, longest wait {longest:.2f}")
    assert max(gaps) < GAP and 250 in answered and UNKNOWN[role] & set(answered)


@pytest.mark.parametrize("role", ["primary", "fallback"])
def test_a_restart_behind_postfix(world, slow_recipients, role):
    """20 SMTP sessions at a time: each gets 250, the reply for the unknown, or a 4xx, and soon."""
    mx = world.postfix_not_started(relay_domains="example.test", default_process_limit="40")
    milter = world.milter(role=role, socket_directory=mx.milter_directory(), recipient_maps=slow_recipients,
                          verbose=0, process_cache_entries="0", mysql_connections="8")  # fmt: skip
    mx.listen_with({"smtpd": milter}).start()

    def visit_once(visit):
        with timed(visit):
            session = SmtpClient(mx.port())
        with session:
            with timed(visit):
                mail = session.mail().code
            assert mail in {250} | WAIT, mail
            if mail != 250:
                visit["cut"] = mail
                return
            for recipient in ("alice@example.test", "ghost@example.test"):
                with timed(visit):
                    reply = session.rcpt(recipient)
                check(role, visit, recipient, reply.code)
                if "Service unavailable - try again later" in str(reply):
                    visit["cut"] = reply  # Postfix's own

    with Load(20, visit_once) as load:
        load.wait_for_more("load before", 60)
        gaps = []
        for _ in range(RESTARTS):
            begin, serving = restart(milter)
            load.wait_for_more("load after a restart", 60)
            gaps.append(serving - begin)
            cut = [visit for visit in load.since(serving) if visit["cut"]]
            assert not cut, f"{len(cut)} sessions after it served: {cut[:3]}"
    longest = load.judge()
    answered = [code for visit in load.visits for code in visit["codes"]]
    cut = sum(visit["cut"] is not None for visit in load.visits)
    print(f"{role}: {len(answered)} answers, {cut} cut, gaps {[round(gap, 2) for gap in gaps]}, longest wait {longest:.2f}")
    assert max(gaps) < GAP and 250 in answered and UNKNOWN[role] & set(answered)
    assert not mx.log.find("NOQUEUE: .*5[0-9][0-9].*to=<alice@")


def test_every_lookup_in_flight_is_answered_before_the_end(world, directory):
    """As many as may be: all of lookup_slots. Those who had only opened a session are cut off."""
    query = "SELECT address FROM recipients WHERE address = '%s' AND SLEEP(1) = 0"
    names = [f"flying{i}@example.test" for i in range(12)]
    for name in names:
        directory.sql("INSERT INTO recipients (address) VALUES (%s)", name)
    milter = world.milter(role="fallback", recipient_maps=mysql_table(world, directory, query), lookup_deadline="10s",
                          mysql_query_timeout="5s", lookup_slots="12", mysql_connections="12")  # fmt: skip
    waiting = [milter.session() for _ in range(5)]
    sessions = [milter.session() for _ in names]
    for session, name in zip(sessions, names):
        session.mail()
        session.macros["{rcpt_addr}"] = name
        session.send_macros("R")
        session.send("R", f"<{name}>".encode() + b"\0")
    wait_until(lambda: len(directory.running(containing="SLEEP(1)")) == len(names), what="all queries to run")
    begin = time.monotonic()
    milter.send(signal.SIGTERM)
    assert [session.answer().kind for session in sessions] == ["c"] * len(names)
    milter.stop()
    assert time.monotonic() - begin < GAP
    for session in waiting:
        session.mail()
        with pytest.raises((MilterGone, OSError)):
            session.rcpt("alice@example.test")


def test_sessions_without_a_question_learn_of_the_end_soon(world, directory):
    """A lookup in flight keeps the process, but nobody else waits for longer than that one does."""
    query = "SELECT address FROM recipients WHERE address = '%s' AND SLEEP(2) = 0"
    milter = world.milter(role="fallback", recipient_maps=mysql_table(world, directory, query), lookup_deadline="5s",
                          mysql_query_timeout="5s")  # fmt: skip
    busy, idle = milter.session(), [milter.session() for _ in range(10)]
    busy.mail()
    busy.macros["{rcpt_addr}"] = "alice@example.test"
    busy.send_macros("R")
    busy.send("R", b"<alice@example.test>\0")
    wait_until(lambda: directory.running(containing="SLEEP(2)"), what="the query to run")
    begin = time.monotonic()
    milter.send(signal.SIGTERM)
    with selectors.DefaultSelector() as selector:
        for session in idle:
            selector.register(session.connection, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(GAP)
            assert ready, "they hang"
            for key, _ in ready:
                assert key.fileobj.recv(1) == b""
                selector.unregister(key.fileobj)
    assert time.monotonic() - begin < GAP
    assert busy.answer().kind == "c"
    milter.stop()
