"""memcache_secret_file: what somebody else wrote into memcached is a miss, never an answer."""

import time

import pytest

from harness import rcpt_milter, wait_until

UNKNOWN = {"primary": (450, "4.1.1"), "fallback": (550, "5.1.1")}
UNAVAILABLE = {"primary": (451, "4.4.3"), "fallback": (550, "5.4.3")}
ROLES = pytest.mark.parametrize("role", ["primary", "fallback"])
SECRET = "vJ7qXn0sWc2Rk9Ld4Tz8"
SEAL = 16  # bytes behind each value


@pytest.fixture
def memcached(world):
    return world.memcached()


@pytest.fixture
def secret_file(world):
    return world.file("secret", f"{SECRET}\n", 0o640)


@pytest.fixture
def node(world, memcached, recipients, secret_file):
    """Makes daemons without a process cache, so that every question meets memcached."""

    def make(role, name="rm", **options):
        return world.milter(
            name, **{
                "role": role, "recipient_maps": recipients, "process_cache_entries": "0",
                "process_cache_ttl": "1h",  # of a generation, then: one get for each question
                "memcache_servers": f"unix:{memcached.socket}", "memcache_timeout": "5s",
                "memcache_secret_file": secret_file, **options,
            }
        )  # fmt: skip

    return make


def key_of(milter, memcached, recipient):
    """The key under which memcached has this recipient, as --explain names it."""
    milter.ask(recipient)
    mark = milter.log.end()
    milter.ask(recipient)
    line = milter.log.wait(r"trace .*memcached \S+:r[0-9a-f]{32}: hit", mark)
    key = line.partition("memcached ")[2].partition(": hit")[0]
    assert memcached.get(key)
    return key


def forge(memcached, key, letter):
    """The value under this key as one would write it who knows all but the secret."""
    head, _, rest = memcached.get(key)[:-SEAL].rpartition(b" ")
    assert head.startswith(b"rm1 ") and rest.isdigit()
    return head[:-1] + letter + b" " + rest


@ROLES
@pytest.mark.parametrize("end", ["", "old seal", "another seal"])
def test_a_forged_value_makes_nobody_pass_and_nobody_bounce(node, memcached, role, end):
    milter = node(role)
    alice = key_of(milter, memcached, "alice@example.test")
    ghost = key_of(milter, memcached, "ghost@example.test")
    ends = {"": (b"", b""), "old seal": (memcached.get(alice)[-SEAL:], memcached.get(ghost)[-SEAL:]),
            "another seal": (memcached.get(ghost)[-SEAL:], memcached.get(alice)[-SEAL:])}[end]  # fmt: skip
    memcached.set(alice, forge(memcached, alice, b"A") + ends[0])
    memcached.set(ghost, forge(memcached, ghost, b"K") + ends[1])
    with milter.counted() as count:
        answers = milter.ask("alice@example.test", "ghost@example.test")
    assert [answer.codes for answer in answers] == [(250, ""), UNKNOWN[role]]
    assert count["memcache_forged_values"] == 2 and count["memcache_hits"] == 0
    assert count["mysql_queries"] > 0
    with milter.counted() as count:  # the right values stand there again
        milter.ask("alice@example.test", "ghost@example.test")
    assert count["memcache_forged_values"] == 0 and count["memcache_hits"] >= 1


@pytest.mark.sanitizer
@ROLES
def test_a_value_replayed_for_another_recipient_is_a_miss(node, memcached, role):
    """Whole, and with the name of the other key put into it."""
    milter = node(role)
    alice = key_of(milter, memcached, "alice@example.test")
    ghost = key_of(milter, memcached, "ghost@example.test")
    good = memcached.get(alice)
    for value in (good, good.replace(alice[-32:].encode(), ghost[-32:].encode())):
        memcached.set(ghost, value)
        with milter.counted() as count:
            assert milter.ask("ghost@example.test").codes == UNKNOWN[role]
        assert count["memcache_forged_values"] == 1 and count["memcache_rejected_values"] == 0


@ROLES
def test_a_forged_value_does_not_vouch_while_the_directory_is_down(node, memcached, role, own_directory,
                                                                   own_recipients):  # fmt: skip
    milter = node(role, recipient_maps=own_recipients, positive_ttl="1s", stale_ttl="1d")
    alice = key_of(milter, memcached, "alice@example.test")
    ghost = key_of(milter, memcached, "ghost@example.test")
    forged, good = forge(memcached, ghost, b"K"), memcached.get(alice)
    own_directory.kill()
    memcached.set(ghost, forged + good[-SEAL:])
    assert milter.ask("ghost@example.test").codes == UNAVAILABLE[role]
    assert milter.ask("alice@example.test").code == 250, "her value is sealed, and vouches"


@ROLES
def test_forged_generations_are_replaced_and_a_flush_still_works(node, memcached, role):
    milter = node(role, process_cache_ttl="0s")  # each question asks for the generations
    milter.ask("alice@example.test")
    generations = wait_until(
        lambda: len(found := [key for key in memcached.keys() if key[-33] == "g"]) == 2 and found
    )
    for value in (b"0123456789abcdef", b"x" * 32, b"", b"y" * 5000):
        for key in generations:
            memcached.set(key, value)
        with milter.counted() as count:
            for _ in range(2):
                assert milter.ask("alice@example.test").code == 250
        # Each is found bad, an add finds it in its way, and then it is replaced.
        assert count["memcache_forged_values"] == 4 and count["memcache_hits"] == 1
    assert milter.ctl("flush", "example.test").returncode == 0
    with milter.counted() as count:
        assert milter.ask("alice@example.test").code == 250
    assert count["memcache_hits"] == 0 and count["mysql_queries"] > 0


def test_old_values_put_back_with_their_generation_are_no_answer_past_their_time(
    node, memcached, own_directory, own_recipients
):
    """The one thing a seal cannot see: it is the same key. The time in each value still holds."""
    milter = node("primary", recipient_maps=own_recipients, process_cache_ttl="0s", positive_ttl="1s",
                  negative_ttl="1s", stale_ttl="1s")  # fmt: skip
    milter.ask("alice@example.test", "ghost@example.test")
    answered = time.time()
    old = wait_until(
        lambda: len(found := {key: memcached.get(key) for key in memcached.keys()}) == 4 and found,
        what="two generations and two answers",
    )
    own_directory.sql("UPDATE recipients SET address = 'ghost@example.test' WHERE address = 'alice@example.test'")
    assert milter.ctl("flush", "--all").returncode == 0
    wait_until(lambda: time.time() - answered > 2, what="the answers to be out of date")
    for key, value in old.items():
        memcached.set(key, value)
    with milter.counted() as count:
        answers = milter.ask("alice@example.test", "ghost@example.test")
    assert [answer.code for answer in answers] == [450, 250]
    assert count["memcache_forged_values"] == 0 and count["memcache_hits"] == 0


def test_nodes_with_the_same_secret_share_answers(node):
    first, second = node("primary", "p"), node("fallback", "f")
    assert first.ask("alice@example.test").code == 250
    with second.counted() as count:
        assert second.ask("alice@example.test").code == 250
    assert count["memcache_hits"] == 1 and count["mysql_queries"] == 0


def test_a_fleet_with_different_secrets_gives_no_wrong_answer(world, node):
    other = world.file("secret", "another-secret-of-24-byte", 0o600)
    fleet = [node("fallback", "a", process_cache_ttl="0s"),
             node("fallback", "b", process_cache_ttl="0s", memcache_secret_file=None),
             node("primary", "c", process_cache_ttl="0s", memcache_secret_file=other)]  # fmt: skip
    for turn in range(4):
        for milter in fleet:
            answers = milter.ask("alice@example.test", f"ghost{turn}@example.test", "bob@example.test")
            unknown = UNKNOWN[milter.config["role"]]
            assert [answer.codes for answer in answers] == [(250, ""), unknown, (250, "")]
    assert all(milter.stats()["memcache_hits"] == 0 for milter in (fleet[0], fleet[2]))


def test_forged_values_are_one_line_in_the_log_and_the_secret_is_in_none(node, memcached):
    milter = node("primary", verbose=2)
    keys = [key_of(milter, memcached, f"ghost{i}@example.test") for i in range(5)]
    for key in keys:
        memcached.set(key, b"forged")
    for i in range(5):
        milter.ask(f"ghost{i}@example.test")
    assert len(milter.log.find("warning: .*has not our seal")) == 1
    printed = rcpt_milter("-T", "-c", milter.conf)
    assert "memcache_secret_file = /" in printed.stdout
    assert SECRET not in milter.log.text() + printed.stdout + printed.stderr + milter.ctl("status").stdout


@pytest.mark.parametrize(
    "content, mode, complaint",
    [("x" * 15 + "\n", 0o600, "too few"), (SECRET, 0o644, "everybody"), (SECRET, 0o602, "everybody"),
     (None, 0o600, "No such file")],
    ids=["short", "read by all", "changed by all", "missing"],
)  # fmt: skip
def test_a_bad_secret_file_is_told_before_anything_starts(world, node, content, mode, complaint):
    bad = world.file("bad", content or "", mode)
    if content is None:
        bad.unlink()
    milter = node("primary")
    refused = "\n".join(milter.reload_refused(memcache_secret_file=bad))
    assert milter.ask("alice@example.test").code == 250, "the old configuration stays"
    tested = rcpt_milter("-t", "-c", milter.conf)
    assert tested.returncode == 78
    for text in (refused, tested.stderr):
        assert f"{milter.conf}:" in text and f"memcache_secret_file: {bad}" in text and complaint in text
        assert not content or content.strip() not in text
