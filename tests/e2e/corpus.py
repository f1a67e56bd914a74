"""Recipients as clients send them: the bytes that follow `RCPT TO:`.

By hand what is known to be awkward, and around it some thousands made from a grammar and from
mutations. The seed is fixed, so that every run asks the same; a failure names the bytes."""

import dataclasses
import random

# What the directory holds, in the external form: a local part in quotes where it needs them.
RECIPIENTS = [
    "alice@example.test", "bob@example.test", "first.last@example.test", "o'brien@example.test",
    "_service@example.test", "user=tag@example.test", "postmaster@example.test",
    "list+fixed@example.test", "owner-news@example.test", "news-request@example.test",
    "{braces}@example.test", "x" * 64 + "@example.test",
    '"john doe"@example.test', '"quo\\"te"@example.test', '"back\\\\slash"@example.test',
    '"end."@example.test', '"two..dots"@example.test', '"(paren)"@example.test', '""@example.test',
    "jürgen@example.test", "用户@example.test", "straße@example.test", "пётр@example.test",
    "γιώργος@example.test",
    "alice@under_score.test", "alice@müller.test", "alice@xn--mller-kva.test", "@all.test",
    # Domains that the directory has in one form, and Postfix relays for in both.
    "alice@bücher.test", "jürgen@bücher.test", "alice@xn--zouo53b.test",
]  # fmt: skip

# How a table may hold some of them, too: as Postfix's internal form.
INTERNAL = {
    '"john doe"@example.test': "john doe@example.test", '"(paren)"@example.test': "(paren)@example.test",
    '"quo\\"te"@example.test': 'quo"te@example.test',
}  # fmt: skip

# What Postfix relays for; more have recipients of their own than the directory knows of.
DOMAINS = ["example.test", "all.test", "under_score.test", "müller.test", "xn--mller-kva.test",
           "bücher.test", "xn--bcher-kva.test", "用户.test", "xn--zouo53b.test", "empty.test"]  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Item:
    text: bytes  # after "RCPT TO:"
    smtputf8: bool = False  # does the message say so?

    def __str__(self):
        return f"{self.text!r}{' SMTPUTF8' if self.smtputf8 else ''}"


# By hand. Without angle brackets at both ends they are sent as they are.

LOCALS = [
    # plain, case, extensions
    "alice", "ALICE", "Alice", "aLiCe", "nobody", "bob", "BOB", "first.last", "First.Last",
    "o'brien", "O'Brien", "_service", "user=tag", "{braces}", "postmaster", "PostMaster",
    "alice+x", "alice+", "alice++x", "alice+x+y", "ALICE+X", "+alice", "+", "++", "alice-x",
    "alice-", "-alice", "alice-x+y", "alice+x-y", "nobody+alice", "list+fixed", "list+FIXED",
    "list+other", "list", "owner-news", "owner-news+x", "owner-nobody", "owner-alice",
    "news-request", "news-request+x", "news-requests", "news", "news-x", "alice-request",
    "mailer-daemon+x", "double-bounce", "double-bounce-x", "postmaster+x", "postmaster-x",
    # dots
    ".alice", "alice.", "al..ice", ".", "..", "...", "first..last", "first.last.", ".first.last",
    "alice.+x", "alice+x.", "alice+.x", "a.l.i.c.e",
    # quotes
    '"alice"', '"ALICE"', '"al"ice', 'al"ice', '"alice', 'alice"', '"al"."ice"', '"first"."last"',
    '"first.last"', '"first".last', 'first."last"', '"a"lice', '"john doe"', '"John Doe"',
    '"john  doe"', '"john\\ doe"', '"john\tdoe"', '"\\j\\o\\h\\n\\ \\d\\o\\e"', '"\\a\\l\\i\\c\\e"',
    '"quo\\"te"', 'quo\\"te', '"quo"te"', '"back\\\\slash"', '"back\\slash"', "back\\\\slash",
    '"end."', "end.", '"two..dots"', "two..dots", '"(paren)"', "(paren)", '""', "", '"\\""',
    '" "', '"alice "', '" alice"', '"alice\\', '"alice\\"', "alice\\", "\\alice", "al\\ice",
    "\\\\alice", '"a@b"', "a@b", '"a,b"', "a,b", '"a;b"', "a;b", '"a:b"', "a:b", '"<alice>"',
    "<alice>", '"[alice]"', "[alice]", '"alice+x"', '"john doe+x"', '"john doe"+x', 'john doe+x',
    '"+x"', '"alice"+x', 'alice+"x"', '"alice+x y"', 'alice+"x y"', '"""', '"\'"', "''", "'alice'",
    '"end.+x"', '"alice.+x"', '"al ice+x"',
    # routing: percent, bang, at
    "alice%example.test", "alice%other.test", "100%", "%", "%s", "%%", "a%b%c", '"alice%other.test"',
    "other.test!alice", "example.test!alice", "!", "!alice", "alice!", "a!b!c", '"a!b"',
    "@other.test:alice", "alice%other.test+x", "alice+a%b", "alice+x!y",
    # comments and phrases
    "alice(comment)", "(comment)alice", "(comment) alice", "alice (comment)", "al(x)ice", "()alice",
    "alice()", "alice((a)b)", "alice(", "alice)", "(alice", "alice\\(x\\)", '(a"b)alice', "(\\))alice",
    # blanks
    " alice", "alice ", "al ice", "\talice", "alice\t", "john doe", "first. last", "first .last",
    # characters
    "a!#$&'*+-/=?^_`{|}~z", "#", "$", "&", "'", "*", "/", "=", "?", "^", "_", "`", "{", "|", "}", "~",
    "%@", "alice;", "alice,", "alice:", ";alice", ",alice", ":alice", "alice,bob", "alice;bob",
    "al[ice", "al]ice", "al<ice", "al>ice", "alice>", "<alice",
    # SQL, LIKE, shell
    "' or 1=1 -- ", "\"' or 1=1 -- \"", "'or'1'='1", "'or'a'='a", "\"\\\\' or 1=1 -- \"", "alice'--",
    "alice'/*", '"alice\'; drop table recipients; -- "', "_lice", "alic_", '"%"', '"a%"', '"_%"',
    "al*", "|id", "`id`", "$(id)", "../../etc/passwd", "/etc/passwd", "-oQ/tmp", "--", "\\0", "NULL",
    # UTF-8
    "jürgen", "JÜRGEN", "Jürgen", "ju\u0308rgen", "JU\u0308RGEN", "jurgen", "juergen",
    '"jürgen"', "jürgen+x", "jürgen+ü", "alice+ü", "alice+用", "用户", "用户+x", "别人", "straße",
    "STRASSE", "STRAẞE", "strasse", "strase", "пётр", "ПЁТР", "петр", "пе\u0308тр", "аlice", "alicе",
    "γιώργος", "ΓΙΏΡΓΟΣ", "γιώργοσ", "γιώργος+x", "γιωργος",
    "ａｌｉｃｅ", "ALİCE", "alıce", "alİce", "ﬁrst", "alice\u200b", "alice\u00ad", "\ufeffalice",
    "alice\u00a0", "\u00a0alice", "al\u2028ice", "alice\u0301", "alicé", "😀", "alice😀", "\u202ealice",
    "\u0085alice", "al\u009bice", "alice\U0010ffff", "\ue000", "ǅ", "ς", "σ", "ſ", "alice+ſ", "aliſe",
    "K", "bo\u0345b", "\u212a", "é" * 40, "用" * 21, "用" * 22,
    # control characters
    "al\x01ice", "\x01alice", "alice\x01", "al\x00ice", "alice\x00", "al\x7fice", "al\x1bice",
    "al\x08ice", "al\x0bice", "al\x0cice", "al\rice", '"al\x01ice"', '"al\\\x01ice"', '"\x00"',
    "alice+\x01", "al\x1b[31mice",
    # length
    "x" * 63, "x" * 64, "x" * 65, "x" * 128, "x" * 255, "x" * 256, "x" * 320, "x" * 999,
    "x" * 1023, "x" * 1024, "x" * 1025, "x" * 1500, "alice+" + "x" * 60, "alice+" + "x" * 300,
    "alice+" + "x" * 1018, "alice+" + "x" * 1019, '"' + "x " * 500 + '"', '"' + "\\x" * 64 + '"',
    ".".join("abcdefgh") + "." + "x" * 50, "a." * 500 + "a", '"' + '\\"' * 400 + '"',
]  # fmt: skip

HOSTS = [
    "example.test", "EXAMPLE.TEST", "Example.Test", "all.test", "ALL.test", "empty.test",
    "under_score.test", "foreign.test", "mx.test", "MX.TEST", "localhost", "test", "",
    "sub.example.test", "a.b.example.test", "example.test.", "example.test..", ".example.test",
    "..example.test", "example..test", "example.test.test", "exampletest", "all.test.", ".", "..",
    "-example.test", "example-.test", "ex-ample.test", "exam_ple.test", "_example.test",
    "example.test-", "example.t_st", "example.123", "123", "1.2.3.4", "192.0.2.7", "127.0.0.1",
    "[192.0.2.7]", "[127.0.0.1]", "[192.0.2.7", "192.0.2.7]", "[]", "[ ]", "[192.0.2.256]",
    "[192.0.2]", "[192.0.2.007]", "[0xc0.0.2.7]", "[IPv6:2001:db8::1]", "[ipv6:2001:DB8:0::1]",
    "[IPv6:::1]", "[IPv6:::ffff:192.0.2.7]", "[2001:db8::1]", "[IPv6:]", "[IPv6:2001:db8::1::2]",
    "[IPv6:127.0.0.1]", "[x-tag:text]", "[example.test]", "[192.0.2.7].test", "[192.0.2.7]x",
    "#123456", "example.test example.test", "example .test", " example.test", "example.test ",
    "example.test\t", "example.test(comment)", "(comment)example.test", "example.(x)test",
    '"example.test"', "exam\\ple.test", "example.test\\", "example,test", "example;test",
    "example:test", "example/test", "example+test", "example!test", "example%test", "exam'ple.test",
    "example.test>", "<example.test", "example.test@", "@example.test", "example.test@foreign.test",
    "foreign.test@example.test", "example.test,foreign.test", "example.test:25", "example.test\x00",
    "exam\x01ple.test", "example.test\x00foreign.test", "example.test\x7f", "exam\rple.test",
    "müller.test", "MÜLLER.TEST", "Müller.Test", "mu\u0308ller.test", "muller.test",
    "xn--mller-kva.test", "XN--MLLER-KVA.TEST", "xn--.test", "xn--a.test", "bücher.test", "BÜCHER.test",
    "bu\u0308cher.test", "xn--bcher-kva.test", "XN--Bcher-KVA.test", "xn--zouo53b.test", "xn--bcher-.test", "ＥＸＡＭＰＬＥ.test",
    "example。test", "example．test", "exаmple.test", "example.tеst", "example.test\u200b",
    "ex\u00adample.test", "exampłe.test", "straße.test", "用户.test", "😀.test", "é" * 63 + ".test",
    "x" * 63 + ".example.test", "x" * 64 + ".example.test", "x" * 63 + ".test", "x" * 64 + ".test",
    ".".join(["x" * 49] * 5), ".".join(["x" * 50] * 5) + ".test", ".".join(["x" * 49] * 6),
    "a." * 120 + "test", "a." * 200 + "test",
]  # fmt: skip

SHAPES = [
    "<%s>", "%s", "<<%s>>", "< %s >", "<%s> ", " <%s>", "\t<%s>", "<%s", "%s>", "<%s>>", "<%s>x", "<%s> x",
    '"Alice" <%s>', '"Alice"<%s>', "Alice <%s>", "(c)<%s>", "<%s>(c)", "<(c)%s>", "<%s(c)>", "<%s (c)>",
    "<@foreign.test:%s>", "<@a.test,@b.test:%s>", "<@a.test, @b.test:%s>", "<@a.test:@b.test:%s>",
    "<@example.test:%s>", "<@[192.0.2.7]:%s>", "<@:%s>", "<@a.test%s>", "<@a.test,:%s>", "<@,%s>",
    "<@a_b.test:%s>", "<@-a.test:%s>", "<@müller.test:%s>", "<:%s>", "<;%s>", "<,%s>", "<%s,>", "<%s;>",
    "<%s:>", "<%s,bob@example.test>", "<group:%s;>", "<%s> NOTIFY=NEVER", "<%s> ORCPT=rfc822;x@y",
    "<%s> NOTIFY=BOGUS", "<%s> FOO=BAR", "<%s> BODY=8BITMIME", "<mailto:%s>", "<smtp:%s>", "<\\%s>",
    "<%s\\>", "<\"%s\">", "<'%s'>", "<[%s]>", "<%s\x00>", "<%s>\x00", "<\x00%s>", "<%s\x01>", "<%s\t>",
]  # fmt: skip

WHOLE = [
    "", "<>", "< >", "<", ">", "><", "<<>>", "<@>", "@", "<@example.test>", "<@all.test>", "<alice>", "alice",
    "<ALICE>", "<postmaster>", "<POSTMASTER>", "<PostMaster>", '<"postmaster">', "postmaster",
    "<postmaster@>", "<postmaster+x>", "<postmaster@example.test>", "<postmaster@mx.test>", "<alice@>",
    "<alice@@example.test>", "<alice@example.test@example.test>", "<alice@foreign.test@example.test>",
    "<alice@example.test@foreign.test>", "<@a.test:>", "<@a.test>", "<@a.test:alice>", "<@a.test:postmaster>",
    "<@a.test,@b.test:postmaster>", "<alice bob@example.test>", "<alice@example.test bob@example.test>",
    "<alice@example.test><bob@example.test>", "<alice@example.test>,<bob@example.test>",
    "alice@example.test, bob@example.test", "<undisclosed-recipients:;>", "<:;>", "<group:;>",
    '<"alice@example.test">', '<"alice@example.test"@example.test>', '<"alice"@"example.test">',
    "<alice@example.test.>", "<alice@[example.test]>", "<alice%example.test@mx.test>",
    "<alice%example.test@localhost>", "<alice%example.test>", "<example.test!alice>", "<mx.test!alice>",
    "<example.test!alice@mx.test>", "<alice%example.test@[127.0.0.1]>", "<alice%example.test@example.test>",
    "<alice@mx.test@example.test>", '<"alice@foreign.test"@mx.test>', "<alice@example.test%mx.test>",
    "<@mx.test:alice@example.test>", "<@mx.test:alice%example.test@mx.test>", "<mx.test!alice@example.test>",
    "<double-bounce@example.test>", "<MAILER-DAEMON>", "<root>", "<|/bin/sh>", "</tmp/x@example.test>",
    '<"|/bin/sh"@example.test>', "<:include:/etc/passwd@example.test>", "<alice@example.test\\>",
    "<\\<alice@example.test\\>>", "<<alice>@example.test>", "<alice@<example.test>>", "alice@example.test",
    "ALICE@EXAMPLE.TEST", "<alice@example.test", "alice@example.test>", '"alice"@example.test',
    '"john doe"@example.test', "john doe@example.test", "<alice@example.test>>>", "<<<alice@example.test>",
    "<alice@example.test> <bob@example.test>", "=alice@example.test", ": <alice@example.test>",
]  # fmt: skip


def by_hand():
    for local in LOCALS:
        for host in ("example.test", "all.test"):
            yield f"<{local}@{host}>"
    for host in HOSTS:
        for local in ("alice", "nobody", '"john doe"'):
            yield f"<{local}@{host}>"
    for shape in SHAPES:
        for address in ("alice@example.test", "nobody@example.test", '"john doe"@example.test',
                        "whoever@all.test", "alice@foreign.test", "jürgen@example.test"):  # fmt: skip
            yield shape.replace("%s", address)
    yield from WHOLE


# Bytes that are no UTF-8, by hand.
RAW = [
    b"caf\xe9", b"\xff", b"\x80", b"\xc0\xaf", b"\xe0\x80\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"alice\xc3",
    b"\xfe\xff", b"al\xe9ice", b"j\xfcrgen", b"\xc1\xa1lice", b"alice+\xff", b'"\xff"', b"\xf0\x9f\x98",
]  # fmt: skip


def raw():
    for local in RAW:
        for host in (b"example.test", b"all.test"):
            yield b"<" + local + b"@" + host + b">"
        yield b"<alice@" + local + b".test>"


# Generated.

PIECES = [
    "alice", "bob", "john doe", "first", "last", "jürgen", "用户", "list", "fixed", "x", "1", "A", "owner-",
    "-request", "postmaster", ".", "+", "-", "..", '"', "\\", '\\"', "\\\\", "(", ")", "(c)", "<", ">", "@",
    ",", ";", ":", "[", "]", "%", "!", " ", "\t", "\x01", "\x7f", "\x00", "é", "ß", "İ", "😀", "'", "_", "=",
    "/", "&", "*", "%example.test", "@foreign.test", "@a.test:",
]  # fmt: skip
INSERTED = [*'.+-"\\()<>@,;:[]%! \t\x00\x01\x7f\'_=', "..", '\\"', "(c)", "é", "ß", "\u0308", "\u200b", "😀", "\x80"]


def random_local(random):
    kind = random.random()
    if kind < 0.3:
        local = random.choice(LOCALS)
    elif kind < 0.5:
        local = "".join(random.choices(PIECES, k=random.randint(1, 4)))
    elif kind < 0.7:
        inside = "".join(random.choices(PIECES, k=random.randint(1, 4)))
        local = '"' + inside.replace("\\", "\\\\").replace('"', '\\"') + '"'
    else:
        local = random.choice(RECIPIENTS).rpartition("@")[0] or "whoever"
        if random.random() < 0.4:
            local += random.choice("+-") + random.choice(["x", "", "x+y", "ü", "a.b"])
    return local


def mutated(random, text):
    for _ in range(random.choice([1, 1, 1, 2, 2, 3])):
        at = random.randrange(len(text) + 1)
        kind = random.randrange(6)
        if kind == 0:
            text = text[:at] + random.choice(INSERTED) + text[at:]
        elif kind == 1:
            text = text[:at] + text[at + 1 :]
        elif kind == 2:
            text = text[:at] + text[at : at + 3].swapcase() + text[at + 3 :]
        elif kind == 3:
            text = text[:at] + text[at : at + 2] + text[at:]
        elif kind == 4:
            text = text[:at] + "\\" + text[at:]
        else:
            text = text[:at] + text[at : at + 4][::-1] + text[at + 4 :]
    return text


def generated(random):
    while True:
        kind = random.random()
        if kind < 0.45:
            host = random.choice(HOSTS) if random.random() < 0.3 else random.choice(DOMAINS[:2])
            shape = random.choice(SHAPES) if random.random() < 0.2 else "<%s>"
            yield shape.replace("%s", f"{random_local(random)}@{host}")
        elif kind < 0.9:
            yield "<" + mutated(random, random.choice([*RECIPIENTS, "nobody@example.test"])) + ">"
        else:
            yield mutated(random, random.choice(WHOLE))


LINE_MAX = 2000  # Postfix's line_length_limit is 2048


def can_be_sent(text):
    """One command and one reply: Postfix takes a lone CR at the end for part of the line's end."""
    return b"\n" not in text and not text.endswith(b"\r") and len(text) <= LINE_MAX


def corpus(count=5600, seed=4):
    """At least `count` items, each text once, with non-ASCII ones both as SMTPUTF8 and without."""
    texts = dict.fromkeys(text.encode() for text in by_hand())
    texts.update(dict.fromkeys(raw()))
    for text in generated(random.Random(seed)):
        if len(texts) >= count:
            break
        texts[text.encode()] = None
    texts = [text for text in texts if can_be_sent(text)]
    # Spellings of one mailbox side by side look like a macro that was left over.
    random.Random(seed).shuffle(texts)
    return [Item(text) for text in texts] + [Item(text, True) for text in texts if not text.isascii()]
