"""Domains and aliases: catch-alls, alias domains, subdomains, address literals, and access_maps by
address and by domain. Where Postfix has an answer of its own, it is asked too."""

import dataclasses
import pathlib
import re
import types

import pytest

from harness import SmtpClient, World, mysql_table, rcpt_milter, rcptctl, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
MANUAL = (ROOT / "packaging/man/rcpt-milter.conf.5").read_text()
UNKNOWN = {"primary": (450, "4.1.1"), "fallback": (550, "5.1.1")}
PASS = (250, "")
ROLES = pytest.mark.parametrize("role", ["primary", "fallback"])


@pytest.fixture(scope="module")
def shared(scratch):
    """Servers of these tests alone, that none of them harms."""
    with World(scratch) as world:
        yield world


def codes(answer):
    return PASS if answer.code == 250 else answer.codes


def texthash(world, name, lines):
    return f"texthash:{world.file(name, ''.join(line + chr(10) for line in lines), 0o644)}"


# ---- alias domains: the manual's examples, on tables like PostfixAdmin's ----

TABLES = """
CREATE TABLE domain (domain VARCHAR(255) PRIMARY KEY);
CREATE TABLE alias (address VARCHAR(255) PRIMARY KEY, goto TEXT NOT NULL, active CHAR(1) DEFAULT '1');
CREATE TABLE mailbox (username VARCHAR(255) PRIMARY KEY, maildir VARCHAR(255) NOT NULL,
    active CHAR(1) DEFAULT '1');
CREATE TABLE alias_domain (alias_domain VARCHAR(255) PRIMARY KEY, target_domain VARCHAR(255) NOT NULL,
    active CHAR(1) DEFAULT '1');
CREATE TABLE access (pattern VARCHAR(255) PRIMARY KEY, action VARCHAR(255) NOT NULL);
INSERT INTO domain VALUES ('target.test'), ('alias.test'), ('all.test'), ('alias-of-all.test'),
    ('chain.test'), ('loop.test'), ('pool.test'), ('alias-of-other.test'), ('off.test');
INSERT INTO mailbox (username, maildir) VALUES ('bob@target.test', 'bob/');
INSERT INTO alias (address, goto) VALUES ('sales@target.test', 'bob@target.test'),
    ('@all.test', 'bob@target.test'), ('own@alias.test', 'bob@target.test');
INSERT INTO mailbox VALUES ('gone@target.test', 'gone/', '0');
INSERT INTO alias_domain (alias_domain, target_domain) VALUES ('alias.test', 'target.test'),
    ('alias-of-all.test', 'all.test'), ('chain.test', 'alias.test'), ('loop.test', 'pool.test'),
    ('pool.test', 'loop.test'), ('alias-of-other.test', 'other.test');
INSERT INTO alias_domain VALUES ('off.test', 'target.test', '0');
CREATE USER checker@localhost IDENTIFIED BY 's3cret-Passw0rd';
GRANT SELECT ON mail.* TO checker@localhost;
"""


def start_postfixadmin(world):
    database = world.mariadb()
    database.sql("CREATE DATABASE mail CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", database=None)
    script = database.directory / "tables.sql"
    script.write_text(TABLES)
    return database.load(script, database="mail")


@pytest.fixture(scope="module")
def postfixadmin(shared):
    return start_postfixadmin(shared)


def manual_query(name):
    """The query of an example file in rcpt-milter.conf(5)."""
    found = re.search(rf"(?m)^# {re.escape(name)}\b.*\nquery = (.*\n(?:[ ]{{4}}.*\n)*)", MANUAL)
    assert found, name
    return " ".join(found.group(1).split())


def manual_maps(world, database, *names):
    return ", ".join(mysql_table(world, database, manual_query(name), name=name) for name in names)


MAILBOX = "SELECT maildir FROM mailbox WHERE username = '%s' AND active = '1'"
DOMAIN = "SELECT domain FROM domain WHERE domain = '%s'"


def start_node(world, database, role="fallback", follow=True, **config):
    """With the manual's second example; without `follow`, the same maps and no more."""
    mailbox = mysql_table(world, database, MAILBOX, name="mailbox.cf")
    return world.milter(
        role=role, recipient_delimiter="+", process_cache_entries="0",
        domain_maps=mysql_table(world, database, DOMAIN, name="domains.cf"),
        recipient_maps=f"{manual_maps(world, database, 'alias_row.cf', 'alias.cf')}, {mailbox}",
        follow_domain_alias="yes" if follow else "no", **config,
    )  # fmt: skip


@pytest.fixture(scope="module")
def follower(shared, postfixadmin):
    nodes = {}

    def get(role):
        if role not in nodes:
            nodes[role] = start_node(shared, postfixadmin, role)
        return nodes[role]

    return get


@pytest.mark.sanitizer
@ROLES
def test_alias_domains_in_plain_sql_have_the_users_of_their_targets(world, postfixadmin, role):
    mailbox = mysql_table(world, postfixadmin, MAILBOX, name="mailbox.cf")
    joined = manual_maps(world, postfixadmin, "alias.cf", "alias_domain.cf", "alias_domain_mailbox.cf")
    milter = world.milter(role=role, recipient_maps=f"{joined}, {mailbox}")
    for address in ("bob@alias.test", "sales@alias.test", "own@alias.test", "bob@target.test"):
        assert codes(milter.ask(address)) == PASS, address
    for address in ("nobody@alias.test", "gone@alias.test", "bob@off.test", "nobody@target.test"):
        assert codes(milter.ask(address)) == UNKNOWN[role], address


@ROLES
@pytest.mark.parametrize("address, exists", [
    ("bob@alias.test", True), ("BOB+lists@Alias.Test", True), ("sales@alias.test", True),
    ("own@alias.test", True), ("bob@target.test", True), ("anybody@all.test", True),
    ("nobody@alias.test", False), ("nobody+x@alias.test", False), ("gone@alias.test", False),
    ("nobody@target.test", False), ("bob@off.test", False), ('"a b"@alias.test', False),
    ("anybody@alias-of-all.test", True),
    # Whatever is more than one step away, or not ours, is not refused.
    ("anybody@chain.test", True), ("anybody@loop.test", True), ("anybody@pool.test", True),
    ("anybody@alias-of-other.test", True),
])  # fmt: skip
def test_followed_aliases_have_the_users_of_their_targets(follower, role, address, exists):
    assert codes(follower(role).ask(address)) == (PASS if exists else UNKNOWN[role])


def test_without_follow_domain_alias_an_alias_domain_takes_everybody(world, postfixadmin):
    milter = start_node(world, postfixadmin, follow=False)
    assert [milter.ask(f"{user}@alias.test").code for user in ("bob", "nobody")] == [250, 250]


def test_only_an_alias_domain_costs_more_queries(follower):
    milter = follower("fallback")
    maps = 3

    def queries(address):
        with milter.counted() as count:
            milter.ask(address)
        return count["mysql_queries"]

    domain = 1
    assert queries("bob@target.test") == domain + maps
    assert queries("anybody@all.test") == domain + maps + 2, "the catch-all is in the second map"
    assert queries("nobody@target.test") == domain + 2 * maps
    assert queries("bob@alias.test") == domain + 2 * maps + maps
    assert queries("nobody@alias.test") == domain + 2 * maps + 2 * maps + domain


def test_the_way_of_an_alias_is_told(follower):
    milter = follower("fallback")
    done = milter.ctl("lookup", "--explain", "--no-cache", "bob@alias.test")
    assert done.returncode == 0, done
    assert "@alias.test points to @target.test, so bob@target.test is looked up" in done.stdout
    done = milter.ctl("lookup", "--explain", "--no-cache", "bob@alias-of-other.test")
    assert done.returncode == 0 and "other.test is not in domain_maps" in done.stdout, done
    assert milter.ctl("lookup", "nobody@alias.test").returncode == 1


@pytest.mark.sanitizer
def test_an_alias_domain_survives_the_directory(world):
    """The one who was seen passes while the directory is away; a stranger is not said to be unknown."""
    database = start_postfixadmin(world)
    milter = start_node(world, database)
    assert codes(milter.ask("bob+one@alias.test")) == PASS
    wait_until(lambda: milter.stats()["known_good_entries"] == 1, what="the store to have him")
    database.kill()
    assert codes(milter.ask("bob+two@alias.test")) == PASS
    assert milter.ask("nobody@alias.test").enhanced in ("5.4.3", "4.4.3")


def test_an_alias_whose_target_cannot_be_asked_for_proves_nothing(world, postfixadmin):
    milter = world.milter(
        role="fallback", domain_maps="static:ours", follow_domain_alias="yes",
        fallback_unavailable_reply="451 4.4.3 later",
        recipient_maps="inline:{{@alias.test=@target.test}}, " + mysql_table(
            world, postfixadmin,
            "SELECT IF('%d' = 'target.test', (SELECT 1 UNION SELECT 2), NULL)", name="broken.cf"),
    )  # fmt: skip
    assert milter.ask("nobody@alias.test").codes == (451, "4.4.3")


@pytest.mark.parametrize("line, complaint", [
    ("follow_domain_alias = yes", r":2: follow_domain_alias: needs domain_maps"),
    ("parent_domain_matches_subdomains = domain_maps, relay_domains",
     r':2: parent_domain_matches_subdomains: "relay_domains" is none of domain_maps'),
    ("follow_domain_alias = maybe", r":2: follow_domain_alias: "),
])  # fmt: skip
def test_a_contradiction_is_told_with_its_place(world, line, complaint):
    conf = world.file("bad.conf", f"recipient_maps = static:x\n{line}\n")
    done = rcpt_milter("-t", "-c", conf)
    assert done.returncode != 0 and re.search(complaint, done.stderr), done


# ---- catch-alls ----


@ROLES
def test_a_catch_all_takes_its_domain_and_nothing_else(world, postfixadmin, role):
    postfixadmin.sql("REPLACE INTO access VALUES ('closed@all.test', '550 5.2.1 closed')")
    milter = start_node(
        world, postfixadmin, role, parent_domain_matches_subdomains="domain_maps",
        access_maps=mysql_table(
            world, postfixadmin, "SELECT action FROM access WHERE pattern = '%s'", name="access.cf"),
    )  # fmt: skip
    assert codes(milter.ask("anybody@all.test")) == PASS
    assert codes(milter.ask("anybody@sub.all.test")) == UNKNOWN[role], "the domain is ours, he is not"
    assert codes(milter.ask("closed@all.test")) == (550, "5.2.1")
    with milter.counted() as count:
        assert codes(milter.ask("anybody@foreign.test")) == PASS
    assert count["verdict_foreign"] == 1


# ---- subdomains: the same table in Postfix and here ----

DOMAIN_TABLE = ["exact.test 1", ".dotted.test 1", "both.test 1", ".both.test 1", "sub.other.test 1",
                "[192.0.2.1] 1", "[ipv6:2001:db8::1] 1"]  # fmt: skip
KNOWN = ["bob@exact.test 1", "bob@sub.exact.test 1", "bob@a.dotted.test 1", "@b.a.dotted.test 1"]
DOMAINS = ["exact.test", "sub.exact.test", "b.sub.exact.test", "dotted.test", "a.dotted.test",
           "b.a.dotted.test", "both.test", "sub.both.test", "anexact.test", "other.test",
           "sub.other.test", "a.sub.other.test", "test", "foreign.example"]  # fmt: skip
STYLES = {"": "", "relay_domains, smtpd_access_maps": "domain_maps access_maps"}


@dataclasses.dataclass
class Style:
    postfix: object
    milter: object


@pytest.fixture(scope="module", params=STYLES, ids=["dots", "parents"])
def style(shared, request):
    """A Postfix and a fallback that have the same tables and read them in one style."""
    name = "parents" if request.param else "dots"
    domains = texthash(shared, f"domains-{name}", DOMAIN_TABLE)
    known = texthash(shared, f"known-{name}", KNOWN + [f"user{i}@known.test 1" for i in range(len(ACTIONS))])
    access = texthash(shared, f"access-{name}", ACCESS_TABLE)
    postfix = shared.postfix(
        name, listeners={"smtpd": {"smtpd_recipient_restrictions": f"check_recipient_access {access}, permit"}},
        relay_domains=f"known.test {domains}", relay_recipient_maps=known, recipient_delimiter="+",
        parent_domain_matches_subdomains=request.param,
    )  # fmt: skip
    milter = shared.milter(
        name, role="fallback", recipient_delimiter="+", recipient_maps=known, access_maps=access,
        domain_maps=f"{domains} inline:{{known.test=1}}", foreign_reply="554 5.7.1 foreign",
        parent_domain_matches_subdomains=STYLES[request.param],
    )  # fmt: skip
    return Style(postfix, milter)


# ---- access_maps: the same table in Postfix and here ----

# What access(5) has of each kind; user N of known.test has the Nth.
ACTIONS = [
    "OK", "ok fine", "1700000000", "permit", "DISCARD", "DUNNO", "HOLD wait", "FILTER smtp:[192.0.2.9]:25",
    "REDIRECT other@known.test", "BCC other@known.test", "PREPEND X-Seen: yes", "WARN seen", "INFO seen",
    "REJECT", "REJECT no more", "reject 5.2.1 no more", "REJECT 4.7.1 no more", "DEFER", "DEFER 4.2.1 later",
    "DEFER 5.2.1 later", "DEFER_IF_PERMIT later", "DEFER_IF_PERMIT 4.2.1 later", "DEFER_IF_REJECT later",
    "450 later", "450 4.2.1 later", "450 5.2.1 later", "550 no", "550 5.2.1 no", "550 4.2.1 no", "550 5.2.1",
    "554 5.7.1 pay $5 to $recipient", "REJECT 2.1.1 no",
]  # fmt: skip
ACCESS_TABLE = [
    *(f"user{i}@known.test {action}" for i, action in enumerate(ACTIONS)),
    "excepted@exact.test DUNNO", "excepted@sub.exact.test WARN seen", "exact.test REJECT exact",
    ".dotted.test REJECT dotted", "vip@ OK", "plus+x@ 550 5.2.1 plus", "closed@ 550 5.2.1 closed",
    "later@known.test DEFER_IF_REJECT later", "both.test DUNNO",
]  # fmt: skip


def ask_postfix(style, address):
    with SmtpClient(style.postfix.port()) as session:
        session.mail()
        return session.rcpt(address)


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("user", ["bob", "nobody", "closed"])
def test_a_domain_is_ours_where_it_is_postfixs(style, user, domain):
    address = f"{user}@{domain}"
    postfix, ours = ask_postfix(style, address), style.milter.ask(address)
    assert codes(ours) == codes(postfix) or (ours.code, postfix.code) == (250, 250), (postfix, ours)


@pytest.mark.parametrize("number", range(len(ACTIONS)), ids=lambda number: ACTIONS[number].replace(" ", "_"))
def test_an_action_is_what_it_is_to_postfix(style, number):
    postfix, ours = (ask(f"user{number}@known.test") for ask in (lambda a: ask_postfix(style, a), style.milter.ask))
    assert codes(ours) == codes(postfix), (postfix, ours)
    if ours.code != 250:
        assert postfix.text.endswith(ours.text), (postfix, ours)


@pytest.mark.parametrize("address", [
    "excepted@exact.test", "excepted@sub.exact.test", "closed@known.test", "closed+x@known.test",
    "plus+x@known.test", "plus@known.test", "user5+x@known.test", "closed@both.test",
    "closed@sub.both.test", "later@known.test", "user13+x@known.test", "closed@a.dotted.test",
])  # fmt: skip
def test_an_entry_is_found_where_postfix_finds_it(style, address):
    assert codes(style.milter.ask(address)) == codes(ask_postfix(style, address))


def test_unlike_in_postfix_ok_means_that_the_recipient_exists(style):
    assert ask_postfix(style, "vip@known.test").codes == (550, "5.1.1")
    assert style.milter.ask("vip@known.test").code == 250


# ---- transport(5) in access_maps ----

# What smtpd(8) answers where the table is transport_maps.
TRANSPORTS = ["error:no mail here", "error:5.1.2 no mail here", "error: 5.1.2 no", "error:", "error:2.1.1 no",
              "retry:not today", "retry:4.2.1 not today", "slow:", "smtp:[192.0.2.9]:25", ":[192.0.2.9]",
              ":"]  # fmt: skip
# Better, or more lenient, than Postfix, which says 550 to all of these.
OUR_ERRORS = {"error:4.2.1 not today": (450, "4.2.1"), "error:450 4.2.1 not today": (450, "4.2.1"),
              "error:550 5.2.1 no": (550, "5.2.1"), "ERROR:5.1.2 no": (550, "5.1.2")}  # fmt: skip


@pytest.fixture(scope="module")
def transports(shared):
    values = [*TRANSPORTS, *OUR_ERRORS]
    table = texthash(shared, "transport", [f"user{i}@known.test {v}" for i, v in enumerate(values)])
    known = texthash(shared, "known", [f"user{i}@known.test 1" for i in range(len(values))])
    postfix = shared.postfix("transport", listeners={"smtpd": {}}, relay_domains="known.test",
                             relay_recipient_maps=known, transport_maps=table)  # fmt: skip
    milter = shared.milter("transport", role="fallback", recipient_maps=known, access_maps=table)
    return types.SimpleNamespace(
        style=Style(postfix, milter), address=lambda value: f"user{values.index(value)}@known.test")


@pytest.mark.parametrize("value", TRANSPORTS)
def test_a_transport_is_what_it_is_to_postfix(transports, value):
    address = transports.address(value)
    postfix, ours = ask_postfix(transports.style, address), transports.style.milter.ask(address)
    assert codes(ours) == codes(postfix), (postfix, ours)
    if ours.code != 250:
        assert postfix.text.endswith(ours.text), (postfix, ours)


@pytest.mark.parametrize("value", OUR_ERRORS)
def test_an_error_says_what_it_was_meant_to(transports, value):
    assert transports.style.milter.ask(transports.address(value)).codes == OUR_ERRORS[value]


# ---- access_maps from MySQL ----

FROM_MYSQL = {
    "shut@target.test": "REJECT no more", "moved@target.test": "550 5.1.6 moved", "open@target.test": "OK",
    "held@target.test": "HOLD", "odd@target.test": "greylisted", ".sub.test": "error:5.1.2 no mail here",
    "closed.test": "error:closed", "in@closed.test": "DUNNO", "abuse@": "OK", "later@target.test": "retry:later",
}  # fmt: skip


@pytest.mark.sanitizer
@ROLES
def test_access_actions_come_from_mysql_by_address_and_by_domain(world, postfixadmin, role):
    for row in FROM_MYSQL.items():
        postfixadmin.sql("REPLACE INTO access VALUES (%s, %s)", *row)
    milter = world.milter(
        role=role, recipient_maps="inline:{in@closed.test=1, held@target.test=1, odd@target.test=1}",
        access_maps=mysql_table(
            world, postfixadmin, "SELECT action FROM access WHERE pattern = '%s'", name="access.cf"),
    )  # fmt: skip
    expected = {
        "shut@target.test": (554, "5.7.1"), "moved@target.test": (550, "5.1.6"), "open@target.test": PASS,
        "held@target.test": PASS, "odd@target.test": (451, "4.4.3"), "x@a.sub.test": (550, "5.1.2"),
        "x@closed.test": (550, "5.1.1"), "in@closed.test": PASS, "abuse@anywhere.test": PASS,
        "later@target.test": (450, "4.1.1"), "nobody@target.test": UNKNOWN[role],
    }  # fmt: skip
    assert {address: codes(milter.ask(address)) for address in expected} == expected
    assert milter.log.find("greylisted.* is no action"), "the log tells the entry"


# ---- roles ----


def test_a_role_is_that_of_the_domains_above(world):
    milter = world.milter(recipient_maps="inline:{a=b}", role_maps="inline:{.last.test=fallback, both.test=fallback}")
    answers = milter.ask("no@last.test", "no@a.last.test", "no@b.a.last.test", "no@both.test", "no@a.both.test")
    assert [answer.code for answer in answers] == [450, 550, 550, 550, 450]
    milter.reload(parent_domain_matches_subdomains="role_maps")
    assert [answer.code for answer in milter.ask("no@a.last.test", "no@a.both.test")] == [450, 550]


# ---- address literals ----


def test_an_address_literal_is_a_domain_like_another(world):
    mx = world.postfix_not_started(proxy_interfaces="192.0.2.1")
    milter = world.milter(
        socket_directory=mx.milter_directory(), role="fallback", foreign_reply="550 5.7.1 foreign",
        domain_maps="inline:{[192.0.2.1]=1, [ipv6:2001:db8::1]=1}",
        recipient_maps="inline:{bob@[192.0.2.1]=1, @[ipv6:2001:db8::1]=1}",
    )  # fmt: skip
    mx.listen_with({"smtpd": milter}).start()
    with SmtpClient(mx.port()) as session:
        session.mail()
        assert session.rcpt("bob@[192.0.2.1]").code == 250
        assert session.rcpt("nobody@[192.0.2.1]").codes == (550, "5.1.1")
        assert session.rcpt("bob@[127.0.0.1]").codes == (550, "5.7.1"), "Postfix's, but not in domain_maps"
    answers = milter.ask("bob@[IPv6:2001:DB8:0::1]", "bob@[IPv6:2001:db8::2]", "bob@[192.0.2.1]")
    assert [answer.code for answer in answers] == [250, 550, 250]
    milter.reload(foreign_reply="pass")
    assert milter.ask("bob@[127.0.0.1]").code == 250


def test_rcptctl_without_a_daemon_follows_as_the_daemon_does(world, postfixadmin):
    milter = start_node(world, postfixadmin)
    milter.stop()
    statuses = [rcptctl("-c", milter.conf, "lookup", f"{user}@alias.test").returncode for user in ("bob", "nobody")]
    assert statuses == [0, 1]
