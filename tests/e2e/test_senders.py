"""What a sender sees whose Postfix is left as it comes, in five constellations of MX hosts."""

import pytest

from mx_world import CONSTELLATIONS, FALLBACK, MxWorld

RETRY_H = 0.25
ESCALATED_H = 4 + 5 / 60  # escalate_after = 4h, the default, and a little


@pytest.fixture(scope="module")
def shared_mx(scratch):
    with MxWorld(scratch) as mx:
        yield mx


@pytest.fixture
def mx(shared_mx):
    yield shared_mx
    shared_mx.forget_letters()


@pytest.fixture(params=CONSTELLATIONS, ids=str)
def where(request):
    return request.param


def test_valid_mail_is_delivered_by_a_primary_at_once(mx, where):
    valid = where.address("valid")
    mx.create(valid)
    [letter] = mx.send(valid)
    assert letter.last.status == "sent" and letter.last.host in where.primaries, letter
    mx.was_delivered(valid)


def test_a_typo_bounces_at_the_latest_with_the_first_retry_after_escalate_after(mx, where):
    typo = where.address("typo")
    [letter] = mx.send(typo)
    if not where.reaches_fallback:
        assert (letter.last.status, letter.last.dsn) == ("deferred", "4.1.1"), letter
        mx.pass_time(hours=1)
        mx.retry(letter)
        assert letter.waits, f"before its time: {letter}"
        mx.pass_time(hours=ESCALATED_H - 1)
        mx.retry(letter)
        assert letter.last.host in where.primaries, letter
    assert (letter.last.status, letter.last.dsn) == ("bounced", "5.1.1"), letter
    mx.was_returned(typo)


def test_an_attempt_ends_after_two_sessions_and_with_one_primary_address_that_is_the_fallback(mx, where):
    [letter] = mx.send(where.address("two-sessions"))
    assert len(set(letter.last.sessions)) == 2 == len(letter.last.sessions), letter
    assert letter.last.hosts[0] in where.primaries, letter
    assert (letter.last.host == FALLBACK) == where.reaches_fallback, letter


def test_what_one_primary_was_asked_counts_when_the_next_is_asked(mx, where):
    typo = where.address("asked-elsewhere")
    asked = [host for host in mx.milters if host not in where.primaries and host != FALLBACK]
    assert mx.milters[asked[0]].ask(typo).code == 450
    mx.pass_time(ESCALATED_H)
    [letter] = mx.send(typo)
    assert (letter.last.status, letter.last.dsn) == ("bounced", "5.1.1"), letter
    assert len(letter.last.sessions) == 1 and letter.last.host in where.primaries, letter


def test_who_is_created_before_the_retry_gets_the_letter(mx, where):
    created = where.address("created")
    if where.reaches_fallback:
        # Otherwise nothing would wait: the fallback bounces what does not exist.
        assert mx.milters[FALLBACK].ctl("hold", "1h").returncode == 0
    [letter] = mx.send(created)
    assert letter.waits, letter
    mx.milters[FALLBACK].ctl("release")
    mx.create(created)
    mx.pass_time(RETRY_H)
    mx.retry(letter)
    assert letter.last.status == "sent" and letter.last.host in where.primaries, letter
    mx.was_delivered(created)


def test_who_is_created_after_the_absence_was_proven_gets_the_letter(mx, where):
    created = where.address("created-late")
    a_primary = mx.milters[next(iter(where.primaries))]
    for hours in (0, ESCALATED_H - 1):
        mx.pass_time(hours)
        assert a_primary.ask(created).code == 450
    mx.pass_time(hours=1)
    mx.create(created)
    [letter] = mx.send(created)
    assert letter.last.status == "sent" and letter.last.host in where.primaries, letter
    mx.was_delivered(created)


def test_with_the_directory_down_nobody_known_bounces_and_nothing_by_a_primarys_word(mx, where):
    learned, seen, proven, stranger = map(where.address, ("learned", "seen", "proven", "stranger"))
    mx.create(learned, seen)
    a_list = mx.file("learn", f"{learned}\n")
    for milter in mx.milters.values():
        assert milter.ctl("learn", a_list).returncode == 0
    a_primary = mx.milters[next(iter(where.primaries))]
    assert a_primary.ask(seen).code == 250  # and memcached knows it
    assert a_primary.ask(proven).code == 450  # absent from now on
    mark = mx.mx.log.end()
    with mx.directory_down():
        letters = mx.send(learned, seen, proven, stranger)
        for hours in (RETRY_H, ESCALATED_H, ESCALATED_H):
            mx.pass_time(hours)
            mx.retry(*letters)
    for letter in letters[:2]:
        assert [attempt.status for attempt in letter.attempts] == ["sent"], letter
    for letter in letters[2:]:
        # The fallback may have the last word (fallback_unavailable_reply), where it is asked.
        assert letter.last.status == ("bounced" if where.reaches_fallback else "deferred"), letter
        assert (letter.last.host == FALLBACK) == where.reaches_fallback, letter
    assert {host for host, _ in mx.refusals(mark)} <= {FALLBACK}


def test_without_escalation_a_typo_waits_in_all_but_the_first_constellation(mx):
    for milter in mx.milters.values():
        milter.reload(escalate_after="0")
    try:
        waiting = [where for where in CONSTELLATIONS if not where.reaches_fallback]
        letters = mx.send(*(where.address("for-days") for where in waiting))
        for hours in (1, ESCALATED_H, 19, 24, 48):
            mx.pass_time(hours)
            mx.retry(*letters)
        for letter in letters:
            assert [attempt.status for attempt in letter.attempts] == ["deferred"] * 6, letter
            assert FALLBACK not in {host for attempt in letter.attempts for host in attempt.hosts}, letter
    finally:
        for milter in mx.milters.values():
            milter.reload(escalate_after=None)
