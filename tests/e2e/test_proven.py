"""A primary, too, bounces whom the directory has not known for escalate_after; and the ledger of who
waits and who was bounced. The daemons' clock is moved; nobody waits for hours."""

import json

import pytest

from fake_clock import FakeClock
from harness import wait_until

UNKNOWN, PROVEN, BOUNCED, HELD = (450, "4.1.1"), (550, "5.1.1"), (550, "5.1.1"), (451, "4.4.3")
HOUR = 3600
TYPO = "allice@example.test"


@pytest.fixture
def clock(world):
    """The daemons' that have it."""
    return FakeClock(world.scratch.new("clock") / "offset")


@pytest.fixture
def node(world, own_recipients, clock):
    def start(role="primary", **settings):
        settings = {"process_cache_entries": "0", "vanish_limit": "0", **settings}
        return world.milter(role=role, recipient_maps=own_recipients, environment=clock.environment, **settings)

    return start


def waits(milter, recipient=TYPO):
    """The ledger has heard of it, and written it."""
    wait_until(lambda: recipient in milter.ctl("waiting").stdout, what="the ledger")


def test_a_primary_bounces_a_typo_once_its_absence_is_proven(node, clock):
    milter = node()
    assert milter.ask(TYPO).codes == UNKNOWN
    waits(milter)
    clock.set(4 * HOUR - 60)
    assert milter.ask(TYPO).codes == UNKNOWN
    clock.set(4 * HOUR + 1)
    assert milter.ask(TYPO).codes == PROVEN
    assert milter.stats()["verdict_primary_proven"] == 1
    assert milter.log.find('reject:.*verdict="proven unknown on a primary"')
    wait_until(lambda: TYPO in milter.ctl("bounced").stdout, what="the ledger")
    assert TYPO not in milter.ctl("waiting").stdout
    assert milter.ask("alice@example.test").code == 250


def test_a_typo_of_another_is_not_proven_by_it(node, clock):
    milter = node()
    milter.ask(TYPO)
    waits(milter)
    clock.set(5 * HOUR)
    assert milter.ask("bobb@example.test").codes == UNKNOWN


def test_a_recipient_created_meanwhile_passes_and_its_absence_begins_anew(own_directory, node, clock):
    milter = node(removal_grace="0")
    milter.ask(TYPO)
    waits(milter)
    own_directory.sql("INSERT INTO recipients (address) VALUES (%s)", TYPO)
    clock.set(5 * HOUR)
    assert milter.ask(TYPO).code == 250
    wait_until(lambda: TYPO not in milter.ctl("waiting").stdout, what="the ledger")
    own_directory.sql("DELETE FROM recipients WHERE address = %s", TYPO)
    clock.set(6 * HOUR)
    assert milter.ask(TYPO).codes == UNKNOWN
    waits(milter)
    clock.set(9 * HOUR)
    assert milter.ask(TYPO).codes == UNKNOWN
    clock.set(10 * HOUR + 60)
    assert milter.ask(TYPO).codes == PROVEN


def test_escalation_can_be_off(node, clock):
    milter = node(escalate_after="0")
    milter.ask(TYPO)
    waits(milter)
    clock.set(20 * HOUR)
    assert milter.ask(TYPO).codes == UNKNOWN


def test_a_proof_outlives_a_kill_without_memcached(node, clock):
    milter = node()
    milter.ask(TYPO)
    waits(milter)
    milter.kill()
    clock.set(5 * HOUR)
    milter.start()
    assert milter.ask(TYPO).codes == PROVEN


def test_a_proof_that_nobody_asked_for_in_a_day_is_none(node, clock):
    milter = node()
    milter.ask(TYPO)
    waits(milter)
    clock.set(25 * HOUR)
    assert milter.ask(TYPO).codes == UNKNOWN


# ---- shared through memcached ----


@pytest.fixture
def fleet(world, node):
    memcached = world.memcached()
    nodes = [node(memcache_servers=f"unix:{memcached.socket}") for _ in range(2)]
    return memcached, *nodes


def in_memcached(memcached, milter, recipient=TYPO):
    def there():
        codes = milter.ask(recipient).codes
        return any((memcached.get(key) or b"").split()[2:3] == [b"A"] for key in memcached.keys()) and codes

    return wait_until(there, what="the absence to be in memcached")


def test_nodes_share_the_proof(fleet, clock):
    memcached, one, other = fleet
    assert in_memcached(memcached, one) == UNKNOWN
    clock.set(4 * HOUR + 60)
    assert other.ask(TYPO).codes == PROVEN


def test_a_flushed_memcached_leaves_each_node_its_own(fleet, clock):
    memcached, one, other = fleet
    in_memcached(memcached, one)
    waits(one)
    memcached.flush()
    clock.set(4 * HOUR + 60)
    assert one.ask(TYPO).codes == PROVEN
    memcached.flush()
    assert other.ask("bobb@example.test").codes == UNKNOWN


def test_what_another_node_found_is_a_break(own_directory, fleet, clock):
    """This node asked twice and was told ABSENT both times; in between another one was told it exists."""
    memcached, one, other = fleet
    in_memcached(memcached, one)
    waits(one)
    own_directory.sql("INSERT INTO recipients (address) VALUES (%s)", TYPO)
    clock.set(2 * HOUR)
    assert other.ask(TYPO).code == 250
    wait_until(lambda: any((memcached.get(key) or b"").split()[2:3] == [b"K"] for key in memcached.keys()))
    own_directory.sql("DELETE FROM recipients WHERE address = %s", TYPO)
    clock.set(4 * HOUR + 60)
    assert one.ask(TYPO).codes == UNKNOWN


# ---- interlocks hold here, too ----


def proven(milter, clock):
    milter.ask(TYPO)
    waits(milter)
    clock.set(5 * HOUR)


def test_a_hold_holds_on_a_primary(node, clock):
    milter = node()
    proven(milter, clock)
    milter.ctl("hold", "1h")
    assert milter.ask(TYPO).codes == UNKNOWN
    milter.ctl("release")
    assert milter.ask(TYPO).codes == PROVEN


def test_a_missing_sentinel_holds_on_a_primary(own_directory, node, clock):
    milter = node(sentinel_recipients="bob@example.test", sentinel_interval="1h")
    proven(milter, clock)
    own_directory.sql("DELETE FROM recipients WHERE address = 'bob@example.test'")
    assert milter.ask(TYPO).codes == UNKNOWN
    assert milter.stats()["interlock_sentinel"] == 1


def test_a_directory_that_dies_makes_a_proof_useless(own_directory, node, clock):
    milter = node()
    proven(milter, clock)
    own_directory.kill()
    assert milter.ask(TYPO).codes == (451, "4.4.3")


def test_a_known_good_recipient_is_never_proven_absent_within_its_grace(own_directory, node, clock):
    milter = node()
    assert milter.ask("alice@example.test").code == 250
    wait_until(lambda: milter.stats()["known_good_entries"] >= 1, what="the store")
    own_directory.sql("DELETE FROM recipients")
    milter.ask("alice@example.test")
    waits(milter, "alice@example.test")
    clock.set(20 * HOUR)
    assert milter.ask("alice@example.test").codes == UNKNOWN
    assert milter.stats()["interlock_known_good"] == 1


# ---- the ledger ----


def test_who_waits_is_listed(node, clock):
    milter = node()
    with milter.session() as session:
        session.mail("sender@elsewhere.test")
        assert session.rcpt(TYPO).codes == UNKNOWN
    waits(milter)
    line = milter.ctl("waiting").stdout
    assert "deferred 1 time" in line and "last from <sender@elsewhere.test> by 127.0.0.1" in line
    clock.set(HOUR)
    milter.ask(TYPO)
    wait_until(lambda: "deferred 2 times" in milter.ctl("waiting").stdout, what="the ledger")
    (row,) = json.loads(milter.ctl("waiting", "--json").stdout)
    assert row["recipient"] == TYPO and row["count"] == 2 and HOUR - 60 <= row["last"] - row["first"] <= HOUR + 60
    assert 3 * HOUR - 60 <= row["escalates_in"] <= 3 * HOUR
    assert milter.stats()["waiting_recipients"] == 1


def test_who_was_bounced_is_listed_with_the_evidence(own_directory, node):
    milter = node(role="fallback")
    assert milter.ask(TYPO).codes == BOUNCED
    own_directory.kill()
    assert milter.ask("bob@example.test").code == 550
    wait_until(lambda: milter.stats()["bounced_recipients"] == 2, what="the ledger")
    rows = {row["recipient"]: row for row in json.loads(milter.ctl("bounced", "--json").stdout)}
    assert "the directory said so" in rows[TYPO]["evidence"]
    assert "5.4.3" in rows["bob@example.test"]["evidence"] and "error 20" in rows["bob@example.test"]["evidence"]
    assert milter.stats()["bounces"] == 2


@pytest.mark.parametrize("later, counted", [(HOUR, 1), (8 * 24 * HOUR, 0)], ids=["within the window", "long after"])
def test_a_recipient_found_after_its_bounce_is_told(own_directory, node, clock, later, counted):
    milter = node(role="fallback")
    milter.ask(TYPO)
    wait_until(lambda: milter.stats()["bounced_recipients"] == 1, what="the ledger")
    own_directory.sql("INSERT INTO recipients (address) VALUES (%s)", TYPO)
    clock.set(later)
    assert milter.ask(TYPO).code == 250
    assert milter.stats()["false_bounces"] == counted
    assert len(milter.log.find(f"error: possibly a false bounce: {TYPO}")) == counted
    wait_until(lambda: milter.stats()["bounced_recipients"] == 0, what="the ledger to forget")


def test_hostile_recipients_do_no_harm_to_the_lists(node):
    milter = node(role="fallback")
    for address in ('"a\\"b\\\\c"@example.test', "a'--@example.test", "用户名@example.test", "x" * 200 + "@example.test"):
        assert milter.ask(address).code == 550
    wait_until(lambda: milter.stats()["bounced_recipients"] == 4, what="the ledger")
    rows = json.loads(milter.ctl("bounced", "--json").stdout)
    assert '"a\\"b\\\\c"@example.test' in {row["recipient"] for row in rows}
