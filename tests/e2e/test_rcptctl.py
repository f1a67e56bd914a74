"""rcptctl: what it prints and how it exits, with a daemon and without one."""

import concurrent.futures
import json

import pytest

from harness import mysql_table, rcptctl, wait_until

EXISTS, ABSENT, UNAVAILABLE, USAGE, CONFIG, NOT_RUNNING = 0, 1, 75, 64, 78, 3


@pytest.fixture
def known(world):
    return f"texthash:{world.file('map', 'alice@example.test OK' + chr(10))}"


@pytest.fixture(params=["with_a_daemon", "without_a_daemon"])
def node(request, world, recipients, domains):
    """A node whose rcptctl answers the same whether the daemon runs or not."""
    milter = world.milter_not_started(
        recipient_maps=recipients, domain_maps=domains, recipient_delimiter="+",
        access_maps="inline:{closed@example.test=REJECT, open@example.test=OK, {later@example.test=450 4.2.1 Later}}",
    )  # fmt: skip
    if request.param == "with_a_daemon":
        milter.start()
    return milter


@pytest.mark.parametrize(
    "address, status",
    [
        ("alice@example.test", EXISTS), ("ALICE+x@Example.Test", EXISTS), ("who@all.test", EXISTS),
        ("alice@alias.test", EXISTS), ("postmaster", EXISTS), ("<alice@example.test>", EXISTS),
        ("ghost@example.test", ABSENT), ("alice@foreign.test", ABSENT), ("two words@example.test", ABSENT),
        ("closed@example.test", ABSENT), ("open@example.test", EXISTS), ("later@example.test", UNAVAILABLE),
    ],
)  # fmt: skip
def test_lookup_exits_0_if_it_exists_and_1_if_not(node, address, status):
    done = node.ctl("lookup", address)
    assert done.returncode == status, done
    assert done.stdout


@pytest.mark.sanitizer
def test_lookup_tells_the_reply_as_primary_as_fallback_and_if_the_directory_were_down(node):
    lines = node.ctl("lookup", "ghost@example.test").stdout.splitlines()
    assert "ghost@example.test" in lines[0]

    def line(words):
        return next(line for line in lines if words in line)

    assert "450 4.1.1" in line("as primary") and "550 5.1.1" in line("as fallback")
    assert "250" not in line("directory down") and "pass" not in line("directory down")
    lines = node.ctl("lookup", "alice@example.test").stdout.splitlines()
    assert all("pass" in line(words) for words in ("as primary", "as fallback"))


def test_lookup_takes_several_addresses_and_the_gravest_counts(node):
    done = node.ctl("lookup", "alice@example.test", "ghost@example.test", "bob@example.test")
    assert done.returncode == ABSENT
    assert all(name in done.stdout for name in ("alice@", "ghost@", "bob@"))


def test_explain_shows_every_step_and_no_password(node):
    done = node.ctl("lookup", "alice+x@example.test", "--explain")
    assert done.returncode == EXISTS
    assert "SELECT address FROM recipients WHERE address = 'alice+x@example.test'" in done.stdout
    assert "SELECT address FROM recipients WHERE address = 'alice@example.test'" in done.stdout
    assert "verdict: known" in done.stdout
    assert "s3cret" not in done.stdout + done.stderr


def test_lookup_with_a_dead_directory_exits_75(world, own_directory, own_recipients):
    milter = world.milter_not_started(role="fallback", recipient_maps=own_recipients)
    own_directory.kill()
    alone = milter.ctl("lookup", "alice@example.test")
    milter.start()
    asked = milter.ctl("lookup", "alice@example.test")
    for done in (alone, asked):
        assert done.returncode == UNAVAILABLE, done
        assert "451 4.4.3" in done.stdout
    assert "550 5.4.3" in alone.stdout
    assert "550" not in asked.stdout, "this daemon has had no answer yet, so it bounces nobody"


def test_no_cache_asks_the_directory(world, own_directory, own_recipients):
    milter = world.milter(recipient_maps=own_recipients, process_cache_ttl="10m")
    assert milter.ctl("lookup", "late@example.test").returncode == ABSENT
    own_directory.sql("INSERT INTO recipients (address) VALUES ('late@example.test')")
    assert milter.ctl("lookup", "late@example.test", "--no-cache").returncode == EXISTS
    assert milter.ask("late@example.test").code == 250, "what it learned is used"


@pytest.mark.parametrize(
    "arguments",
    [[], ["nosuch"], ["lookup"], ["lookup", "--nosuch", "a@b.test"], ["flush"], ["verbose"],
     ["verbose", "9"], ["verbose", "x"], ["status", "x"], ["stats", "--xml"], ["-z"]],
    ids=" ".join,
)  # fmt: skip
def test_wrong_usage_exits_64(world, known, arguments):
    milter = world.milter(recipient_maps=known)
    done = milter.ctl(*arguments)
    assert done.returncode == USAGE, done
    assert done.stdout + done.stderr


def test_a_wrong_configuration_exits_78_with_file_and_line(world):
    path = world.file("bad.conf", "# comment\nrole = nonsense\n")
    done = rcptctl("-c", path, "lookup", "alice@example.test")
    assert done.returncode == CONFIG and f"{path}:2" in done.stderr, done
    missing = rcptctl("-c", "/nonexistent/x.conf", "lookup", "alice@example.test")
    assert missing.returncode == CONFIG and "/nonexistent/x.conf" in missing.stderr


@pytest.mark.parametrize("command", [["status"], ["stats"], ["flush", "--all"], ["verbose", "1"], ["reload"]],
                         ids=" ".join)  # fmt: skip
def test_without_a_daemon_it_says_so_and_exits_3(world, known, command):
    milter = world.milter_not_started(recipient_maps=known)
    done = milter.ctl(*command)
    assert done.returncode == NOT_RUNNING, done
    assert "not running" in done.stderr


def test_after_a_crash_it_says_not_running(world, known):
    milter = world.milter(recipient_maps=known)
    milter.kill()
    assert milter.ctl("status").returncode == NOT_RUNNING
    assert milter.ctl("lookup", "alice@example.test").returncode == EXISTS


def test_status_names_the_servers_and_how_they_are(world, own_directory, own_recipients):
    memcached = world.memcached()
    milter = world.milter(
        recipient_maps=own_recipients, memcache_servers=f"unix:{memcached.socket}", memcache_timeout="1s"
    )
    milter.ask("alice@example.test")
    status = milter.ctl("status")
    assert status.returncode == 0
    for text in (f"pid {milter.pid}", str(milter.conf), "primary", str(own_directory.socket), str(memcached.socket)):
        assert text in status.stdout, (text, status.stdout)
    own_directory.kill()
    memcached.kill()

    def says_so():
        milter.ask("bob@example.test")
        lines = milter.ctl("status").stdout.splitlines()
        mysql = [line for line in lines if str(own_directory.socket) in line]
        cache = [line for line in lines if str(memcached.socket) in line]
        return "resting" in mysql[0] and "down" in cache[0]

    wait_until(says_so, what="status to tell that both are down")


def test_stats_are_numbers_and_json_holds_the_same(world, known):
    milter = world.milter(recipient_maps=known)
    milter.ask("alice@example.test", "ghost@example.test")
    text = milter.stats()
    done = milter.ctl("stats", "--json")
    parsed = json.loads(done.stdout)
    assert parsed == text and text["recipients"] == 2
    assert text["verdict_known"] == 1 and text["verdict_primary_unknown"] == 1
    assert text["reply_pass"] == 1 and text["reply_4xx"] == 1 and text["reply_5xx"] == 0


def test_flush_forgets_one_address_a_domain_or_everything(world, own_directory, own_recipients):
    memcached = world.memcached()
    milter = world.milter(
        recipient_maps=own_recipients, process_cache_ttl="10m", negative_ttl="10m",
        memcache_servers=f"unix:{memcached.socket}", memcache_timeout="5s",
    )  # fmt: skip
    names = ["f1@example.test", "f2@example.test", "f3@all.test", "f4@other.test"]

    def asks_directory(address):
        with milter.counted() as count:
            milter.ask(address)
        return count["mysql_queries"] > 0

    assert all(asks_directory(name) for name in names)
    assert not any(asks_directory(name) for name in names)

    assert milter.ctl("flush", "f1@example.test").returncode == 0
    assert [asks_directory(name) for name in names] == [True, False, False, False]

    assert milter.ctl("flush", "example.test").returncode == 0
    assert [asks_directory(name) for name in names[:2]] == [True, True]

    assert milter.ctl("flush", "--all").returncode == 0
    assert all(asks_directory(name) for name in names)


def test_flush_reaches_the_other_nodes_through_memcached(world, own_directory, own_recipients):
    memcached = world.memcached()
    options = {"recipient_maps": own_recipients, "memcache_servers": f"unix:{memcached.socket}",
               "process_cache_ttl": "1s", "negative_ttl": "10m", "memcache_timeout": "5s"}  # fmt: skip
    here, there = world.milter("here", **options), world.milter("there", **options)
    assert there.ask("soon@example.test").code == 450
    own_directory.sql("INSERT INTO recipients (address) VALUES ('soon@example.test')")
    assert here.ctl("flush", "example.test").returncode == 0
    wait_until(lambda: there.ask("soon@example.test").code == 250, what="the other node to hear of it")


def test_verbose_turns_the_trace_on_and_off(world, known):
    milter = world.milter(recipient_maps=known, verbose=0)

    def traced(address):
        mark = milter.log.end()
        milter.ask(address)
        milter.log.wait(f"reject:.*{address}", mark)
        return bool(milter.log.find("trace", mark))

    assert not traced("v0@example.test")
    assert milter.ctl("verbose", "1").returncode == 0
    assert traced("v1@example.test")
    assert milter.ctl("verbose", "0").returncode == 0
    assert not traced("v2@example.test")


def test_reload_says_whether_it_worked(world, known):
    milter = world.milter(recipient_maps=known)
    milter.write_config(role="fallback")
    assert milter.ctl("reload").returncode == 0
    assert milter.ask("ghost@example.test").code == 550
    milter.write_config(role="captain")
    done = milter.ctl("reload")
    assert done.returncode == CONFIG, done
    assert f"{milter.conf}:" in done.stdout + done.stderr
    assert milter.ask("ghost@example.test").code == 550


def test_lookup_changes_no_counter_of_recipients(world, known):
    milter = world.milter(recipient_maps=known)
    with milter.counted() as count:
        milter.ctl("lookup", "alice@example.test", "ghost@example.test")
    assert count["recipients"] == 0 and count["reply_pass"] == 0


def test_output_has_no_control_bytes(world, known):
    milter = world.milter(recipient_maps=known)
    done = milter.ctl("lookup", "a\x1b[31m\n@example.test", "--explain")
    assert done.returncode == ABSENT
    assert not any(ord(c) < 0x20 and c != "\n" for c in done.stdout)


def test_many_rcptctls_at_once_are_all_answered_or_told_to_wait(world, directory, known):
    milter = world.milter(recipient_maps=known)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda i: milter.ctl("lookup", "alice@example.test").returncode, range(24)))
    assert results == [0] * 24


def test_a_hung_directory_does_not_hang_rcptctl(world, own_directory):
    maps = mysql_table(world, own_directory, "SELECT address FROM recipients WHERE address = '%s'")
    milter = world.milter(recipient_maps=maps, lookup_deadline="500ms")
    own_directory.suspend()
    assert milter.ctl("lookup", "alice@example.test", limit=30).returncode == UNAVAILABLE
    assert milter.ctl("status", limit=10).returncode == 0
    own_directory.resume()
