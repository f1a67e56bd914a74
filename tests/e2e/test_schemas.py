"""Directories people really have: their tables, their own query files, unchanged, and what Postfix
answered; and our own small schema beside them, for the project alone.

What each query file answers for each key (postmap-q.tsv) is compared in
tests/unit/test_mysql_client.c. Here are whole recipients, through a Postfix."""

import csv
import dataclasses

import pytest

from conftest import ROOT, example_map, load_directory
from harness import SmtpClient, World

SCHEMAS = ROOT.parent / "shared" / "schemas"
ROLES = ["primary", "fallback"]
USER, PASSWORD = "checker", "s3cret-Passw0rd"


@dataclasses.dataclass
class Schema:
    folder: str
    database: str
    # What its administrator copies from main.cf: the maps of recipients, and those of the domains
    # whose recipients they know.
    recipient_maps: list
    domain_maps: list
    relayed: list = dataclasses.field(default_factory=list)  # domains whose recipients nobody knows

    def __str__(self):
        return self.folder


# The maps are those Postfix was asked with for smtpd-rcpt.tsv: with virtual_mailbox_domains (and
# relay_domains, virtual_alias_domains), virtual_mailbox_maps, virtual_alias_maps, relay_recipient_maps
# as the projects' own main.cf has them (ORIGIN.tsv).
REAL = [
    Schema(
        "postfixadmin", "postfixadmin",
        ["mysql_virtual_mailbox_maps.cf", "mysql_virtual_alias_domain_mailbox_maps.cf",
         "mysql_virtual_alias_maps.cf", "mysql_virtual_alias_domain_maps.cf",
         "mysql_virtual_alias_domain_catchall_maps.cf"],
        ["mysql_virtual_domains_maps.cf"],
    ),
    Schema(
        "iredmail", "iredmail",
        ["virtual_mailbox_maps.cf", "domain_alias_maps.cf", "virtual_alias_maps.cf",
         "domain_alias_catchall_maps.cf", "catchall_maps.cf"],
        ["virtual_mailbox_domains.cf"], ["relay_domains.cf"],
    ),
    Schema(
        "mailcow", "mailcow",
        ["mysql_virtual_mailbox_maps.cf", "mysql_virtual_alias_maps.cf", "mysql_virtual_resource_maps.cf",
         "mysql_virtual_spamalias_maps.cf", "mysql_virtual_alias_domain_maps.cf",
         "mysql_relay_recipient_maps.cf"],
        ["mysql_virtual_domains_maps.cf", "mysql_virtual_relay_domain_maps.cf"],
    ),
    Schema(
        "modoboa", "modoboa",
        ["sql-aliases.cf"], ["sql-domains.cf", "sql-domain-aliases.cf"], ["sql-relaydomains.cf"],
    ),
    Schema(
        "ispmail-workaround", "ispmail",
        ["mysql-virtual-mailbox-maps.cf", "mysql-virtual-alias-maps.cf", "mysql-email2email.cf"],
        ["mysql-virtual-mailbox-domains.cf"],
    ),
]  # fmt: skip


def recorded(name):
    with open(SCHEMAS / "_oracle" / name, newline="", encoding="utf-8") as file:
        return list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def load(database, schema):
    database.sql(f"CREATE DATABASE {schema.database}", database=None)
    script = (SCHEMAS / schema.folder / "ddl.mariadb.sql").read_text()
    script += (SCHEMAS / "_oracle/seeds" / f"{schema.database}.sql").read_text()
    path = database.directory / f"{schema.database}.sql"
    path.write_text("SET foreign_key_checks = 0;\n" + script)
    database.load(path, database=schema.database)
    database.sql(f"GRANT SELECT, EXECUTE ON {schema.database}.* TO {USER}@localhost", database=None)


def query_file(world, database, schema, name):
    text = (SCHEMAS / schema.folder / "cf" / name).read_text()
    for placeholder, value in (("@USER@", USER), ("@PASSWORD@", PASSWORD), ("@SOCK@", database.socket)):
        text = text.replace(placeholder, str(value))
    return f"mysql:{world.file(name, text, 0o640)}"


def domains_of(schema):
    """What Postfix relays for: the domains its own maps of domains have."""
    maps = schema.domain_maps + schema.relayed
    rows = recorded("postmap-q.tsv")
    return [row[2] for row in rows
            if row[0] == schema.folder and row[1] in maps and row[3] == "0" and "@" not in row[2]]  # fmt: skip


class Nodes:
    """Per schema a primary and a fallback, each with a listener of a Postfix that relays for the
    schema's domains and asks nobody but the milter about recipients."""

    def __init__(self, world, schemas, maps):
        """maps(schema) -> (recipient_maps, domain_maps, Postfix's domains)"""
        self.listeners, self.milters = {}, {}
        postfixes = {}  # one for each set of domains
        for schema in schemas:
            recipient_maps, domain_maps, domains = maps(schema)
            key = tuple(sorted(domains))
            if key not in postfixes:
                # Of virtual_mailbox_domains no subdomain was Postfix's, so here neither.
                postfixes[key] = world.postfix_not_started(
                    relay_domains=" ".join(key), parent_domain_matches_subdomains=""
                )
            mx = postfixes[key]
            for role in ROLES:
                name = f"{schema}-{role}"
                milter = world.milter(
                    name, socket_directory=mx.milter_directory(), role=role, recipient_delimiter="+",
                    recipient_maps=" ".join(recipient_maps), domain_maps=" ".join(domain_maps),
                    lookup_deadline="20s", mysql_query_timeout="15s",
                )  # fmt: skip
                mx.listeners[name] = {"smtpd_milters": mx.milter(milter.socket)}
                self.listeners[name] = mx
                self.milters[name] = milter
        for mx in postfixes.values():
            mx.start()

    def session(self, schema, role):
        name = f"{schema}-{role}"
        return SmtpClient(self.listeners[name].port(name))


# ---- the real ones ----


@pytest.fixture(scope="module")
def nodes(scratch):
    if not SCHEMAS.is_dir():
        pytest.skip(f"{SCHEMAS} IS MISSING: the mail schemas people really have ARE NOT TESTED")
    with World(scratch) as world:
        database = world.mariadb()
        database.sql(f"CREATE USER {USER}@localhost IDENTIFIED BY '{PASSWORD}'", database=None)
        for schema in REAL:
            load(database, schema)

        def maps(schema):
            return (*([query_file(world, database, schema, name) for name in names]
                      for names in (schema.recipient_maps, schema.domain_maps)), domains_of(schema))  # fmt: skip

        yield Nodes(world, REAL, maps)


@dataclasses.dataclass
class Difference:
    schemas: str
    recipients: str
    postfix: int
    ours: tuple  # on the fallback
    reason: str

    def is_of(self, schema, index, recipient, code):
        """`index`: the second alice, after the emoji, is another row than the first."""
        name = f"{recipient} again" if index == LAST_ROW else recipient
        return (schema.folder in self.schemas.split() and name in self.recipients.split("  ")
                and code == self.postfix)  # fmt: skip


LAST_ROW = 29

DIFFERENCES = [
    Difference(
        "postfixadmin ispmail-workaround", "😀@example.test", 451, (550, "5.4.3"),
        "The columns are latin1 or utf8mb3: the server refuses to compare an emoji with them (1267). Postfix and"
        " a primary defer it, which for want of an answer goes on for days; the fallback settles it (5.4.3).",
    ),
    Difference(
        "postfixadmin ispmail-workaround", "alice@example.test again", 451, (250, "2.1.5"),
        "Postfix has marked the server down for a minute because of the emoji before it, so everybody is"
        " deferred; with us that was the trouble of one key.",
    ),
    Difference(
        "modoboa",
        "bob@example.test  nobody@example.test  x\\@example.test  postmaster@example.test"
        "  \"a b\"@example.test  bob+x@example.test  😀@example.test",
        250, (550, "5.1.1"),
        "Modoboa's main.cf has no virtual_mailbox_maps, so Postfix takes every recipient of its domains and"
        " finds out later. Its sql-aliases.cf, in which each mailbox has a row, knows them.",
    ),
]  # fmt: skip


def is_postfixs_own(row):
    """Refused by Postfix before the milter is asked: a relay, or no address."""
    return "Relay access denied" in row[3] or row[2] == "501"


def on_a_primary(code, own):
    """What Postfix settles a primary leaves to the next MX; `own`: what Postfix itself settles."""
    return code if own else min(code, 499)


def check_rows(nodes, schema, role, rows):
    """rows: (recipient, code, enhanced code or None for any of the class, refused by Postfix itself)"""
    wrong = []
    with nodes.session(schema, role) as session:
        assert session.mail().code == 250
        for recipient, code, enhanced, own in rows:
            expected = code if role == "fallback" else on_a_primary(code, own)
            reply = session.rcpt(recipient)
            same = reply.code // 100 == expected // 100
            if role == "fallback" and enhanced:
                same &= (reply.code, reply.enhanced) == (code, enhanced)
            if not same:
                wrong.append(f"{recipient}: expected {expected} {enhanced or ''}, got {reply}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("schema", REAL, ids=str)
def test_a_real_schema_answers_as_postfix_did_or_better(nodes, schema, role):
    recorded_rows = [row for row in recorded("smtpd-rcpt.tsv") if row[0] == schema.folder]
    assert len(recorded_rows) == LAST_ROW + 1
    rows, explained = [], []
    for index, row in enumerate(recorded_rows):
        recipient, code = row[1], int(row[2])
        differences = [d for d in DIFFERENCES if d.is_of(schema, index, recipient, code)]
        explained += differences
        code, enhanced = differences[0].ours if differences else (code, None)
        rows.append((recipient, code, enhanced, is_postfixs_own(row)))
    check_rows(nodes, schema, role, rows)
    for difference in DIFFERENCES:
        used = sum(one is difference for one in explained)
        expected = len(difference.recipients.split("  ")) if schema.folder in difference.schemas.split() else 0
        assert used == expected, difference


@pytest.mark.parametrize("schema", REAL, ids=str)
def test_what_one_key_cannot_be_asked_does_no_harm_to_the_next(nodes, schema):
    """The emoji, then everybody else, over and over: no breaker opens, nothing is held."""
    milter = nodes.milters[f"{schema}-fallback"]
    with milter.counted() as count, nodes.session(schema, "fallback") as session:
        session.mail()
        for number in range(20):
            # Never the same key twice, so that no cache answers.
            session.rcpt(f"😀{number}@example.test")
            assert session.rcpt(f"alice+{number}@example.test").code == 250
    assert count["mysql_queries"] >= 40 and count["verdict_held"] == 0, count


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("schema", REAL, ids=str)
def test_a_catch_all_takes_what_the_tables_could_not_be_asked_for(nodes, schema, role):
    """Where the whole address cannot be compared, @domain still can."""
    with nodes.session(schema, role) as session:
        session.mail()
        assert session.rcpt("😀@catch.test").code == 250


# ---- our own ----

OWN = Schema("own", "mail", ["mysql-recipients.cf"], ["mysql-domains.cf"])
OWN_DOMAINS = ["example.test", "all.test", "alias.test", "foreign.test"]
POSTFIX = True  # refuses it before the milter is asked

# db/schema.sql with the rows of tests/e2e/schema.sql, asked with config/examples.
OWN_ROWS = [
    ("alice@example.test", 250), ("ALICE@Example.TEST", 250), ("alice+tag@example.test", 250),
    ("Alice+x+y@example.test", 250), ("retired@example.test", 550), ("retired+x@example.test", 550),
    ("nobody@example.test", 550), ("nobody+alice@example.test", 550), ("postmaster@example.test", 550),
    ("o'brien@example.test", 550), ("x\\@example.test", 550), ('"a b"@example.test', 550),
    ('"john doe"@example.test', 250), ('"JOHN DOE"@example.test', 250), ('"john doe+x"@example.test', 250),
    ('"john  doe"@example.test', 550), ('"alice "@example.test', 550), ('" alice"@example.test', 550),
    ("alice@example.test.", 250), ("_lice@example.test", 550), ('"%"@example.test', 554, POSTFIX),
    ("alice@alias.test", 250), ("alice+tag@alias.test", 250), ("nobody@alias.test", 550),
    ("retired@alias.test", 550), ('"john doe"@alias.test', 250), ("jürgen@alias.test", 250),
    ("anybody@all.test", 250), ("anybody+x@all.test", 250), ('"any body"@all.test', 250), ("😀@all.test", 250),
    # A binary collation: no look-alikes.
    ("jürgen@example.test", 250), ("JÜRGEN@example.test", 250), ("jurgen@example.test", 550),
    ("alicé@example.test", 550), ("ａｌｉｃｅ@example.test", 550), ("alice\u200b@example.test", 550),
    ("用户@example.test", 250), ("用@example.test", 550), ("😀@example.test", 550), ("alice@example.test", 250),
    # No domain of ours: what Postfix relays beside them passes, the rest Postfix refuses.
    ("anybody@foreign.test", 250), ("x@nowhere.test", 554, POSTFIX), ("alice@sub.example.test", 554, POSTFIX),
    ("alice@[192.0.2.7]", 554, POSTFIX), ("alice%other.test@example.test", 554, POSTFIX),
    ("100%s@example.test", 554, POSTFIX), ('x"y@example.test', 501, POSTFIX),
]  # fmt: skip


@pytest.fixture(scope="module")
def own_nodes(scratch):
    with World(scratch) as world:
        database = load_directory(world.mariadb())

        def maps(schema):
            return (*([example_map(world, database, name) for name in names]
                      for names in (schema.recipient_maps, schema.domain_maps)), OWN_DOMAINS)  # fmt: skip

        yield Nodes(world, [OWN], maps)


@pytest.mark.parametrize("role", ROLES)
def test_our_own_schema_with_its_examples_answers_every_kind_of_recipient(own_nodes, role):
    rows = [(recipient, code, "5.1.1" if code == 550 else None, bool(own))
            for recipient, code, *own in OWN_ROWS]  # fmt: skip
    check_rows(own_nodes, OWN, role, rows)
