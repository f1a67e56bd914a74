"""The reload canary: a new configuration that does not know whom the old one knows is refused."""

import signal

import pytest

from harness import mysql_table, wait_until

QUERY = "SELECT address FROM recipients WHERE address = '%s' AND active"
EMPTY = "SELECT address FROM recipients WHERE address = '%s' AND FALSE"


def refused(milter, **changes):
    """By rcptctl reload and by SIGHUP alike; what both said."""
    milter.write_config(**changes)
    done = milter.ctl("reload")
    assert done.returncode == 78 and "the old configuration stays in use" in done.stdout, done
    lines = milter.reload_refused()
    (line,) = [line for line in lines if "error: canary: " in line]
    assert "the configuration was not reloaded, the old one stays in use" in line
    assert line.partition("error: ")[2].partition(" - ")[0] == done.stdout.partition(" - ")[0]
    return line


@pytest.fixture
def node(world, directory):
    """It has confirmed alice. No caches, so that every question goes to the directory."""

    def start(**settings):
        settings = {"recipient_maps": mysql_table(world, directory, QUERY), "process_cache_entries": "0",
                    **settings}  # fmt: skip
        milter = world.milter(**settings)
        assert milter.ask("alice@example.test").code == 250
        return milter

    return start


@pytest.mark.sanitizer
def test_a_wrong_table_is_refused(world, directory, node):
    milter = node(role="fallback")
    empty = mysql_table(world, directory, EMPTY)
    line = refused(milter, recipient_maps=empty)
    assert "for alice@example.test the new configuration says absent, the one in force known" in line
    assert milter.ask("alice@example.test").code == 250
    milter.stop()
    milter.start()  # nobody is asked at a start
    assert milter.ask("alice@example.test").codes == (451, "4.4.3")  # it was known good lately


def test_a_broken_statement_is_refused(world, directory, node):
    milter = node()
    broken = mysql_table(world, directory, "SELECT nosuch FROM recipients WHERE address = '%s'")
    assert "says unavailable, the one in force known" in refused(milter, recipient_maps=broken)
    assert milter.ask("bob@example.test").code == 250


def test_a_wrong_password_is_refused(world, directory, node):
    milter = node()
    wrong = mysql_table(world, directory, QUERY, password="an0ther-one")
    line = refused(milter, recipient_maps=wrong)
    assert "alice@example.test" in line and "Access denied" in line and "an0ther-one" not in line
    assert milter.ask("bob@example.test").code == 250


def test_narrower_domain_maps_are_refused(node):
    milter = node(domain_maps="inline:{example.test=1, all.test=1}")
    assert milter.ask("anybody@all.test").code in (250, 450)
    milter.ask("alice@example.test")  # who may have lost her places in the sample to the other
    line = refused(milter, domain_maps="inline:{all.test=1}")
    assert "for alice@example.test the new configuration says foreign" in line


def test_what_was_a_file_edited_in_place_is_compared_with_what_was_read(world, directory):
    table = mysql_table(world, directory, QUERY)
    milter = world.milter(recipient_maps=table, process_cache_entries="0")
    assert milter.ask("alice@example.test").code == 250
    path = world.scratch.path.__class__(table.removeprefix("mysql:"))
    path.write_text(path.read_text().replace("AND active", "AND FALSE"))
    assert "alice@example.test" in refused(milter)
    assert milter.ask("bob@example.test").code == 250


def test_a_sentinel_that_the_new_one_lacks_is_enough(world, directory):
    milter = world.milter(recipient_maps=mysql_table(world, directory, QUERY),
                          sentinel_recipients="bob@example.test")  # fmt: skip
    assert "for bob@example.test" in refused(milter, recipient_maps=mysql_table(world, directory, EMPTY))
    # Nor does it help to leave it out of the new one.
    assert "for bob@example.test" in refused(milter, sentinel_recipients="")


def test_who_was_removed_forbids_nothing(world, own_directory):
    milter = world.milter(recipient_maps=mysql_table(world, own_directory, QUERY), process_cache_entries="0")
    assert milter.ask("bob@example.test").code == 250
    own_directory.sql("DELETE FROM recipients WHERE address = 'bob@example.test'")
    milter.reload(recipient_maps=mysql_table(world, own_directory, QUERY))
    assert milter.log.find("reloaded, 1 recipients compared")


@pytest.mark.sanitizer
def test_a_directory_that_is_down_forbids_no_reload(world, own_directory):
    milter = world.milter(recipient_maps=mysql_table(world, own_directory, QUERY), process_cache_entries="0",
                          sentinel_recipients="bob@example.test")  # fmt: skip
    assert milter.ask("alice@example.test").code == 250
    own_directory.kill()
    milter.reload(positive_ttl="2h")
    milter.reload(recipient_maps=mysql_table(world, own_directory, QUERY))


def test_a_directory_that_hangs_holds_a_reload_up_for_seconds_only(world, own_directory):
    milter = world.milter(recipient_maps=mysql_table(world, own_directory, QUERY), process_cache_entries="0",
                          lookup_deadline="2s")  # fmt: skip
    assert milter.ask("alice@example.test").code == 250
    own_directory.suspend()
    try:
        milter.reload(positive_ttl="2h")
        assert milter.ask("alice@example.test").code == 250  # known good
    finally:
        own_directory.resume()


def test_in_an_outage_another_table_must_know_whom_the_old_one_knew(world, own_directory):
    milter = world.milter(recipient_maps=mysql_table(world, own_directory, QUERY), process_cache_entries="0")
    assert milter.ask("alice@example.test").code == 250
    own_directory.kill()
    others = world.file("others", "carol@example.test OK\n")
    line = refused(milter, recipient_maps=f"texthash:{others}")
    assert "says absent, the one in force had it and cannot ask now" in line
    replacement = world.file("recipients", "alice@example.test OK\ncarol@example.test OK\n")
    milter.reload(recipient_maps=f"texthash:{replacement}")
    assert milter.ask("carol@example.test").code == 250


def test_by_force_it_goes_live(world, directory, node):
    milter = node()
    milter.write_config(recipient_maps=mysql_table(world, directory, EMPTY))
    assert milter.ctl("reload").returncode == 78
    done = milter.ctl("reload", "--force")
    assert done.returncode == 0 and done.stdout == "reloaded\n", done
    assert milter.log.find("warning: configuration .* reloaded by force")
    assert milter.ask("alice@example.test").code == 450
    assert milter.stats()["reloads"] == 1
    assert milter.ctl("reload", "--sooner").returncode == 64


def test_force_does_not_take_what_cannot_be_read(node):
    milter = node()
    milter.write_config(rolle="primary")
    done = milter.ctl("reload", "--force")
    assert done.returncode == 78 and "rolle" in done.stdout


def test_a_refused_configuration_leaves_nothing_behind(world, directory, node):
    """Not in the stores, not in memcached under the same key, not in the settings that are shared."""
    memcached = world.memcached()
    milter = node(role="fallback", memcache_servers=f"unix:{memcached.socket}", removal_grace="0")
    path = milter.config["recipient_maps"].removeprefix("mysql:")
    text = open(path).read()
    with open(path, "w") as file:
        file.write(text.replace("AND active", "AND FALSE"))
    refused(milter, log_known="yes", log_format="json", role="primary")
    with open(path, "w") as file:
        file.write(text)
    milter.stop()  # the same setup again: it reads what the refused one may have stored
    milter.start()
    with milter.counted() as count:
        assert milter.ask("alice@example.test").code == 250
    assert count["memcache_hits"] == 1
    assert milter.ctl("lookup", "--no-cache", "alice@example.test").returncode == 0


def test_it_does_not_hold_up_the_recipients(world, own_directory, node):
    """Sessions go on while the new one's directory hangs: it is asked on the main thread."""
    milter = node()
    hung = mysql_table(world, own_directory, QUERY)
    own_directory.suspend()
    try:
        milter.write_config(recipient_maps=hung)
        milter.send(signal.SIGHUP)
        asked = 0
        while milter.stats()["reload_failures"] == 0:
            assert milter.ask("alice@example.test").code == 250
            asked += 1
        assert asked > 3
    finally:
        own_directory.resume()
    wait_until(lambda: milter.log.find("says unavailable, the one in force known"))
