"""The same addresses to Postfix with rcpt-milter and to Postfix without, over one directory.

Without the milter relay_recipient_maps decides; with it (role = fallback, so that unknown is 5xx)
recipient_maps does. The class of reply must be the same, or a rule below says why it is not."""

import concurrent.futures
import dataclasses
import re
import subprocess
import unicodedata

import pytest

import corpus
from conftest import example_map, load_directory
from harness import MilterClient, SmtpClient, World

RECIPIENTS_PER_SESSION = 400  # smtpd_recipient_limit is 1000
WRITE_BYTES = 16384  # before the replies are read: less than the sockets hold

# Our replies, so that they are told from Postfix's.
OURS = "ours:"
REPLIES = {
    "fallback_unknown_reply": f"550 5.1.1 {OURS} unknown",
    "fallback_unavailable_reply": f"550 5.4.3 {OURS} unavailable",
    "held_reply": f"451 4.4.3 {OURS} held",
    "malformed_reply": f"550 5.1.3 {OURS} malformed",
}

# What is compared. Among the delimiters '-' brings owner-* and *-request; allow_untrusted_routing lets
# `a@b` and `a%b` through to the tables; without SMTPUTF8 bytes are bytes.
PAIRS = {
    "texthash": {"table": "texthash", "recipient_delimiter": "+-"},
    "mysql": {"table": "mysql", "recipient_delimiter": "+", "allow_untrusted_routing": "yes"},
    "no-smtputf8": {"table": "texthash", "recipient_delimiter": "+", "smtputf8_enable": "no"},
}


# ---- what is asked, and what came back ----


@dataclasses.dataclass
class Case:
    item: corpus.Item
    with_milter: object  # Reply
    without: object
    argument: str | None = None  # as the milter was given them; None where Postfix had refused
    resolved: str | None = None  # {rcpt_addr}
    key: str | None = None  # what the milter looked up
    # The same {rcpt_addr} came with another argument before: it looks as if it were left over.
    may_be_old: bool = False

    @property
    def classes(self):
        """(Postfix's, ours)"""
        return self.without.code // 100, self.with_milter.code // 100

    @property
    def verdict(self):
        """"unknown", "held", ...; "" where it passed or Postfix had refused"""
        text = self.with_milter.text
        return text.removeprefix(f"{OURS} ") if text.startswith(OURS) else ""

    @property
    def reached_us(self):
        return self.with_milter.code == 250 or bool(self.verdict)

    def __str__(self):
        return f"{self.item} ({self.resolved}): Postfix {self.without}, with us {self.with_milter}"


def writes(items):
    """The commands, in portions that may be sent at once."""
    lines, size = [], 0
    for item in items:
        lines.append(b"RCPT TO:" + item.text)
        size += len(lines[-1])
        if size > WRITE_BYTES:
            yield lines
            lines, size = [], 0
    if lines:
        yield lines


def feed(port, items):
    """The replies, in the order of the items; those with SMTPUTF8 come last."""
    replies = []
    for options in ("", "SMTPUTF8"):
        same = [item for item in items if item.smtputf8 == bool(options)]
        for at in range(0, len(same), RECIPIENTS_PER_SESSION):
            with SmtpClient(port) as session:
                assert session.mail(options=options).code == 250
                for lines in writes(same[at : at + RECIPIENTS_PER_SESSION]):
                    replies += session.pipeline(lines)
    return replies


DIALOGUE = re.compile(r'milter: RCPT argument "(.*)" \{rcpt_addr\} "(.*)" \{client_addr\}')
KEY = re.compile(r"trace \[.*?\] recipient: .*, key (.*)")


def keys_looked_up(log, since):
    """(argument, {rcpt_addr}, key) of each recipient the trace tells of; key None: malformed. All of
    them None where an overlong address has the line cut short."""
    found = []
    for line in log.text(since).split("\n"):  # splitlines() would also split at U+2028
        if "milter: RCPT argument " in line:
            match = DIALOGUE.search(line)
            found.append([*match.groups(), None] if match else [None, None, None])
        elif " recipient: " in line and (match := KEY.search(line)):
            found[-1][2] = match.group(1) if match.group(1) != "none" else None
    return found


def mark_old_macros(cases):
    """In the order of the milter's. Where a session ends between two of them, none is old."""
    last = (None, None)
    for case in cases:
        if case.resolved == last[1]:
            case.may_be_old = case.argument != last[0]
        else:
            last = (case.argument, case.resolved)


class Pair:
    """Two listeners of one Postfix over the same table, and the milter of the first."""

    def __init__(self, world, name, table, domain_maps):
        self.name = name
        settings = {key: value for key, value in PAIRS[name].items() if key != "table"}
        # Not chrooted: smtpd itself goes to MariaDB's socket. By default relay_domains stand for their
        # subdomains, too, so domain_maps shall.
        self.mx = mx = world.postfix_not_started(
            relay_domains=" ".join(corpus.DOMAINS), chroot=False, **settings
        )
        self.milter = world.milter(
            name, verbose=2, socket_directory=mx.milter_directory(), role="fallback",
            recipient_delimiter=settings["recipient_delimiter"], recipient_maps=table,
            domain_maps=domain_maps, log_known="yes", lookup_deadline="20s",
            mysql_query_timeout="15s", parent_domain_matches_subdomains="domain_maps", **REPLIES,
        )  # fmt: skip
        mx.listeners["with"] = {"smtpd_milters": mx.milter(self.milter.socket)}
        mx.listeners["without"] = {"relay_recipient_maps": table}
        mx.start()

    def takes(self, item):
        return not item.smtputf8 or "smtputf8_enable" not in PAIRS[self.name]

    def ask(self, items):
        items = [item for item in items if self.takes(item)]
        mark = self.milter.log.end()
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            replies = list(pool.map(lambda side: feed(self.mx.port(side), items), ["with", "without"]))
        cases = [Case(*row) for row in zip(items, *replies, strict=True)]
        seen = keys_looked_up(self.milter.log, mark)
        reached = [case for case in cases if case.reached_us]
        for case, values in zip(reached, seen, strict=True):
            case.argument, case.resolved, case.key = values
        mark_old_macros(reached)
        return cases


def tables(world):
    """kind -> (recipient_maps and Postfix's table, domain_maps): one directory in two forms."""
    lines = "".join(f"{address} OK\n" for address in corpus.RECIPIENTS)
    domains = "".join(f"{domain} OK\n" for domain in corpus.DOMAINS)
    recipients = f"texthash:{world.file('recipients', lines)}"
    database = load_directory(world.mariadb())
    database.sql("DELETE FROM recipients")
    database.sql("DELETE FROM alias_domains")
    database.sql("DELETE FROM domains")
    for address in corpus.RECIPIENTS:
        # Postfix asks for the external form and then for the internal one: here is some of both.
        stored = corpus.INTERNAL.get(address, address)
        database.sql("INSERT INTO recipients (address) VALUES (%s)", stored)
    for domain in corpus.DOMAINS:
        database.sql("INSERT INTO domains (domain) VALUES (%s)", domain)
    mysql = example_map(world, database, "mysql-recipients.cf")
    return {
        "texthash": (recipients, f"texthash:{world.file('domains', domains)}"),
        "mysql": (mysql, example_map(world, database, "mysql-domains.cf")),
    }


def postfix_has(kind):
    return kind in subprocess.run(["postconf", "-m"], capture_output=True, text=True).stdout.split()


@pytest.fixture(scope="module")
def pairs(scratch):
    with World(scratch) as world:
        made = tables(world)
        kinds = {name: settings["table"] for name, settings in PAIRS.items()}
        yield {
            name: Pair(world, name, *made[kind]) for name, kind in kinds.items() if postfix_has(kind)
        }


@pytest.fixture(scope="module")
def answers(pairs):
    """name -> the cases, asked for once."""
    items = corpus.corpus()
    return {name: pair.ask(items) for name, pair in pairs.items()}


@pytest.fixture(params=PAIRS)
def pair(request, pairs):
    if request.param not in pairs:
        pytest.skip(f"THIS POSTFIX HAS NO {PAIRS[request.param]['table']}: TABLES (Debian: postfix-mysql)")
    return pairs[request.param]


@pytest.fixture
def cases(answers, pair):
    return answers[pair.name]


# ---- the rules ----


def local_part(address):
    return address.rpartition("@")[0]


def has_control(text):
    """Cc: below U+0020, DEL, and U+0080 to U+009F."""
    return any(unicodedata.category(character) == "Cc" for character in text)


def decoded(text):
    return text.decode("utf-8", "replace")


def same_mailbox(one, other):
    """By another implementation than ours."""
    return unicodedata.normalize("NFC", one.casefold()) == unicodedata.normalize("NFC", other.casefold())


def changed_by_folding(address):
    """Full case folding makes other letters of a lower-case address: ß becomes ss, ς becomes σ."""
    return address.casefold() != address.lower()


@dataclasses.dataclass
class Rule:
    name: str
    reason: str
    applies: object  # to a Case whose classes differ
    pairs: tuple = tuple(PAIRS)


FOLDED = {address.casefold() for address in corpus.RECIPIENTS if changed_by_folding(address)}


def stem(case):
    """{rcpt_addr} without an extension."""
    local, _, domain = (case.resolved or "").rpartition("@")
    return re.split("[+-]", local)[0] + "@" + domain


def lowered(address):
    return unicodedata.normalize("NFC", address.lower())


OTHER_FORMS = {"bücher.test": "xn--bcher-kva.test", "用户.test": "xn--zouo53b.test"}
OTHER_FORMS.update({a_label: u_label for u_label, a_label in OTHER_FORMS.items()})


def in_other_form(address):
    local, _, domain = lowered(address).rpartition("@")
    return f"{local}@{OTHER_FORMS.get(domain)}"


RULES = [
    Rule(
        "a control character",
        "Ours: RFC 5321 has no control characters in a mailbox, quoted or not, and those of C1 we take for no"
        " better (shared/address.c); what cannot be parsed never passes. Postfix lets a catch-all, an"
        " extension, or a name without a domain take it.",
        lambda c: c.classes == (2, 5) and c.verdict == "malformed" and has_control(decoded(c.item.text)),
    ),
    Rule(
        "a local part of more than 1024 bytes",
        "Ours: ADDRESS_LOCAL_MAX, sixteen times what RFC 5321 asks for; no directory holds it. Postfix lets"
        " a catch-all take it.",
        lambda c: c.classes == (2, 5) and c.verdict == "malformed" and len(c.item.text) > 1024,
    ),
    Rule(
        "another argument with the {rcpt_addr} of the one before",
        "Ours: it is no mailbox or names another one, and the macro may be left over from the recipient"
        " before. Held, which is no bounce; whoever comes again without that recipient passes.",
        lambda c: c.classes in ((2, 4), (5, 4)) and c.verdict == "held" and c.may_be_old,
    ),
    Rule(
        "letters beyond ASCII in capitals or in pieces",
        "Ours: Jürgen is jürgen, composed or not. Postfix never composes, from SQL it asks for what a"
        " binary collation does not have, and without SMTPUTF8 it does not fold either.",
        lambda c: c.classes == (5, 2) and c.resolved and not c.resolved.isascii()
        and stem(c) not in corpus.RECIPIENTS and lowered(stem(c)) in corpus.RECIPIENTS,
    ),
    Rule(
        "a domain in the form that the table does not have",
        "Ours: U-labels and A-labels are one domain. For Postfix they are two.",
        lambda c: c.classes == (5, 2) and stem(c) not in corpus.RECIPIENTS
        and in_other_form(stem(c)) in corpus.RECIPIENTS,
    ),
    Rule(
        "a look-alike of a recipient whose letters case folding would change",
        "Ours: STRASSE is no other way to write straße. Postfix folds the keys of its table as well as the"
        " address, so that both are strasse; we look up what the client wrote, and then {rcpt_addr}.",
        lambda c: c.classes == (2, 5) and c.verdict == "unknown" and stem(c) in FOLDED,
        ("texthash",),  # from SQL Postfix does not find them either; without SMTPUTF8 nothing is folded
    ),
    Rule(
        "a recipient whose letters case folding changes, from SQL",
        "Ours: Postfix asks the table for strasse and γιώργοσ, which it does not have, and refuses whom it"
        " has; we ask for what the client wrote first.",
        lambda c: c.classes == (5, 2) and stem(c) in FOLDED,
        ("mysql",),
    ),
    Rule(
        "bytes that are no UTF-8",
        "Ours: no mailbox and no key; Postfix, told to know nothing of UTF-8, lets a catch-all take them, or"
        " an extension.",
        lambda c: c.classes == (2, 5) and c.verdict == "malformed" and "\ufffd" in decoded(c.item.text),
        ("no-smtputf8",),
    ),
]  # fmt: skip


def rules_for(name):
    return [rule for rule in RULES if name in rule.pairs]


def differing(cases):
    return [case for case in cases if case.classes[0] != case.classes[1]]


def shortened(cases):
    lines = [str(case) for case in cases[:20]]
    return "\n".join(line if len(line) < 400 else f"{line[:300]} ... {line[-90:]}" for line in lines)


# ---- the tests ----


def test_the_class_of_reply_is_postfixs_or_a_rule_says_why_not(cases, pair):
    rules = rules_for(pair.name)
    unexplained = [case for case in differing(cases) if not any(rule.applies(case) for rule in rules)]
    assert not unexplained, f"{len(unexplained)} of {len(cases)}:\n{shortened(unexplained)}"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name.replace(" ", "_"))
def test_every_rule_explains_something_that_no_other_does(answers, rule):
    for name in set(rule.pairs) & set(answers):
        explained = [case for case in differing(answers[name]) if rule.applies(case)]
        others = [other for other in rules_for(name) if other is not rule]
        assert any(
            not any(other.applies(case) for other in others) for case in explained
        ), f"{name}: the rule has nothing left to explain and can go"


def test_no_known_recipient_is_bounced_and_no_unknown_one_passes_for_want_of_asking(cases):
    """Not one of the differences is an answer that is missing."""
    assert not [case for case in cases if case.verdict == "unavailable"]
    # 451 of Postfix itself: a map or the milter had failed.
    assert not [case for case in cases if case.with_milter.code == 451 and case.verdict != "held"]
    assert not [case for case in cases if case.without.code // 100 == 4]


def test_the_corpus_asks_enough(cases):
    count = {"all": len(cases)}
    for case in cases:
        name = case.verdict or ("pass" if case.with_milter.code == 250 else "refused by Postfix")
        count[name] = count.get(name, 0) + 1
    assert count["all"] >= 5000
    assert count["pass"] >= 1000 and count["unknown"] >= 500 and count["malformed"] >= 50, count
    assert sum(not case.item.text.isascii() and case.reached_us for case in cases) >= 200


def refused(pair, addresses):
    """Which of them do not pass, written as the table has them."""
    items = [corpus.Item(f"<{a}>".encode(), not a.isascii() and "no-smtputf8" != pair.name)
             for a in addresses if not a.startswith("@")]  # fmt: skip
    return [str(case) for case in pair.ask(items) if case.with_milter.code != 250]


def test_every_recipient_of_the_directory_passes(pair):
    addresses = [a for a in corpus.RECIPIENTS if not changed_by_folding(a)]
    if pair.name == "no-smtputf8":
        # A domain that is not ASCII needs SMTPUTF8.
        addresses = [a for a in addresses if a.rpartition("@")[2].isascii()]
    assert not refused(pair, addresses)


def test_so_does_one_that_case_folding_would_change(pair):
    assert not refused(pair, [a for a in corpus.RECIPIENTS if changed_by_folding(a)])


# ---- the argument and {rcpt_addr} ----


@pytest.fixture(scope="module")
def alone(answers, pairs):
    """argument -> our key when it comes without {rcpt_addr}; None: malformed."""
    arguments = dict.fromkeys(case.argument for case in answers["texthash"] if case.argument is not None)
    # The log shows what cannot be printed as \xNN, from which the bytes cannot be told.
    arguments = [argument for argument in arguments if not re.search(r"\\x[0-9a-f]{2}", argument)]
    milter = pairs["texthash"].milter
    mark = milter.log.end()
    with MilterClient(milter.socket) as session:
        session.mail()
        for argument in arguments:
            session.macros["{rcpt_addr}"] = None
            session.send_macros("R")
            session.send("R", argument.encode() + b"\0")
            session.answer()
    seen = keys_looked_up(milter.log, mark)
    assert [argument for argument, _, _ in seen] == arguments
    return {argument: key for argument, _, key in seen}


def is_routed(argument):
    """Through this host, with `%` or `!`, or by a route in quotes, which Postfix drops."""
    return re.search('[%!]|"@', local_part(argument))


def test_the_argument_and_rcpt_addr_name_the_same_mailbox_unless_it_is_routed(answers, alone):
    compared = routed = 0
    for case in answers["texthash"]:
        key = alone.get(case.argument)
        if key is None or case.key is None:
            continue
        compared += 1
        if not same_mailbox(key, case.key):
            routed += 1
            assert is_routed(case.argument), (key, str(case))
            assert (case.verdict == "held") == case.may_be_old, (key, str(case))
        else:
            assert case.verdict != "held", (key, str(case))
    assert compared >= 1500 and routed >= 10, (compared, routed)


def test_only_a_macro_that_may_be_left_over_holds_a_recipient(answers):
    for cases in answers.values():
        held = [case for case in cases if case.verdict == "held"]
        assert held and all(case.may_be_old for case in held), shortened(held)
        assert len(held) < len(cases) / 100, len(held)


def test_what_our_parser_takes_rcpt_addr_is_taken_for_too(answers, alone):
    """A well-formed argument never comes out of Postfix as something we call malformed."""
    lost = [case for case in answers["texthash"] if alone.get(case.argument) and case.key is None]
    assert not lost, shortened(lost)


# RFC 5321 4.1.2 with RFC 6531, written down once more, for what a client may well send: a route, a
# mailbox in brackets. Postfix takes much that is not this; then {rcpt_addr} alone decides.
ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u00a0-\U0010ffff-]"
NAME = r"(?=[^@>,:]{1,255}[>@,:])[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
DOMAIN = rf"{NAME}(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]{{0,61}}[A-Za-z0-9_])?)*"
QUOTED = r'"(?:[ !#-\[\]-~\u00a0-\U0010ffff]|\\[ -~])*"'
PATH = re.compile(rf"<(?:@{DOMAIN}(?:,@{DOMAIN})*:)?(?:{ATEXT}+(?:\.{ATEXT}+)*|{QUOTED})@({DOMAIN})>")


def is_path(argument):
    if not argument.startswith("<"):
        argument = f"<{argument}>"  # as old clients do, and as Postfix lets them
    match = PATH.fullmatch(argument)
    return match and not re.fullmatch("[0-9.]*", match.group(1))


def test_our_parser_takes_what_the_rfc_has_and_nothing_else(alone):
    """Where the domains are ASCII and the local part is short; tests/unit/test_address.c has it all."""
    keys = {
        argument: key for argument, key in alone.items()
        if len(local_part(argument)) < 1000 and "[" not in argument
        and argument.rpartition("@")[2].isascii() and re.match("<@[ -~]*?:|(?!<@)", argument)
    }  # fmt: skip
    assert sum(bool(is_path(argument)) for argument in keys) >= 500
    assert not [argument for argument, key in keys.items() if key is None and is_path(argument)]
    taken = [argument for argument, key in keys.items() if key and not is_path(argument)]
    assert taken == []
