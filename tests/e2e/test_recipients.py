"""Every kind of recipient, on both roles, answered by each tier in turn.

The first question finds nothing cached, the second the process cache. A second daemon without a
process cache shares memcached with the first: its answer comes from there."""

import dataclasses

import pytest

from conftest import example_map, load_directory
from harness import SmtpClient, World, mysql_table

pytestmark = pytest.mark.sanitizer

PASS = "pass"
UNKNOWN = "unknown"
FOREIGN = "foreign"
MALFORMED = "malformed"
UNASKED = "pass, and nobody was asked"

ANSWERS = {
    "primary": {UNKNOWN: (450, "4.1.1"), MALFORMED: (450, "4.1.3")},
    "fallback": {UNKNOWN: (550, "5.1.1"), MALFORMED: (550, "5.1.3")},
}


@dataclasses.dataclass
class Kind:
    name: str
    argument: str | bytes
    expected: str
    raw: bool = False  # Postfix would not let it through
    options: str = ""


KINDS = [
    Kind("a known recipient", "alice@example.test", PASS),
    Kind("a known recipient in capitals", "BOB@Example.TEST", PASS),
    Kind("a recipient that is not active", "retired@example.test", UNKNOWN),
    Kind("an unknown recipient", "nobody@example.test", UNKNOWN),
    Kind("a plus-addressed known recipient", "alice+lists@example.test", PASS),
    Kind("a plus-addressed unknown recipient", "nobody+lists@example.test", UNKNOWN),
    Kind("a recipient of a catch-all", "whoever@all.test", PASS),
    Kind("a known recipient of an alias domain", "alice@alias.test", PASS),
    Kind("an unknown recipient of an alias domain", "nobody@alias.test", UNKNOWN),
    Kind("a recipient of a foreign domain", "alice@foreign.test", FOREIGN),
    Kind("bare postmaster", "postmaster", UNASKED),
    Kind("postmaster of a domain", "postmaster@example.test", UNKNOWN),
    Kind("a malformed address", "two words@example.test", MALFORMED, raw=True),
    Kind("an address without a local part", "<@example.test>", MALFORMED, raw=True),
    Kind("bytes that are not UTF-8", b"caf\xe9@example.test", MALFORMED, raw=True),
    Kind("a known quoted local part", '"john doe"@example.test', PASS),
    Kind("an unknown quoted local part", '"jane doe"@example.test', UNKNOWN),
    Kind("a local part quoted without need", '"carol"@example.test', PASS),
    Kind("a known SMTPUTF8 recipient", "jürgen@example.test", PASS, options="SMTPUTF8"),
    Kind("another known SMTPUTF8 recipient", "用户@example.test", PASS, options="SMTPUTF8"),
    Kind("an unknown SMTPUTF8 recipient", "zoë@example.test", UNKNOWN, options="SMTPUTF8"),
    Kind("a known SMTPUTF8 recipient in capitals", "CRÈME@example.test", PASS, options="SMTPUTF8"),
    Kind("a known SMTPUTF8 recipient in pieces", "e\u0301lan@example.test", PASS, options="SMTPUTF8"),
    Kind("an unknown SMTPUTF8 recipient in pieces", "noe\u0308l@example.test", UNKNOWN, options="SMTPUTF8"),
    Kind("a domain as it is stored, with U-labels", "anna@bücher.test", PASS, options="SMTPUTF8"),
    Kind("such a domain with A-labels", "bert@xn--bcher-kva.test", PASS),
    Kind("such a domain in capitals", "CORA@BÜCHER.test", PASS, options="SMTPUTF8"),
    Kind("an unknown recipient of such a domain", "nobody@xn--bcher-kva.test", UNKNOWN),
    Kind("a domain as it is stored, with A-labels", "anna@xn--zouo53b.test", PASS),
    Kind("such a domain with U-labels", "bert@用户.test", PASS, options="SMTPUTF8"),
    Kind("an unknown recipient of that one", "nobody@用户.test", UNKNOWN, options="SMTPUTF8"),
    Kind("a foreign domain with A-labels", "alice@xn--fiqs8s.test", FOREIGN),
    Kind("a recipient routed through this host", "routed%example.test@[127.0.0.1]", PASS),
    Kind("an unknown one routed through this host", "example.test!lost@mx.test", UNKNOWN),
    Kind("a look-alike of a known SMTPUTF8 recipient", "jurgen@example.test", UNKNOWN),
    Kind("a local part of 1000 bytes", "x" * 1000 + "@example.test", UNKNOWN),
    Kind("a control character", b"ali\x01ce@example.test", MALFORMED),
    Kind("a line feed", b"alice\n@example.test", MALFORMED, raw=True),
    Kind("SQL text", "\"' or 1=1 -- \"@example.test", UNKNOWN),
    Kind("SQL text with a backslash", "\"\\\\' or 1=1 -- \"@example.test", UNKNOWN),
    Kind("SQL text without blanks", "'or'1'='1@example.test", UNKNOWN),
    Kind("a wildcard of LIKE", "%@example.test", UNKNOWN, raw=True),
    Kind("another wildcard of LIKE", "_lice@example.test", UNKNOWN),
    Kind("memcached protocol text", '"flush_all noreply"@example.test', UNKNOWN),
    Kind("memcached protocol lines", b'"a\r\nflush_all\r\n"@example.test', MALFORMED, raw=True),
]

# Beside those of schema.sql; a domain in one form only.
MORE_DOMAINS = ["bücher.test", "xn--zouo53b.test"]
MORE_RECIPIENTS = [
    "crème@example.test", "élan@example.test", "routed@example.test", "anna@bücher.test", "bert@bücher.test",
    "cora@bücher.test", "anna@xn--zouo53b.test", "bert@xn--zouo53b.test",
]  # fmt: skip


class Nodes:
    """Per role: `first` with a process cache, `second` without; both behind one Postfix."""

    def __init__(self, world, recipients, domains):
        self.memcached = world.memcached()
        self.mx = world.postfix_not_started(
            relay_domains="example.test all.test alias.test foreign.test bücher.test xn--bcher-kva.test"
            " 用户.test xn--zouo53b.test xn--fiqs8s.test",
            allow_untrusted_routing="yes",
        )
        self.milters = {}
        directory = self.mx.milter_directory()
        for role in ("primary", "fallback"):
            for place, cache in (("first", {"process_cache_ttl": "10m"}),
                                 ("second", {"process_cache_entries": "0"})):  # fmt: skip
                name = f"{role}-{place}"
                self.milters[name] = world.milter(
                    name, socket_directory=directory, role=role, recipient_delimiter="+",
                    recipient_maps=recipients, domain_maps=domains,
                    memcache_servers=f"unix:{self.memcached.socket}",
                    memcache_key_prefix=f"{role}:", memcache_timeout="5s", lookup_deadline="20s",
                    mysql_query_timeout="15s", negative_ttl="10m", **cache,
                )  # fmt: skip
        self.mx.listen_with(self.milters).start()

    def ask(self, role, place, kind):
        """(the answer, what was counted)"""
        name = f"{role}-{place}"
        milter = self.milters[name]
        with milter.counted() as count:
            if kind.raw:
                answer = milter.ask(kind.argument)
            else:
                with SmtpClient(self.mx.port(name)) as session:
                    assert session.mail(options=kind.options).code == 250
                    answer = session.rcpt(kind.argument)
        return answer, count


@pytest.fixture(scope="module")
def nodes(scratch):
    with World(scratch) as world:
        database = load_directory(world.mariadb())
        for domain in MORE_DOMAINS:
            database.sql("INSERT INTO domains (domain) VALUES (%s)", domain)
        for address in MORE_RECIPIENTS:
            database.sql("INSERT INTO recipients (address) VALUES (%s)", address)
        maps = [example_map(world, database, f"mysql-{name}.cf") for name in ("recipients", "domains")]
        yield Nodes(world, *maps)


def check_tier(kind, role, tier, count):
    hits = {"process_cache": count["process_cache_hits"], "memcache": count["memcache_hits"]}
    if kind.expected in (MALFORMED, UNASKED):
        assert not any(hits.values()) and count["mysql_queries"] == 0, count
        return
    assert hits == {name: int(name == tier) for name in hits}, count
    # The fallback says 5xx only after it has asked the directory itself (DESIGN 3).
    asks = tier == "directory" or (kind.expected == UNKNOWN and role == "fallback")
    answers = {"directory_found": 0, "directory_absent": 0}
    if asks:
        answers["directory_found" if kind.expected == PASS else "directory_absent"] = 1
    assert {name: count[name] for name in answers} == answers, count
    assert (count["mysql_queries"] > 0) == asks, count


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name.replace(" ", "_"))
@pytest.mark.parametrize("role", ["primary", "fallback"])
def test_each_tier_gives_the_same_right_answer(nodes, role, kind):
    for place, tier in (("first", "directory"), ("first", "process_cache"), ("second", "memcache")):
        answer, count = nodes.ask(role, place, kind)
        expected = ANSWERS[role].get(kind.expected)
        if expected:
            assert answer.codes == expected, (tier, answer)
        else:
            assert answer.code == 250, (tier, answer)
        check_tier(kind, role, tier, count)


def test_nothing_a_client_sent_was_a_memcached_command(nodes):
    assert nodes.memcached.stat("cmd_flush") == 0
    assert all(key.startswith(("primary:", "fallback:")) for key in nodes.memcached.keys())


def test_a_flush_of_either_form_of_a_domain_forgets_both(nodes):
    milter = nodes.milters["primary-first"]

    def tiers(*addresses):
        found = []
        for address in addresses:
            with milter.counted() as count:
                milter.ask(address)
            found.append("directory" if count["mysql_queries"] else "cache")
        return found

    both = "dora@bücher.test", "dora@xn--bcher-kva.test"
    for flushed in ["BÜCHER.test", "xn--bcher-kva.test", "DORA@Bücher.test", "dora@XN--Bcher-KVA.test"]:
        assert milter.ctl("flush", flushed).returncode == 0
        assert tiers(*both) == ["directory", "cache"], flushed
        assert tiers(*both) == ["cache", "cache"], flushed


@pytest.mark.parametrize("role", ["primary", "fallback"])
def test_a_table_without_the_letters_of_a_domain_says_so_of_its_a_labels_only(world, own_directory, role):
    """latin1 and a domain in Chinese: the server refuses to compare them (1267). Mail for such a
    domain of somebody else's must go on, and our own recipients must be found."""
    own_directory.sql("INSERT INTO latin1_recipient VALUES ('xn--zouo53b.test'), ('anna@xn--zouo53b.test')")

    def table(name, column="address"):
        query = f"SELECT {column} FROM latin1_recipient WHERE address = '%s'"
        return mysql_table(world, own_directory, query, name=name)

    milter = world.milter(role=role, recipient_maps=table("recipients"), domain_maps=table("domains"),
                          access_maps=table("access", "'DUNNO'"), lookup_deadline="20s", mysql_query_timeout="15s")  # fmt: skip
    assert milter.ask("anna@xn--zouo53b.test").code == 250
    assert milter.ask("anna@用户.test").code == 250
    with milter.counted() as count:
        assert milter.ask("whoever@xn--fiqs8s.test").code == 250, "a foreign domain"
        assert milter.ask("nobody@xn--zouo53b.test").codes == ANSWERS[role][UNKNOWN]
    assert count["verdict_foreign"] == 1 and count["mysql_key_errors"] > 0, count
