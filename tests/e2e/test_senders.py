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
    if where.reaches_fallback:
        assert letter.last.host == FALLBACK, letter
    else:
        assert (letter.last.status, letter.last.dsn) == ("deferred", "4.1.1"), letter
        assert letter.last.host in where.primaries, letter
        mx.pass_time(hours=1)
        mx.retry(letter)
        assert letter.last.status == "deferred", f"before its time: {letter}"
        mx.pass_time(hours=ESCALATED_H - 1)
        mx.retry(letter)
        assert letter.last.host in where.primaries, letter
    assert (letter.last.status, letter.last.dsn) == ("bounced", "5.1.1"), letter
    mx.was_returned(typo)


def test_who_is_created_while_the_letter_waits_gets_it(mx, where):
    early, late = where.address("created-early"), where.address("created-late")
    if where.reaches_fallback:
        assert mx.milters[FALLBACK].ctl("hold", "1h").returncode == 0  # else nothing would wait
    letters = mx.send(early, late)
    assert [letter.last.status for letter in letters] == ["deferred"] * 2, letters
    mx.milters[FALLBACK].ctl("release")
    mx.create(early)
    mx.pass_time(RETRY_H)
    if where.reaches_fallback:
        mx.create(late)  # whose letter would not wait any longer
    mx.retry(*letters)
    assert letters[0].last.status == "sent", letters[0]
    if not where.reaches_fallback:
        assert letters[1].last.status == "deferred", letters[1]
        mx.create(late)
        mx.pass_time(ESCALATED_H)  # its absence is proven by now, but it is no longer absent
        mx.retry(letters[1])
    assert letters[1].last.status == "sent", letters[1]
    mx.was_delivered(early)
    mx.was_delivered(late)


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
    assert [letter.last.status for letter in letters[:2]] == ["sent"] * 2, letters
    assert {len(letter.attempts) for letter in letters[:2]} == {1}, letters
    for letter in letters[2:]:
        # The fallback may have the last word (fallback_unavailable_reply), if it is asked.
        end = ("bounced", FALLBACK) if where.reaches_fallback else ("deferred", letter.last.host)
        assert (letter.last.status, letter.last.host) == end, letter
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
        statuses = {str(where): {attempt.status for attempt in letter.attempts}
                    for where, letter in zip(waiting, letters, strict=True)}  # fmt: skip
        assert statuses == {str(where): {"deferred"} for where in waiting}
        assert {len(letter.attempts) for letter in letters} == {6}
    finally:
        for milter in mx.milters.values():
            milter.reload(escalate_after=None)
