"""The known-good store: whom this host has heard the directory confirm passes while it is away."""

import os

import pytest

from harness import wait_until

UNKNOWN, UNAVAILABLE, HELD = (550, "5.1.1"), (550, "5.4.3"), (451, "4.4.3")


@pytest.fixture
def node(world, own_recipients):
    """No process cache, so that only the store can vouch."""

    def start(role="fallback", **settings):
        settings = {"process_cache_entries": "0", **settings}
        return world.milter(role=role, recipient_maps=own_recipients, **settings)

    return start


def confirmed(milter, *addresses):
    """Known good from now on: confirmed, and written to the store."""
    before = milter.stats()["known_good_entries"]
    for address in addresses:
        assert milter.ask(address).code == 250
    wait_until(lambda: milter.stats()["known_good_entries"] >= before + len(addresses),
               what="the store to have them")  # fmt: skip


@pytest.mark.sanitizer
@pytest.mark.parametrize("role", ["primary", "fallback"])
def test_a_known_good_recipient_passes_while_the_directory_is_away(own_directory, node, role):
    milter = node(role)
    confirmed(milter, "alice@example.test")
    own_directory.kill()
    assert milter.ask("alice@example.test").code == 250
    assert milter.ask("bob@example.test").code == (451 if role == "primary" else 550)
    assert milter.stats()["known_good_vouched"] == 1
    lookup = milter.ctl("lookup", "alice@example.test")
    assert lookup.returncode == 0 and "known-good, verified" in lookup.stdout


def test_it_survives_a_kill_and_a_start_with_everything_down(own_directory, node):
    milter = node()
    confirmed(milter, "alice@example.test")
    milter.kill()
    own_directory.kill()
    milter.start()
    assert milter.ask("alice@example.test").code == 250
    assert milter.ask("bob@example.test").codes == HELD  # no answer yet since the start
    own_directory.start()
    wait_until(lambda: milter.ask("bob@example.test").code == 250, what="bob to be known")


def test_a_clean_stop_writes_what_was_queued(own_directory, node):
    milter = node()
    assert milter.ask("alice@example.test").code == 250
    milter.stop()
    own_directory.kill()
    milter.start()
    assert milter.ask("alice@example.test").code == 250


def test_a_catch_all_and_an_extension_are_known_good_by_the_key_they_were_found_under(
    own_directory, node
):
    milter = node(recipient_delimiter="+")
    confirmed(milter, "anybody@all.test", "alice+list@example.test")
    own_directory.kill()
    for address in ("somebody@all.test", "alice@example.test", "alice+news@example.test"):
        assert milter.ask(address).code == 250
    assert milter.ask("bob+list@example.test").codes == UNAVAILABLE


def test_an_absence_is_never_remembered(own_directory, node):
    milter = node()
    assert milter.ask("newcomer@example.test").codes == UNKNOWN
    confirmed(milter, "alice@example.test")
    assert milter.stats()["known_good_entries"] == 1
    own_directory.sql("INSERT INTO recipients (address) VALUES ('newcomer@example.test')")
    assert milter.ask("newcomer@example.test").code == 250


def test_entries_age_out(own_directory, node):
    milter = node(known_good_ttl="3s")
    confirmed(milter, "alice@example.test")
    own_directory.kill()
    assert milter.ask("alice@example.test").code == 250
    wait_until(lambda: milter.ask("alice@example.test").codes == UNAVAILABLE, what="her to age out")


def test_what_memcached_carries_from_another_node_is_known_good_here(
    world, own_directory, node, own_recipients
):
    memcached = world.memcached()
    settings = {"memcache_servers": f"unix:{memcached.socket}"}
    other = world.milter(role="primary", recipient_maps=own_recipients, **settings)
    here = node(**settings)
    wait_until(lambda: other.ask("alice@example.test").code == 250 and memcached.keys())
    own_directory.watch_queries()
    confirmed(here, "alice@example.test")
    assert own_directory.queries("alice@example.test") == []
    own_directory.kill()
    memcached.kill()
    assert here.ask("alice@example.test").code == 250


def test_a_reload_keeps_the_store(own_directory, node):
    milter = node()
    confirmed(milter, "alice@example.test")
    milter.reload(known_good_ttl="10d")
    own_directory.kill()
    assert milter.ask("alice@example.test").code == 250


def test_a_shed_recipient_that_is_known_good_passes(own_directory, node):
    milter = node(lookup_slots="1", mysql_query_timeout="20s", lookup_deadline="15s")
    confirmed(milter, "alice@example.test")
    with own_directory.connect() as lock, lock.cursor() as cursor, milter.session() as first:
        cursor.execute("LOCK TABLES recipients WRITE")
        first.mail()
        first.send_macros("R")
        first.send("R", b"<bob@example.test>\0")
        wait_until(lambda: own_directory.running(containing="bob@example.test"))
        assert milter.ask("alice@example.test").code == 250
        assert milter.ask("carol@example.test").codes == HELD
        cursor.execute("UNLOCK TABLES")
        assert first.answer().code == 250
    assert milter.stats()["directory_outage_seconds"] == 0


def test_stats_and_status_show_its_size_and_age(node):
    milter = node()
    confirmed(milter, "alice@example.test", "bob@example.test")
    stats = milter.stats()
    assert stats["known_good_works"] == 1 and stats["known_good_entries"] == 2
    assert stats["known_good_bytes"] > 0
    assert "known-good store: 2 recipients" in milter.ctl("status").stdout


def test_no_address_can_be_read_in_its_files(node):
    milter = node()
    confirmed(milter, "alice@example.test")
    milter.stop()
    for path in milter.state.iterdir():
        assert b"alice" not in path.read_bytes()
        assert path.stat().st_mode & 0o077 == 0, path


# ---- trouble with the store ----


def test_without_its_directory_it_is_degraded_and_nothing_else(own_directory, node):
    milter = node(state_directory="/nonexistent/state")
    assert milter.ask("alice@example.test").code == 250
    assert milter.ask("ghost@example.test").codes == UNKNOWN
    assert milter.stats()["known_good_works"] == 0
    assert "known-good store: DEGRADED" in milter.ctl("status").stdout
    assert len(milter.log.find("known-good.*nonexistent")) == 1


DAMAGE = {
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 2),
    "emptied": lambda path: os.truncate(path, 0),
    "overwritten": lambda path: path.write_bytes(os.urandom(path.stat().st_size)),
    "removed": lambda path: path.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("running", [True, False], ids=["while it runs", "while it is stopped"])
def test_a_damaged_store_costs_no_mail_and_heals(own_directory, node, damage, running):
    milter = node()
    confirmed(milter, "alice@example.test")
    if not running:
        milter.stop()
    DAMAGE[damage](milter.state / "known-good.mdb")
    if not running:
        milter.start()
    pid = milter.child.pid
    assert milter.ask("alice@example.test").code == 250
    assert milter.ask("ghost@example.test").codes in (UNKNOWN, HELD)

    def healed():
        assert milter.ask("bob@example.test").code == 250
        stats = milter.stats()
        return stats["known_good_works"] == 1 and stats["known_good_entries"] >= 1

    wait_until(healed, what="the store to heal")
    assert milter.child.pid == pid and milter.alive()
    wait_until(lambda: _knows(milter, "bob@example.test"), what="the store to know bob")
    own_directory.kill()
    assert milter.ask("bob@example.test").code == 250


def _knows(milter, address):
    """The store does: it is what answers if the directory were down."""
    milter.ask(address)
    return "directory down  pass" in milter.ctl("lookup", address).stdout


def test_two_daemons_on_one_store_do_not_harm_it(world, own_directory, node, own_recipients):
    first = node()
    confirmed(first, "alice@example.test")
    second = world.milter(role="primary", recipient_maps=own_recipients,
                          state_directory=first.state, process_cache_entries="0")  # fmt: skip
    assert second.ask("alice@example.test").code == 250
    assert second.stats()["known_good_works"] == 0
    confirmed(first, "bob@example.test")
    own_directory.kill()
    assert first.ask("bob@example.test").code == 250
