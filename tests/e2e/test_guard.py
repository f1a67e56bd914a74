"""What keeps a fallback from bouncing: no answer yet, a short outage, an operator's hold."""

import pytest

from harness import wait_until

UNKNOWN, UNAVAILABLE, HELD = (550, "5.1.1"), (550, "5.4.3"), (451, "4.4.3")


@pytest.fixture
def fallback(world, own_recipients):
    def start(**settings):
        return world.milter(role="fallback", recipient_maps=own_recipients, **settings)

    return start


def test_a_fallback_that_never_had_an_answer_bounces_nobody(own_directory, fallback):
    own_directory.kill()
    milter = fallback(process_cache_entries="0")
    for address in ("alice@example.test", "ghost@example.test"):
        assert milter.ask(address).codes == HELD
    assert len(milter.log.find("has not answered since the start")) == 1
    assert "bounces: only who is proven absent" in milter.ctl("status").stdout
    assert milter.stats()["interlock_no_answer_yet"] == 2

    own_directory.start()
    wait_until(lambda: milter.ask("alice@example.test").code == 250, what="alice to be known")
    assert milter.ask("ghost@example.test").codes == UNKNOWN
    assert len(milter.log.find("has answered for the first time")) == 1
    assert "bounces: yes" in milter.ctl("status").stdout
    own_directory.kill()
    assert milter.ask("bob@example.test").codes == UNAVAILABLE


def test_a_reload_does_not_forget_that_the_directory_has_answered(own_directory, fallback):
    milter = fallback(process_cache_entries="0")
    assert milter.ask("alice@example.test").code == 250
    own_directory.kill()
    milter.reload()
    assert milter.ask("bob@example.test").codes == UNAVAILABLE


def test_an_outage_shorter_than_outage_patience_bounces_nobody(own_directory, fallback):
    milter = fallback(process_cache_entries="0", outage_patience="1h")
    assert milter.ask("alice@example.test").code == 250
    own_directory.kill()
    assert milter.ask("bob@example.test").codes == HELD
    assert milter.stats()["interlock_outage"] == 1
    assert "less than outage_patience" in milter.ctl("status").stdout
    assert 'held="outage"' in milter.log.find("reject:.*bob@example.test")[0]


def test_an_outage_longer_than_outage_patience_bounces_again(own_directory, fallback):
    milter = fallback(process_cache_entries="0", outage_patience="2s")
    assert milter.ask("alice@example.test").code == 250
    own_directory.kill()
    assert milter.ask("bob@example.test").codes == HELD
    wait_until(lambda: milter.ask("bob@example.test").codes == UNAVAILABLE, what="patience to end")


def test_a_hold_bounces_nobody_until_it_is_released(fallback):
    milter = fallback()
    assert milter.ask("ghost@example.test").codes == UNKNOWN
    assert milter.ctl("hold", "2h").returncode == 0
    assert milter.ask("ghost@example.test").codes == HELD
    assert milter.ask("alice@example.test").code == 250
    assert "bounces: no, rcptctl hold" in milter.ctl("status").stdout
    assert milter.stats()["interlock_hold"] == 1
    assert milter.ctl("release").returncode == 0
    assert milter.ask("ghost@example.test").codes == UNKNOWN


def test_a_hold_ends_by_itself(fallback):
    milter = fallback()
    milter.ctl("hold", "2s")
    assert milter.ask("ghost@example.test").codes == HELD
    wait_until(lambda: milter.ask("ghost@example.test").codes == UNKNOWN, what="the hold to end")


def test_a_hold_is_remembered_over_a_restart_and_so_is_its_end(fallback):
    milter = fallback()
    milter.ctl("hold")
    milter.kill()
    milter.start()
    assert milter.log.find("hold is in force")
    assert milter.ask("ghost@example.test").codes == HELD
    milter.ctl("release")
    milter.kill()
    milter.start()
    assert milter.ask("ghost@example.test").codes == UNKNOWN


def test_an_unwritable_state_directory_holds_all_the_same_and_says_so(world, fallback):
    milter = fallback(state_directory="/nonexistent/state")
    held = milter.ctl("hold", "1h")
    assert held.returncode == 75 and "a restart will not know of this" in held.stdout
    assert milter.ask("ghost@example.test").codes == HELD


@pytest.mark.parametrize("words", [["0"], ["soon"], ["-1h"], ["1h", "2h"]], ids=" ".join)
def test_a_hold_that_makes_no_sense_is_refused(fallback, words):
    milter = fallback()
    assert milter.ctl("hold", *words).returncode == 64
    assert milter.ask("ghost@example.test").codes == UNKNOWN


def test_a_hold_also_holds_back_what_access_maps_reject(world):
    access = world.file("access", "shut@example.test REJECT gone\n")
    table = world.file("recipients", "alice@example.test OK\n")
    milter = world.milter(
        role="primary", recipient_maps=f"texthash:{table}", access_maps=f"texthash:{access}"
    )
    assert milter.ask("shut@example.test").code == 554
    milter.ctl("hold", "1h")
    assert milter.ask("shut@example.test").codes == HELD
