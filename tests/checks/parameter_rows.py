"""The parameters: the rows of config/settings.c, and what rcpt-milter.conf(5) says of each."""

import dataclasses
import math
import re

MANUAL = "packaging/man/rcpt-milter.conf.5"


@dataclasses.dataclass(frozen=True)
class Row:
    group: str
    name: str
    default: str
    type: str
    bounds: tuple  # least and most, both 0 where the type has none; times in milliseconds
    needs_restart: bool


ROW = re.compile(r'\{"(\w+)",\s*"([a-z_]+)",\s*((?:"[^"]*"\s*)+),\s*VALUE_(\w+),\s*AT\(\w+\),'
                 r"\s*([\w* ]+),\s*([\w* ]+),\s*(true|false)\}")
UNIT_MS = {"MS": 1, "S": 1000, "MINUTE": 60_000, "HOUR": 3_600_000, "DAY": 86_400_000}
SUFFIX_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def number_of(text):
    """As C reads it, and as main.cf has a time: 60, 0777, 30 * DAY, 30d."""
    if suffixed := re.fullmatch(r"(\d+)([a-z]+)", text):
        return int(suffixed[1]) * SUFFIX_MS.get(suffixed[2], math.nan)
    return math.prod(UNIT_MS.get(factor) or int(factor, 8 if factor[0] == "0" else 10)
                     for factor in text.split(" * "))


def setting_rows(root):
    return [Row(group, name, "".join(default.split('"')[1::2]), kind,
                (number_of(least), number_of(most)), restart == "true")
            for group, name, default, kind, least, most, restart
            in ROW.findall((root / "config/settings.c").read_text(encoding="utf-8"))]


def parameter_items(root):
    """{name: what the manual says of it}, in the manual's order."""
    parts = re.split(r'^\.It Cm ([a-z_]+) Pq "default: .*\n', (root / MANUAL).read_text(encoding="utf-8"),
                     flags=re.M)
    return {name: re.split(r"^\.Sh ", text, flags=re.M)[0]
            for name, text in zip(parts[1::2], parts[2::2])}


def example_of(item):
    """The settings in its .Dl lines and displays, as a file would have them."""
    shown = "\n".join(line or block for line, block in
                      re.findall(r"^\.Dl (.*)$|^\.Bd -literal.*\n((?:.*\n)*?)^\.Ed", item, re.M))
    return shown.replace("\\&", "").replace("\\e", "\\") + "\n"


def settings_in(text):
    """{name: value} of a configuration; a continued value is one line."""
    joined = re.sub(r"\n[ \t]+", " ", text)
    return dict(re.findall(r"^([a-z_]+) *= *(.*?) *$", joined, re.M))
