"""memcached dies, hangs, lies, comes back: it costs one timeout, and changes no answer."""

import time

import pytest

from harness import mysql_table, wait_until

UNKNOWN = {"primary": (450, "4.1.1"), "fallback": (550, "5.1.1")}
ROLES = pytest.mark.parametrize("role", ["primary", "fallback"])


@pytest.fixture
def memcached(world):
    return world.memcached()


@pytest.fixture
def node(world, memcached, recipients):
    """Makes daemons without a process cache, so that every question meets memcached."""

    def make(role, name="rm", **options):
        return world.milter(
            name, **{
                "role": role, "recipient_maps": recipients, "process_cache_entries": "0",
                "memcache_servers": f"unix:{memcached.socket}", "memcache_timeout": "1s",
                **options,
            }
        )  # fmt: skip

    return make


def assert_answers_are_right(milter, role, tag):
    answers = milter.ask("alice@example.test", f"{tag}@example.test", "bob@example.test")
    assert [answer.code for answer in answers] == [250, UNKNOWN[role][0], 250], answers


@ROLES
def test_a_dead_memcached_changes_no_answer_and_its_return_is_noticed(node, memcached, role):
    milter = node(role)
    assert_answers_are_right(milter, role, "before")
    memcached.kill()
    for i in range(5):
        assert_answers_are_right(milter, role, f"during{i}")
    memcached.start()

    def is_used_again():
        assert_answers_are_right(milter, role, "after")
        with milter.counted() as count:
            assert milter.ask("alice@example.test").code == 250
        return count["memcache_hits"] == 1

    wait_until(is_used_again, what="memcached to be used again")


@pytest.mark.sanitizer
@ROLES
def test_a_hung_memcached_costs_one_timeout_and_then_nothing(node, memcached, role):
    milter = node(role)
    assert_answers_are_right(milter, role, "before")
    memcached.suspend()
    start = time.monotonic()
    assert_answers_are_right(milter, role, "hung")
    assert time.monotonic() - start < 8

    # Now it is known to hang. 30 questions would cost 30 s if each paid the timeout.
    start = time.monotonic()
    for i in range(10):
        assert_answers_are_right(milter, role, f"hung{i}")
    assert time.monotonic() - start < 10
    assert milter.ctl("status").stdout.count("down") >= 1

    memcached.resume()
    wait_until(
        lambda: milter.ask("alice@example.test").code == 250 and milter.stats()["memcache_hits"] > 0,
        what="memcached to be used again",
    )


@ROLES
def test_a_restarted_memcached_is_an_empty_cache_and_no_failure(node, memcached, role):
    milter = node(role)
    assert_answers_are_right(milter, role, "ghost")
    memcached.restart()
    assert_answers_are_right(milter, role, "ghost")
    wait_until(memcached.keys, what="the new server to be filled")


def test_a_memcached_that_was_never_there_is_no_reason_not_to_start(node, memcached):
    memcached.kill()
    milter = node("fallback")
    assert_answers_are_right(milter, "fallback", "early")
    memcached.start()
    wait_until(
        lambda: (assert_answers_are_right(milter, "fallback", "later"), memcached.keys())[1],
        what="memcached to be filled",
    )


@ROLES
def test_another_keys_value_is_not_believed(node, memcached, role):
    """What the broken libmemcached did: hand out the answer for somebody else."""
    milter = node(role)
    milter.ask("alice@example.test")
    alice = {key for key in memcached.keys() if b" K " in (memcached.get(key) or b"")}
    milter.ask("mallory@example.test")
    mallory = {key for key in memcached.keys() if b" A " in (memcached.get(key) or b"")}
    assert len(alice) == 1 and len(mallory) == 1, memcached.keys()
    (alice,), (mallory,) = alice, mallory
    swapped = memcached.get(alice), memcached.get(mallory)
    memcached.set(mallory, swapped[0])
    memcached.set(alice, swapped[1])
    with milter.counted() as count:
        answers = milter.ask("alice@example.test", "mallory@example.test")
    assert [answer.code for answer in answers] == [250, UNKNOWN[role][0]]
    assert count["memcache_rejected_values"] >= 2 and count["memcache_hits"] == 0


@pytest.mark.parametrize(
    "damage",
    [b"", b"K", b"rm1", b"\0" * 64, b"\xff" * 200, b"x" * 100_000, b"rm1 K 1"],
    ids=["empty", "letter", "head", "zeros", "ones", "huge", "short"],
)
def test_a_damaged_value_is_a_miss(node, memcached, damage):
    milter = node("fallback")
    assert_answers_are_right(milter, "fallback", "broken")
    for key in memcached.keys():
        memcached.set(key, damage)
    assert_answers_are_right(milter, "fallback", "broken")
    assert_answers_are_right(milter, "fallback", "broken")


def test_a_server_that_speaks_no_memcached_changes_no_answer(world, recipients, directory):
    """The MySQL socket in the place of memcached's: a banner, then errors."""
    milter = world.milter(
        role="fallback", recipient_maps=recipients, process_cache_entries="0",
        memcache_servers=f"unix:{directory.socket}", memcache_timeout="500ms",
    )  # fmt: skip
    for i in range(3):
        assert_answers_are_right(milter, "fallback", f"babel{i}")


def test_one_dead_server_of_two_costs_its_share_only(world, recipients):
    first, second = world.memcached(), world.memcached()
    milter = world.milter(
        role="fallback", recipient_maps=recipients, process_cache_entries="0",
        memcache_servers=f"unix:{first.socket}, unix:{second.socket}", memcache_timeout="1s",
    )  # fmt: skip
    names = [f"share{i}@example.test" for i in range(40)]
    milter.ask(*names)
    assert first.keys() and second.keys(), "both hold something"
    first.kill()
    milter.ask(*names)
    with milter.counted() as count:
        assert {answer.codes for answer in milter.ask(*names)} == {(550, "5.1.1")}
    assert 0 < count["memcache_hits"] < 40


def test_answers_are_shared_by_nodes_of_both_roles_but_the_role_is_not(node, memcached):
    primary, fallback = node("primary", "p"), node("fallback", "f")
    assert fallback.ask("shared@example.test").codes == (550, "5.1.1")
    with primary.counted() as count:
        assert primary.ask("shared@example.test").codes == (450, "4.1.1")
    assert count["memcache_hits"] == 1 and count["mysql_queries"] == 0


def test_failures_are_never_cached(world, memcached, own_directory):
    query = "SELECT address FROM recipients WHERE address = '%s'"
    milter = world.milter(
        role="fallback", recipient_maps=mysql_table(world, own_directory, query),
        memcache_servers=f"unix:{memcached.socket}", process_cache_ttl="10m",
    )  # fmt: skip
    assert milter.ask("bob@example.test").code == 250, "the directory has answered once"
    own_directory.kill()
    assert milter.ask("alice@example.test").codes == (550, "5.4.3")
    assert not [key for key in memcached.keys() if b" A " in memcached.get(key)]
    own_directory.start()
    wait_until(lambda: milter.ask("alice@example.test").code == 250, what="alice to be known")
