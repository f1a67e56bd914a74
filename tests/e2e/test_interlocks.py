"""What keeps a fallback from bouncing when its directory answers, and answers wrongly: an emptied,
half loaded or mistaken table."""

import pytest

from harness import wait_until

UNKNOWN, UNAVAILABLE, HELD = (550, "5.1.1"), (550, "5.4.3"), (451, "4.4.3")


@pytest.fixture
def fallback(world, own_recipients):
    def start(**settings):
        settings = {"process_cache_entries": "0", **settings}
        return world.milter(role="fallback", recipient_maps=own_recipients, **settings)

    return start


def empty(directory):
    directory.sql("DELETE FROM recipients")


def fill(directory, *addresses):
    directory.sql("INSERT INTO recipients (address) VALUES " + ", ".join(["(%s)"] * len(addresses)),
                  *addresses)  # fmt: skip


# ---- removal_grace ----


def confirmed(milter, *addresses):
    """Known good from now on: confirmed, and written to the store."""
    before = milter.stats()["known_good_entries"]
    for address in addresses:
        assert milter.ask(address).code == 250
    wait_until(lambda: milter.stats()["known_good_entries"] >= before + len(addresses),
               what="the store to have them")  # fmt: skip


def test_a_known_good_recipient_of_an_emptied_table_is_held(own_directory, fallback):
    milter = fallback()
    confirmed(milter, "alice@example.test")
    empty(own_directory)
    for _ in range(3):
        assert milter.ask("alice@example.test").codes == HELD
    assert milter.stats()["interlock_known_good"] == 3
    assert milter.stats()["known_good_vanished"] == 1
    assert 'held="known good"' in milter.log.find("reject:.*alice@example.test")[0]
    assert milter.ask("ghost@example.test").codes == UNKNOWN


def test_the_grace_outlives_a_kill(own_directory, fallback):
    milter = fallback()
    confirmed(milter, "alice@example.test")
    milter.kill()
    empty(own_directory)
    milter.start()
    assert milter.ask("alice@example.test").codes == HELD


def test_the_grace_ends(own_directory, fallback):
    milter = fallback(removal_grace="2s")
    confirmed(milter, "alice@example.test")
    own_directory.sql("DELETE FROM recipients WHERE address = 'alice@example.test'")
    assert milter.ask("alice@example.test").codes == HELD
    wait_until(lambda: milter.ask("alice@example.test").codes == UNKNOWN, what="the grace to end")
    assert milter.stats()["known_good_vanished"] == 1


def test_a_recipient_that_comes_back_has_its_grace_again(own_directory, fallback):
    milter = fallback(removal_grace="1s")
    confirmed(milter, "alice@example.test")
    own_directory.sql("DELETE FROM recipients WHERE address = 'alice@example.test'")
    wait_until(lambda: milter.ask("alice@example.test").codes == UNKNOWN, what="the grace to end")
    fill(own_directory, "alice@example.test")
    assert milter.ask("alice@example.test").code == 250
    milter.reload(removal_grace="1h")
    wait_until(lambda: milter.ctl("lookup", "alice@example.test").returncode == 0)

    def held():
        own_directory.sql("DELETE FROM recipients WHERE address = 'alice@example.test'")
        codes = milter.ask("alice@example.test").codes
        fill(own_directory, "alice@example.test")
        assert milter.ask("alice@example.test").code == 250
        return codes == HELD

    wait_until(held, what="the store to have confirmed her again")


def test_without_grace_the_directorys_word_counts_at_once(own_directory, fallback):
    milter = fallback(removal_grace="0")
    confirmed(milter, "alice@example.test")
    empty(own_directory)
    assert milter.ask("alice@example.test").codes == UNKNOWN


def test_the_grace_of_a_catch_all_holds_for_its_domain(own_directory, fallback):
    milter = fallback()
    confirmed(milter, "anybody@all.test")
    empty(own_directory)
    assert milter.ask("somebody.else@all.test").codes == HELD
    assert milter.ask("ghost@example.test").codes == UNKNOWN


def test_the_grace_of_an_address_holds_for_its_extensions(own_directory, fallback):
    milter = fallback(recipient_delimiter="+")
    confirmed(milter, "alice+list@example.test")
    empty(own_directory)
    assert milter.ask("alice+news@example.test").codes == HELD


def test_what_memcached_says_was_good_lately_is_held_and_not_overwritten(
    world, own_directory, own_recipients, fallback
):
    """This host has never heard of alice; another one has."""
    memcached = world.memcached()
    settings = {"memcache_servers": f"unix:{memcached.socket}"}
    other = world.milter(role="primary", recipient_maps=own_recipients, **settings)
    wait_until(lambda: other.ask("alice@example.test").code == 250 and memcached.keys())
    empty(own_directory)
    milter = fallback(positive_ttl="1s", **settings)
    wait_until(lambda: milter.ask("alice@example.test").codes == HELD, what="her answer to be stale")
    assert milter.stats()["interlock_known_good"] >= 1
    own_directory.kill()
    assert milter.ask("alice@example.test").code == 250
    assert milter.ask("ghost@example.test").codes == UNAVAILABLE


# ---- vanish_limit ----


def test_a_half_loaded_table_stops_all_bounces(own_directory, fallback):
    people = [f"person{i}@example.test" for i in range(6)]
    fill(own_directory, *people)
    milter = fallback(vanish_limit="3/1h", removal_grace="0")
    confirmed(milter, *people)
    empty(own_directory)
    codes = [milter.ask(person).codes for person in people]
    assert codes == [UNKNOWN] * 3 + [HELD] * 3
    assert milter.ask("ghost@example.test").codes == HELD
    assert milter.stats()["interlock_vanishing"] == 4
    assert milter.stats()["vanishing"] == 1
    assert len(milter.log.find("more than 3 recipients that were known good have vanished")) == 1
    assert "bounces: no, known-good recipients vanish" in milter.ctl("status").stdout


def test_with_the_grace_not_even_the_first_ones_bounce(own_directory, fallback):
    people = [f"person{i}@example.test" for i in range(6)]
    fill(own_directory, *people)
    milter = fallback(vanish_limit="3/1h")
    confirmed(milter, *people)
    empty(own_directory)
    assert [milter.ask(person).codes for person in people] == [HELD] * 6
    assert milter.ask("ghost@example.test").codes == HELD


def test_it_ends_when_the_table_has_been_quiet_for_the_window(own_directory, fallback):
    people = [f"person{i}@example.test" for i in range(3)]
    fill(own_directory, *people)
    milter = fallback(vanish_limit="2/2s")
    confirmed(milter, *people)
    empty(own_directory)
    milter.ask(*people)
    assert milter.ask("ghost@example.test").codes == HELD
    wait_until(lambda: milter.ask("ghost@example.test").codes == UNKNOWN, what="quiet")
    assert len(milter.log.find("vanish no more")) == 1


def test_one_removed_recipient_asked_for_all_day_engages_nothing(own_directory, fallback):
    milter = fallback(vanish_limit="2/1h", removal_grace="0")
    confirmed(milter, "alice@example.test")
    own_directory.sql("DELETE FROM recipients WHERE address = 'alice@example.test'")
    assert {milter.ask("alice@example.test").codes for _ in range(20)} == {UNKNOWN}


# ---- sentinel_recipients ----

SENTINEL = {"sentinel_recipients": "bob@example.test", "sentinel_interval": "1h"}


@pytest.mark.sanitizer
def test_without_its_sentinel_an_emptied_table_bounces_nobody(own_directory, fallback):
    milter = fallback(**SENTINEL)
    assert milter.ask("ghost@example.test").codes == UNKNOWN
    empty(own_directory)
    # Not even the first one, whom this host has never heard of: the sentinel is asked after it.
    assert milter.ask("alice@example.test").codes == HELD
    assert milter.ask("ghost@example.test").codes == HELD
    assert milter.stats()["interlock_sentinel"] == 2
    assert milter.stats()["sentinel_missing"] == 1
    assert len(milter.log.find("the sentinel recipient bob@example.test is missing")) == 1
    assert "bounces: no, the sentinel recipient bob@example.test" in milter.ctl("status").stdout
    fill(own_directory, "bob@example.test")
    milter.reload(sentinel_interval="1s")
    wait_until(lambda: milter.ask("ghost@example.test").codes == UNKNOWN, what="bounces again")
    assert len(milter.log.find("the sentinel recipients are all there again")) == 1


def test_sentinels_are_asked_for_without_any_mail(own_directory, fallback):
    milter = fallback(sentinel_recipients="alice@example.test, bob@example.test",
                      sentinel_interval="1s")  # fmt: skip
    own_directory.sql("DELETE FROM recipients WHERE address = 'bob@example.test'")
    wait_until(lambda: milter.log.find("sentinel recipient bob@example.test is missing"))
    assert milter.stats()["recipients"] == 0
    fill(own_directory, "bob@example.test")
    wait_until(lambda: milter.log.find("all there again"))


def test_a_directory_that_dies_between_the_answer_and_the_sentinel_bounces_nobody(
    world, own_directory, own_recipients
):
    """access_maps is a file, so there is an answer; the sentinel cannot be asked after it."""
    access = world.file("access", "shut@example.test REJECT gone\n")
    milter = world.milter(role="fallback", recipient_maps=own_recipients, process_cache_entries="0",
                          access_maps=f"texthash:{access}", **SENTINEL)  # fmt: skip
    assert milter.ask("shut@example.test").code == 554
    own_directory.kill()
    assert milter.ask("shut@example.test").codes == HELD


def test_a_sentinel_whose_domain_is_lost_is_missing(world, own_directory, own_recipients):
    domains = world.file("domains", "example.test OK\n")
    milter = world.milter(role="fallback", recipient_maps=own_recipients, process_cache_entries="0",
                          domain_maps=f"texthash:{domains}", foreign_reply="550 5.1.2 not ours",
                          **SENTINEL)  # fmt: skip
    assert milter.ask("a@elsewhere.test").codes == (550, "5.1.2")
    milter.reload(force=True, domain_maps="inline:{other.test=1}")
    assert milter.ask("alice@example.test").codes == HELD


def test_sentinels_that_are_no_addresses_are_refused(world, own_recipients):
    milter = world.milter_not_started(recipient_maps=own_recipients,
                                      sentinel_recipients="bob@example.test, not an address")  # fmt: skip
    status, log = milter.refusal()
    assert status == 78
    assert 'rcpt-milter.conf:' in log and 'sentinel_recipients: "not" is not an address' in log
