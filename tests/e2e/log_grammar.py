"""What a line of the daemon's log may look like, by kinds. Every line of every daemon that the tests
run is held against this (daemon.py).

Any line: printable UTF-8, of bounded length, without a password, from a program we know. Then it is a
recipient's line, whose every field is checked; a line of a trace or of the milter dialogue; or a
sentence of the daemon about something we know, which begins with its subject. A sentence about
something new: add its subject to SUBJECTS. With log_format = json each line is an object with the
same fields, and its message is one of these lines.
"""

import json
import re
import unicodedata

PASSWORDS = ("s3cret-Passw0rd",)
LINE_MAX = 24576  # LOG_RECORD_MAX

ROLES = "primary|fallback"
EVIDENCE = "nobody|process-cache|memcached|directory|memcached-stale|known-good"
LEVELS = ("error", "warning", "info", "debug")

# A recipient's line, without level or program. What the client chose cannot hold the quote or the
# angle brackets that end its field.
FIELDS = (
    r"; from=<(?P<from_>[^<>]*)> to=<(?P<to>[^<>]*)>"
    rf" role=(?P<role>{ROLES})"
    r' verdict="(?P<verdict>[a-z ]+)"'
    rf"(?: evidence=(?P<evidence>{EVIDENCE})(?: age=(?P<age>-?\d+)s)?)?"
    r'(?: held="(?P<held>[^"]+)")?'
    r'(?: why="(?P<why>[^"]+)")?'
)
HEAD = (
    r"(?P<queue_id>NOQUEUE|\w+): (?P<action>pass|reject): RCPT from (?P<client_name>.+?)\[(?P<client_address>[^\]]*)\]"
    r"(?:: (?P<code>[45]\d\d) (?P<enhanced>[45]\.\d{1,3}\.\d{1,3}) (?P<text>.*))?"
)
RECIPIENT = re.compile(HEAD + FIELDS)
RECIPIENT_BEGINS = re.compile(r"\w+: (?:pass|reject): RCPT from ")
RECIPIENT_MESSAGE = re.compile(HEAD)

TRACE = re.compile(r"trace \[[^\]]*\] .+")
DIALOGUE = re.compile(r"milter: (?:session (?:opens|closes)|RCPT argument )")

# What a sentence of the daemon begins with.
SUBJECTS = re.compile(
    r"""
      (?:/|-o:)                                       # a file, and what is wrong with it
    | (?:access|domain|recipient|role)_maps\b | \w+_maps?: | \w+_file: | memcache_servers | metrics_listen
    | mysql | sqlite | memcached | ledger: | known-good | libmilter | libmemcached
    | recipient_maps\ is\ empty | configuration\ / | canary:
    | the\ (?:directory|sentinel|old\ configuration|disk|system|state) | more\ than\ \d+\ recipients
    | possibly\ a\ false\ bounce: | rcptctl\ (?:hold|release)
    | \d+\ lines\ (?:about\ recipients\ were\ left\ out|of\ this\ log\ were\ lost)
    | only\ \d+\ files | no\ recipient\ has\ been\ answered | lookups\ were\ still
    | rcpt-milter\ \d | stopping$ | stopped$ | another\  | cannot\  | memory\ or\ threads | out\ of\ memory
    """,
    re.VERBOSE,
)


class Ungrammatical(AssertionError):
    """A line that no kind of line explains."""


def check_log(data, program="rcpt-milter", form=None):
    """Raises Ungrammatical for the first wrong line of what a daemon has written (bytes). A last line
    without its end was cut by whoever killed the daemon. `form` is log_format; None: now this, now
    that. What keeps a daemon from reading its configuration it says as text, under its own name."""
    for raw in data.split(b"\n")[:-1]:
        try:
            _check_line(raw, program, form)
        except Ungrammatical as wrong:
            raise Ungrammatical(f"{wrong}: {raw[:2000]!r}") from None


def _check_line(raw, program, form):
    _require(len(raw) <= LINE_MAX, "too long")
    try:
        line = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise Ungrammatical("no UTF-8") from None
    _require(not [c for c in line if _controls(c)], "a character that controls")
    _require(not [p for p in PASSWORDS if p in line], "a password")
    if form != "text" and not line.startswith("rcpt-milter: error: ") and (form or line.startswith("{")):
        _check_json(line, program)
        return
    prefix = re.match(rf"(?:{re.escape(program)}|rcpt-milter): ", line)
    _require(prefix, "it does not begin with the program")
    _check_text(line[prefix.end():])


def _require(condition, what):
    if not condition:
        raise Ungrammatical(what)


def _controls(character):
    return unicodedata.category(character) == "Cc" or character in "\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def _check_text(body):
    if RECIPIENT_BEGINS.match(body):
        parsed = RECIPIENT.fullmatch(body)
        _require(parsed, "a recipient's line with wrong fields")
        _check_recipient(parsed.groupdict())
    elif body.startswith("trace "):
        _require(TRACE.match(body), "no trace")
    elif body.startswith("milter: "):
        _require(DIALOGUE.match(body), "no dialogue")
    else:
        _check_sentence(re.sub(r"^(?:error|warning): ", "", body))


def _check_sentence(sentence):
    _require(SUBJECTS.match(sentence), "about nothing we know (see SUBJECTS)")
    _require(len(sentence) <= 4000, "too long a sentence")


def _check_recipient(fields):
    passes = fields["action"] == "pass"
    _require(passes == (fields["code"] is None), "a code and no refusal, or the reverse")
    if not passes:
        _require(fields["code"][0] == fields["enhanced"][0], "two classes of code")
        if fields["held"]:
            _require(fields["code"][0] == "4", "held, and refused for good")
    if fields["age"] is not None:
        _require(fields["evidence"] not in (None, "nobody"), "nobody's evidence has an age")


STRINGS = {"time", "level", "program", "event", "message", "queue_id", "action", "client_name",
           "client_address", "code", "enhanced", "text", "from", "to", "role", "verdict", "evidence",
           "held", "why"}  # fmt: skip
EVENTS = {"recipient", "trace", "daemon"}


def _no_duplicates(pairs):
    _require(len(dict(pairs)) == len(pairs), "a name twice in an object")
    return dict(pairs)


def _check_json(line, program):
    try:
        entry = json.loads(line, object_pairs_hook=_no_duplicates)
    except json.JSONDecodeError as error:
        raise Ungrammatical(f"no JSON ({error})") from None
    _require(isinstance(entry, dict), "no object")
    wrong = [name for name, value in entry.items()
             if not isinstance(value, str if name in STRINGS else int) or name not in STRINGS | {"age"}]  # fmt: skip
    _require(not wrong, f"unknown or of a wrong type: {wrong}")
    _require(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", entry.get("time", "")), "no time")
    _require(entry.get("level") in LEVELS and entry.get("event") in EVENTS, "no level or event")
    _require(entry.get("program") in (program, "rcpt-milter"), "another program")
    if entry["event"] == "recipient":
        _require(RECIPIENT_MESSAGE.fullmatch(entry["message"]), "no message of a recipient")
        _require({"action", "client_name", "client_address", "from", "to", "role", "verdict"} <= set(entry),
                 "fields are missing")  # fmt: skip
        _check_recipient({name: entry.get(name) for name in
                          ("action", "code", "enhanced", "held", "age", "evidence")})  # fmt: skip
    elif entry["event"] == "trace":
        _require(TRACE.match(entry["message"]), "no trace")
    elif not entry["message"].startswith("milter: "):
        _check_sentence(entry["message"])
