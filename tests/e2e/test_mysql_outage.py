"""The directory dies, hangs, is slow, comes back; and what is said meanwhile.

No recipient may hear 5.1.1 unless the directory said so just now."""

import threading
import time

import pytest

from conftest import load_directory
from harness import mysql_table, wait_until

UNAVAILABLE = {"primary": (451, "4.4.3"), "fallback": (550, "5.4.3")}
UNKNOWN = {"primary": (450, "4.1.1"), "fallback": (550, "5.1.1")}
HELD = (451, "4.4.3")

SLEEPY = "SELECT address FROM recipients WHERE address = '%s' AND SLEEP({}) = 0"
# Says that there is nobody once the test releases the lock; quick for the catch-all probe.
GATED_NOBODY = (
    "SELECT NULLIF(GET_LOCK('gate', 20) + RELEASE_LOCK('gate'), 2) FROM DUAL"
    " WHERE '%s' NOT LIKE '@%%'"
)


def ask_all_at_once(milter, addresses):
    """address -> (answer, seconds it took), each in a session of its own."""
    answers = {}
    gate = threading.Barrier(len(addresses))

    def ask(address):
        with milter.session() as session:
            session.mail()
            gate.wait()
            start = time.monotonic()
            answers[address] = session.rcpt(address), time.monotonic() - start

    threads = [threading.Thread(target=ask, args=(address,)) for address in addresses]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == len(set(addresses))
    return answers


@pytest.mark.sanitizer
@pytest.mark.parametrize("role", ["primary", "fallback"])
def test_a_killed_mysql_leaves_cached_recipients_and_its_return_is_noticed(
    world, own_directory, own_recipients, role
):
    memcached = world.memcached()
    milter = world.milter(
        role=role, recipient_maps=own_recipients, memcache_servers=f"unix:{memcached.socket}",
        process_cache_entries="0", memcache_timeout="5s",
    )  # fmt: skip
    assert milter.ask("alice@example.test").code == 250
    assert milter.ask("ghost@example.test").codes == UNKNOWN[role]

    own_directory.kill()
    assert milter.ask("alice@example.test").code == 250, "memcached still knows alice"
    assert milter.ask("bob@example.test").codes == UNAVAILABLE[role]
    assert milter.ask("nobody@example.test").codes == UNAVAILABLE[role]

    own_directory.start()
    wait_until(lambda: milter.ask("bob@example.test").code == 250, what="bob to be known again")
    assert milter.ask("fresh@example.test").codes == UNKNOWN[role]


@pytest.mark.parametrize("role", ["primary", "fallback"])
def test_a_restart_of_mysql_between_two_questions_costs_nothing(
    world, own_directory, own_recipients, role
):
    """The pooled connections are dead, but the server is not."""
    milter = world.milter(role=role, recipient_maps=own_recipients, process_cache_entries="0")
    assert milter.ask("alice@example.test").code == 250
    own_directory.restart()
    answers = milter.ask("bob@example.test", "ghost@example.test")
    # One lookup may find the old connection dead; it may not be the last word on anybody.
    assert answers[1].codes in (UNKNOWN[role], UNAVAILABLE[role])
    wait_until(lambda: milter.ask("bob@example.test").code == 250, what="bob to be known")
    assert milter.ask("ghost2@example.test").codes == UNKNOWN[role]


@pytest.mark.parametrize("role", ["primary", "fallback"])
def test_a_hung_mysql_is_held_at_the_deadline_and_then_rested(
    world, own_directory, own_recipients, role
):
    milter = world.milter(
        role=role, recipient_maps=own_recipients, lookup_deadline="700ms",
        mysql_query_timeout="2s", mysql_connect_timeout="2s",
    )  # fmt: skip
    assert milter.ask("alice@example.test").code == 250
    own_directory.suspend()
    with milter.counted() as count:
        start = time.monotonic()
        answer = milter.ask("bob@example.test")
        assert time.monotonic() - start < 5
    assert answer.codes == HELD, "being late is our fault, not the recipient's"
    assert count["lookups_late"] == 1

    # Once the server is known to hang, nobody waits for it any more.
    wait_until(
        lambda: milter.ask("bob@example.test").codes == UNAVAILABLE[role]
        and milter.stats()["mysql_failures"] > 0,
        what="the server to be rested",
    )
    own_directory.resume()
    wait_until(lambda: milter.ask("bob@example.test").code == 250, what="bob to be known")


@pytest.mark.parametrize("role", ["primary", "fallback"])
def test_a_slow_answer_is_held_on_both_roles_and_serves_the_next_one(world, directory, role):
    milter = world.milter(
        role=role, recipient_maps=mysql_table(world, directory, SLEEPY.format(1.5)),
        lookup_deadline="500ms", mysql_query_timeout="10s",
    )  # fmt: skip
    assert milter.ask("alice@example.test").codes == HELD
    with milter.counted() as count:
        assert milter.ask("alice@example.test").codes == HELD
    assert count["lookups_late"] == 1
    log = milter.log.find("reject:.*alice@example.test")
    assert log and ("late" in log[0] or "deadline" in log[0]), log


@pytest.mark.sanitizer
@pytest.mark.parametrize("role", ["primary", "fallback"])
def test_beyond_lookup_slots_the_answer_comes_at_once_and_is_never_5xx(world, directory, role):
    """The slots are taken through rcptctl, so that no callback of libmilter's is blocked: it may
    keep new sessions waiting while one is. The lookups wait for a lock of ours."""
    milter = world.milter(
        role=role, recipient_maps=mysql_table(world, directory, GATED_NOBODY), lookup_slots="2",
        mysql_connections="4", lookup_deadline="30s", mysql_query_timeout="25s",
    )  # fmt: skip
    lookups = [threading.Thread(target=milter.ctl, args=("lookup", f"slot{i}@example.test"))
               for i in range(2)]  # fmt: skip
    with directory.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT GET_LOCK('gate', 0)")
        for lookup in lookups:
            lookup.start()
        wait_until(lambda: "2 of 2 taken" in milter.ctl("status").stdout, what="both slots")
        with milter.counted() as count:
            answers = milter.ask(*[f"shed{i}@example.test" for i in range(4)])
        assert "2 of 2 taken" in milter.ctl("status").stdout, "nobody waited for the slow ones"
        cursor.execute("SELECT RELEASE_LOCK('gate')")
    assert [answer.codes for answer in answers] == [HELD] * 4
    assert count["lookups_shed"] == 4
    for lookup in lookups:
        lookup.join()
    assert milter.ask("shed0@example.test").codes == UNKNOWN[role]


def test_with_a_hung_mysql_the_fallback_never_says_5xx_because_of_shedding(
    world, own_directory, own_recipients
):
    milter = world.milter(
        role="fallback", recipient_maps=own_recipients, lookup_slots="1",
        lookup_deadline="1500ms", mysql_query_timeout="60s", mysql_connect_timeout="60s",
    )  # fmt: skip
    assert milter.ask("alice@example.test").code == 250, "the directory has answered once"
    own_directory.suspend()
    answers = ask_all_at_once(milter, [f"hung{i}@example.test" for i in range(8)])
    assert {answer.codes for answer, _ in answers.values()} == {HELD}
    own_directory.resume()


@pytest.mark.parametrize("role", ["primary", "fallback"])
def test_a_crowd_before_a_hung_mysql_is_answered_in_time(world, own_directory, own_recipients, role):
    """libmilter starves sessions when many callbacks block: so few may."""
    milter = world.milter(
        role=role, recipient_maps=own_recipients, lookup_slots="4", lookup_deadline="1s",
        mysql_query_timeout="2s", mysql_connect_timeout="2s", verbose=0,
    )  # fmt: skip
    milter.ask("alice@example.test")
    own_directory.suspend()
    answers = ask_all_at_once(milter, [f"crowd{i}@example.test" for i in range(100)])
    own_directory.resume()
    assert {answer.codes for answer, _ in answers.values()} <= {HELD, UNAVAILABLE[role]}
    assert max(seconds for _, seconds in answers.values()) < 10
    assert milter.stats()["lookups_shed"] > 0


# The evidence rule


def test_cached_absence_alone_is_never_511_on_the_fallback(world, own_directory, own_recipients):
    """Everything in the caches says ABSENT; then the directory dies."""
    memcached = world.memcached()
    options = {
        "role": "fallback", "recipient_maps": own_recipients, "process_cache_ttl": "10m",
        "memcache_servers": f"unix:{memcached.socket}", "memcache_timeout": "5s",
        "negative_ttl": "10m",
    }  # fmt: skip
    warm = world.milter("warm", **options)
    cold = world.milter("cold", **options)
    addresses = [f"gone{i}@example.test" for i in range(10)]
    assert {answer.codes for answer in warm.ask(*addresses)} == {(550, "5.1.1")}
    own_directory.kill()
    with warm.counted() as from_process, cold.counted() as from_memcached:
        answers = warm.ask(*addresses) + cold.ask(*addresses)
    assert from_process["process_cache_hits"] == 10
    assert from_memcached["memcache_hits"] == 10
    assert {answer.codes for answer in answers} <= {(550, "5.4.3"), HELD}


def test_the_fallback_asks_again_before_it_refuses_and_finds_the_new_recipient(
    world, own_directory, own_recipients
):
    milter = world.milter(
        role="fallback", recipient_maps=own_recipients, process_cache_ttl="10m", negative_ttl="10m"
    )
    assert milter.ask("newcomer@example.test").codes == (550, "5.1.1")
    own_directory.sql("INSERT INTO recipients (address) VALUES ('newcomer@example.test')")
    with milter.counted() as count:
        assert milter.ask("newcomer@example.test").code == 250
    assert count["process_cache_hits"] == 1 and count["directory_found"] == 1
    with milter.counted() as count:
        assert milter.ask("newcomer@example.test").code == 250
    assert count["mysql_queries"] == 0, "the new answer replaced the old one in the cache"


def test_a_primary_believes_a_cached_absence_until_negative_ttl(world, own_directory, own_recipients):
    milter = world.milter(recipient_maps=own_recipients, process_cache_ttl="10m", negative_ttl="2s")
    assert milter.ask("later@example.test").codes == (450, "4.1.1")
    own_directory.sql("INSERT INTO recipients (address) VALUES ('later@example.test')")
    assert milter.ask("later@example.test").codes == (450, "4.1.1")
    wait_until(lambda: milter.ask("later@example.test").code == 250, what="negative_ttl to pass")


def test_a_stale_answer_in_memcached_vouches_while_mysql_is_down(world, own_directory, own_recipients):
    memcached = world.memcached()
    milter = world.milter(
        role="fallback", recipient_maps=own_recipients, process_cache_entries="0",
        memcache_servers=f"unix:{memcached.socket}", positive_ttl="1s", stale_ttl="1h",
        memcache_timeout="5s",
    )  # fmt: skip
    assert milter.ask("alice@example.test").code == 250
    with milter.counted() as count:
        wait_until(lambda: milter.ask("alice@example.test").code == 250
                   and milter.stats()["directory_found"] > 1, what="positive_ttl to pass")  # fmt: skip
    assert count["stale_vouched"] == 0
    own_directory.kill()
    wait_until(lambda: milter.ask("alice@example.test").code == 250
               and milter.stats()["stale_vouched"] > 0, what="the stale answer to vouch")  # fmt: skip
    assert milter.ask("bob@example.test").codes == (550, "5.4.3")


# How the directory is asked


def test_one_query_is_sent_however_many_ask_for_one_recipient(world, own_directory):
    """The query waits for a lock of ours, so that the others come while it is under way."""
    milter = world.milter(
        role="primary", recipient_maps=mysql_table(world, own_directory, GATED_NOBODY),
        process_cache_entries="0", lookup_deadline="30s", mysql_query_timeout="25s",
    )  # fmt: skip
    answers = []

    def ask():
        answers.append(milter.ask("same@example.test", limit=60))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    with own_directory.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT GET_LOCK('gate', 0)")
        for thread in threads:
            thread.start()
        # Not all of them: libmilter may keep some sessions waiting while callbacks block.
        wait_until(lambda: milter.stats()["mysql_joined"] >= 3, what="the others to join")
        # They may have joined a job whose worker is still connecting.
        running = wait_until(lambda: own_directory.running(containing="'same@example.test'"),
                             what="the query")  # fmt: skip
        assert len(running) == 1
        cursor.execute("SELECT RELEASE_LOCK('gate')")
    for thread in threads:
        thread.join()
    assert [answer.codes for answer in answers] == [(450, "4.1.1")] * 6


def test_no_more_connections_are_made_than_configured(world, own_directory, own_recipients):
    milter = world.milter(recipient_maps=own_recipients, mysql_connections="3", lookup_slots="12")
    ask_all_at_once(milter, [f"many{i}@example.test" for i in range(30)])
    assert 1 <= len(own_directory.running()) <= 3


def test_nothing_a_client_sends_becomes_sql(world, own_directory):
    own_directory.watch_queries()
    query = "SELECT address FROM recipients WHERE address = '%s'"
    milter = world.milter(recipient_maps=mysql_table(world, own_directory, query))
    hostile = ['"\' OR 1=1 -- "@example.test', "'or'1'='1@example.test", '"\\\\\' OR 1=1 #"@example.test',
               '"x\';DROP TABLE recipients;--"@example.test']  # fmt: skip
    for address in hostile:
        assert milter.ask(address).codes == (450, "4.1.1"), address
    queries = own_directory.queries("FROM recipients")
    assert len(queries) >= 2 * len(hostile)
    for query in queries:
        literal = query.partition(b"address = '")[2]
        assert b"'" not in literal[:-1].replace(b"\\\\", b"").replace(b"\\'", b""), query
    assert own_directory.sql("SELECT COUNT(*) FROM recipients")[0][0] > 0


# Recipes


@pytest.mark.parametrize(
    "query",
    ["SELECT recipient_of('%s')", "CALL find_recipient('%s')", "CALL find_recipient_or_null('%s')"],
    ids=["function", "procedure_with_no_row", "procedure_with_a_null"],
)
@pytest.mark.parametrize("role", ["primary", "fallback"])
def test_a_stored_routine_works_without_a_derived_table(world, directory, query, role):
    milter = world.milter(role=role, recipient_maps=mysql_table(world, directory, query))
    for i in range(3):
        answers = milter.ask("alice@example.test", f"never{i}@example.test", "bob@example.test")
        assert [answer.code for answer in answers] == [250, UNKNOWN[role][0], 250]
    assert milter.stats()["mysql_failures"] == 0


@pytest.mark.parametrize("table, charset", [("latin1_recipient", "utf8mb4"), ("utf8mb3_recipient", "utf8mb4"),
                                            ("latin1_recipient", None), ("utf8mb3_recipient", None)])  # fmt: skip
@pytest.mark.parametrize("role", ["primary", "fallback"])
def test_an_emoji_against_an_old_charset_is_answered_and_hurts_nobody_else(
    world, directory, table, charset, role
):
    options = {"charset": charset} if charset else {}
    maps = mysql_table(world, directory, f"SELECT address FROM {table} WHERE address = '%s'", **options)
    milter = world.milter(role=role, recipient_maps=maps, process_cache_entries="0")
    for _ in range(3):
        answers = milter.ask("😀@example.test", "alice@example.test", "ghost@example.test",
                             "ünder@example.test", "bob@example.test")  # fmt: skip
        assert answers[0].codes in (UNAVAILABLE[role], UNKNOWN[role], HELD)
        assert [answer.code for answer in answers[1:3]] == [250, UNKNOWN[role][0]]
        assert answers[4].code == 250
    stats = milter.stats()
    assert stats["mysql_failures"] == 0, "an error of one key is none of the server's"
    assert stats["mysql_key_errors"] > 0 or table != "latin1_recipient", "MariaDB raised its error"
    assert stats["mysql_connects"] <= 4


def test_a_collation_error_is_unavailable_and_never_511(world, directory):
    """The comparison itself fails (error 1267): nobody said that there is no such recipient."""
    query = (
        "SELECT address FROM recipients WHERE address = '%s'"
        " AND address COLLATE utf8mb4_bin = address COLLATE utf8mb4_general_ci"
    )
    # ghost is in a file, so that the directory has answered before the error comes.
    good = world.file("good", "ghost@example.test OK\n")
    milter = world.milter(
        role="fallback", recipient_maps=f"texthash:{good}, {mysql_table(world, directory, query)}"
    )
    assert milter.ask("ghost@example.test").code == 250
    assert milter.ask("alice@example.test").codes == UNAVAILABLE["fallback"]
    assert milter.stats()["mysql_key_errors"] > 0


@pytest.mark.parametrize("role", ["primary", "fallback"])
@pytest.mark.parametrize(
    "change",
    [{"password": "wrong"}, {"dbname": "nothere"}, {"query": "SELECT nosuch FROM recipients WHERE address='%s'"},
     {"query": "SELECT address FROM nosuch WHERE address='%s'"}, {"query": "SELEKT '%s'"}],
    ids=["password", "database", "column", "table", "syntax"],
)  # fmt: skip
def test_a_wrong_set_up_is_unavailable_never_unknown(world, directory, change, role):
    settings = {"query": "SELECT address FROM recipients WHERE address = '%s'", **change}
    milter = world.milter(role=role, recipient_maps=mysql_table(world, directory, **settings))
    for address in ("alice@example.test", "ghost@example.test"):
        assert milter.ask(address).codes == HELD, "on the fallback, too: it has never answered"
    milter.log.wait("mysql")
    assert "s3cret-Passw0rd" not in milter.log.text()


def test_a_second_host_answers_when_the_first_is_dead(world, own_directory, directory):
    hosts = f"unix:{own_directory.socket} unix:{directory.socket}"
    milter = world.milter(
        role="fallback", process_cache_entries="0",
        recipient_maps=mysql_table(
            world, directory, "SELECT address FROM recipients WHERE address = '%s'", hosts=hosts
        ),
    )  # fmt: skip
    assert milter.ask("alice@example.test").code == 250
    own_directory.kill()
    wait_until(lambda: milter.ask("bob@example.test").code == 250, what="the second host")
    codes = {milter.ask(f"{name}@example.test").codes for name in ("u1", "u2", "u3", "u4")}
    assert codes == {(550, "5.1.1")}


def test_tcp_works_like_the_unix_socket(world):
    database = load_directory(world.mariadb("tcp", tcp=True))
    database.sql("CREATE USER checker@'127.0.0.1' IDENTIFIED BY 's3cret-Passw0rd'")
    database.sql("GRANT SELECT ON mail.* TO checker@'127.0.0.1'")
    milter = world.milter(recipient_maps=mysql_table(
        world, database, "SELECT address FROM recipients WHERE address = '%s'",
        hosts=f"inet:127.0.0.1:{database.port}",
    ))  # fmt: skip
    assert [a.code for a in milter.ask("alice@example.test", "ghost@example.test")] == [250, 450]
