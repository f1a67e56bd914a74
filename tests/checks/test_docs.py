"""The documents against the code, and what must not stand anywhere."""

import os
import re
import subprocess

import pytest
from parameter_rows import example_of, number_of, parameter_items, setting_rows, settings_in
from sources import ROOT, c_files, lines, matches, plant, project_files, where

MAN = "packaging/man"


def read(path):
    return path.read_text(encoding="utf-8")


def both_ways(in_code, in_manual):
    return ([f"{name} is not in the manual" for name in sorted(in_code - in_manual)]
            + [f"{name} is not in the code" for name in sorted(in_manual - in_code)])


def section(page, name):
    """One .Sh section of an mdoc page."""
    found = re.search(rf"^\.Sh {name}\n(.*?)(?=^\.Sh |\Z)", read(page), re.M | re.S)
    return found[1] if found else ""


# ---- parameters: the rows of config/settings.c ----

def says_bounds(row, text):
    pairs = re.findall(r"\b(\d+[a-z]*) to (\d+[a-z]*)\b", text)
    return row.bounds[1] == 0 or row.bounds in [tuple(map(number_of, pair)) for pair in pairs]


def half_told_parameters(root):
    """Bounds and unit, whether a restart is needed, and an example that is not the default."""
    wrong, items = [], parameter_items(root)
    for row in setting_rows(root):
        text = " ".join(items.get(row.name, "").split())
        example = settings_in(example_of(items.get(row.name, ""))).get(row.name, row.default)
        wrong += [f"{row.name}: {what}" for what, good in {
            "the bounds are not told": says_bounds(row, text),
            "the unit is not told": "whole seconds" in text
                                    or row.type not in ("TIME_S", "TIME_WHOLE", "RATE"),
            "is a restart needed?": ("needs a restart" in text) == row.needs_restart,
            "there is no example": example != row.default,
        }.items() if not good]
    return wrong


SECTIONS = {"node": "NODE", "directory": "DIRECTORY", "caches": "CACHE", "evidence": "EVIDENCE",
            "replies": "REPLY", "exemptions": "EXEMPTION", "logging": "LOGGING"}


def order_of_parameters(root):
    """Groups and parameters stand in one order: in the code, in the manual and in the sample."""
    coded = [(row.group, row.name) for row in setting_rows(root)]
    sections = {section: group for group, section in SECTIONS.items()}
    manual, sample, group = [], [], None
    for line in lines(root / MAN / "rcpt-milter.conf.5"):
        if heading := re.match(r"\.Sh (\w+) PARAMETERS$", line):
            group = sections[heading[1]]
        elif item := re.match(r'\.It Cm ([a-z_]+) Pq "default: ', line):
            manual.append((group, item[1]))
    for line in lines(root / "config/rcpt-milter.conf"):
        if heading := re.match(r"# -{10,} (\w+)$", line):
            group = heading[1]
        elif setting := re.match(r"#([a-z_]+) =", line):
            sample.append((group, setting[1]))
    return [f"{name} has another order than config/settings.c"
            for name, order in [("the manual", manual), ("the sample", sample)] if order != coded]


# ---- manual pages against the code ----

def options_of(source, page):
    letters = re.search(r'getopt\(\w+, \w+, "([a-zA-Z:+]+)"\)', read(source))
    documented = re.findall(r"^\.It Fl (\w)\b", read(page), re.M)
    return both_ways(set(letters[1]) - set(":+") if letters else set(), set(documented))


def daemon_options(root):
    return options_of(root / "milter/main.c", root / MAN / "rcpt-milter.8")


def rcptctl_options(root):
    return options_of(root / "milter/rcptctl.c", root / MAN / "rcptctl.8")


def rcptctl_commands(root):
    """With their own options: "stats --json --reset"."""
    rows = re.findall(r'^\s*\{"([a-z-]+)",\s*"([^"]*)"', read(root / "milter/command.c"), re.M)
    coded = {" ".join([name, *sorted(re.findall(r"--[a-z-]+", arguments))])
             for name, arguments in rows}
    items = re.findall(r"^\.It Cm ([\w-]+)(.*)", section(root / MAN / "rcptctl.8", "DESCRIPTION"), re.M)
    documented = {" ".join([name, *sorted("-" + option for option in
                                          re.findall(r"Fl (-[a-z-]+)", arguments))])
                  for name, arguments in items}
    return both_ways(coded, documented)


def counters(root):
    sources = read(root / "shared/counters.h") + read(root / "milter/gauges.h")
    coded = re.findall(r'\bX\((\w+),\s*(?:\\\s*)?"', sources)
    documented = re.findall(r"^\.It Cm (\w+)", section(root / MAN / "rcptctl.8", "COUNTERS"), re.M)
    return both_ways(set(coded), set(documented))


def parameters(root):
    """With their defaults."""
    coded = {f"{row.name} = {row.default or 'empty'}" for row in setting_rows(root)}
    page = read(root / MAN / "rcpt-milter.conf.5").replace("\\&", "")
    documented = re.findall(r'^\.It Cm ([a-z_]+) Pq "default: (.*)"$', page, re.M)
    return both_ways(coded, {f"{name} = {default}" for name, default in documented})


def verdict_rows(root):
    coded = re.findall(r'^\s*\{"([a-z ]+)", COUNT_', read(root / "milter/verdict.c"), re.M)
    documented = re.findall(r"^\.It (.+)$", section(root / MAN / "rcpt-milter.8", "VERDICTS"), re.M)
    return both_ways(set(coded), set(documented))


def exit_codes(root):
    """Those with names; what a signal or a usage error of getopt brings is told in words."""
    own = dict(re.findall(r"\b(EXIT_\w+) = (\d+)", read(root / "milter/command.h")))
    used = {name for path in (root / "milter").glob("*.c") if path.name != "main.c"
            for name in re.findall(r"\bEX_[A-Z]+\b", read(path))}
    coded = {f"exit code {code}" for code in own.values()} | {f"exit code {getattr(os, name)}"
                                                              for name in used}
    documented = re.findall(r"^\.It (\d+)$", section(root / MAN / "rcptctl.8", "EXIT STATUS"), re.M)
    return both_ways(coded, {f"exit code {code}" for code in documented})


def plain_text(mdoc):
    """Its words, without macros; what a macro sets apart is apart by one space here, too."""
    words = re.sub(r'^\.(?:It )?(?:[A-Z][a-z] )*', "", mdoc, flags=re.M)
    return " ".join(re.sub(r'\\&|"', "", words).split())


def loud_lines(root):
    """What is logged as an error or a warning is told in rcpt-milter(8), with what to do."""
    told, missing = plain_text(section(root / MAN / "rcpt-milter.8", "DIAGNOSTICS")), []
    for path in c_files(root):
        for literals in re.findall(r'\blog_(?:error|warning)\(\s*((?:"(?:[^"\\]|\\.)*"\s*|PRI\w+\s*)+)',
                                   read(path)):
            text = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', literals)).replace('\\"', "")
            pieces = [piece.strip(" ;:,.") for piece in re.split(r"%[-.\d]*(?:ll|z)?[a-z]?", text)]
            # Shorter is what only joins others: "%s: %s", or says where.
            pieces = [piece for piece in pieces if len(piece) > 12]
            if pieces and not any(piece[:24].strip() in told for piece in pieces):
                missing.append(f"{path.name}: {text}")
    return missing


@pytest.mark.parametrize("compare", [
    daemon_options, rcptctl_options, rcptctl_commands, exit_codes, counters, parameters,
    half_told_parameters, order_of_parameters, verdict_rows, loud_lines,
], ids=lambda compare: compare.__name__)
def test_the_manual_and_the_code_name_the_same(compare):
    assert compare(ROOT) == []


def on_this_host(tmp_path, text):
    """The files an example names, made."""
    content = {"mysql": "hosts = 127.0.0.1\nuser = u\ndbname = d\nquery = SELECT a FROM t WHERE a = '%s'\n",
               "sqlite": "dbpath = /nowhere\nquery = SELECT a FROM t WHERE a = '%s'\n",
               "texthash": "user@example.com OK\n", "memcache_secret_file = ": 20 * "s"}

    def make(found):
        path = plant(tmp_path, found[2].strip("/"), content[found[1].rstrip(":")])
        path.chmod(0o600)
        return found[1] + str(path)
    return re.sub(r"(mysql:|sqlite:|texthash:|memcache_secret_file = )(/[^\s,}]+)", make, text)


def complaints_of(tmp_path, settings):
    """What rcpt-milter -t says of them; "" where it accepts them."""
    program = ROOT / os.environ.get("RCPT_MILTER_BUILD", "build/plain") / "rcpt-milter"
    text = "".join(f"{name} = {value}\n" for name, value in settings.items()
                   if not name.startswith("smtpd_"))  # Postfix's
    conf = plant(tmp_path, "rcpt-milter.conf", on_this_host(tmp_path, text))
    done = subprocess.run([program, "-t", "-c", conf], capture_output=True, text=True, check=False)
    return done.stderr if done.returncode != 0 else ""


def refused_examples(root, tmp_path):
    examples = {name: settings_in(example_of(item)) for name, item in parameter_items(root).items()}
    return [f"{name}: {why}" for name, settings in examples.items()
            if (why := complaints_of(tmp_path, settings))]


def test_the_configurations_of_the_readme_are_accepted(tmp_path):
    blocks = re.findall(r"^    role = (?:.*\n    )*.*", read(ROOT / "README.md"), re.M)
    assert len(blocks) == 2
    assert [why for block in blocks
            if (why := complaints_of(tmp_path, settings_in(re.sub("^    ", "", block, flags=re.M))))] == []


def test_every_example_of_a_parameter_is_accepted(tmp_path):
    assert refused_examples(ROOT, tmp_path) == []


def test_an_example_that_is_refused_is_noticed(tmp_path):
    plant(tmp_path, f"{MAN}/rcpt-milter.conf.5",
          '.It Cm lookup_slots Pq "default: 12"\n.Dl lookup_slots = 65\n')
    assert "lookup_slots" in refused_examples(tmp_path, tmp_path)[0]


def mandoc_complaints(page):
    done = subprocess.run(["mandoc", "-Tlint", "-Wwarning", page], capture_output=True, text=True,
                          check=False)
    return done.stdout.splitlines()


def pages():
    return sorted((ROOT / MAN).glob("*.[58]"))


def test_there_are_three_manual_pages():
    assert [page.name for page in pages()] == ["rcpt-milter.8", "rcpt-milter.conf.5", "rcptctl.8"]


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_mandoc_has_nothing_to_say_about(page):
    assert mandoc_complaints(page) == []


# ---- the README ----

def missing_make_targets(root):
    targets = {name for names in re.findall(r"^([a-z -]+):(?!=)", read(root / "Makefile"), re.M)
               for name in names.split()}
    # Only what is set as code: a sentence may make anything.
    named = re.findall(r"(?:^|[`&;]\s*)make ([a-z][a-z-]*)(?![a-z-]*=)", read(root / "README.md"),
                       re.M)
    return sorted(set(named) - targets)


def missing_files(root):
    """Files of ours, as the README names them: in backquotes, in one of our folders."""
    named = re.findall(r"`((?:shared|config|db|milter|tests|packaging)/[\w./-]*)`",
                       read(root / "README.md"))
    return sorted({name for name in named if not (root / name).exists()})


def untold_alerts(root):
    alerts = re.findall(r"- alert: (\w+)", read(root / "packaging/prometheus/rcpt-milter.rules.yml"))
    return sorted(set(alerts) - set(re.findall(r"\bRcptMilter\w+", read(root / "README.md"))))


def too_long(root):
    """What is reference belongs into the manual pages."""
    return [f"{len(text)} lines"] if len(text := lines(root / "README.md")) > 400 else []


@pytest.mark.parametrize("check", [missing_make_targets, missing_files, untold_alerts, too_long],
                         ids=lambda check: check.__name__)
def test_the_readme_names_no(check):
    assert check(ROOT) == []


def test_the_readme_starts_with_the_two_commands():
    first_page = "\n".join(lines(ROOT / "README.md")[:20])
    assert "apt-get install -y make && make demo" in first_page
    assert "make check" in first_page


# ---- what must not stand anywhere ----

FORBIDDEN = {
    # Written in pieces so that this file does not find itself.
    "an unfinished note": r"\b(?:TO" r"DO|FIX" r"ME|X" r"XX)\b",
    "a path of the machine it was written on": r"(?<![\w.$])/(?:wo" r"rk|ho" r"me/\w+)/\w",
    "a package mirror": r"(?:snap" r"shot|deb|security|ftp)\.\w*\.?debian\.org|arc" r"hive\.ubuntu",
}

# A wait for a length of time hopes; a wait for a condition knows. Who may sleep, and why:
SLEEP = r"\b(?:u|nano|clock_nano)?sle" r"ep\s*\(|time\.sle" r"ep|^\s*sle" r"ep \d|poll\(NULL"
MAY_SLEEP = {
    "tests/e2e/test_life.py": (1, "a double's wait that does not end while a file is there"),
    # file: (how often, why)
    "tests/e2e/processes.py": (1, "wait_until: the pause between two looks at a condition"),
    "tests/faults/matrix.py": (2, "a fault that lasts for so long; the pause between two looks"),
    "tests/faults/network.py": (2, "doubles that dribble, and that answer late"),
    "tests/faults/node_world.py": (1, "the pause between two looks at a condition"),
    "tests/faults/soak.py": (1, "the pace of clients that ask and assert all the time"),
    "tests/unit/pause.h": (1, "as wait_until above"),
    "tests/unit/test_maps.c": (1, "the pace of threads that ask and assert all the time"),
    "tests/unit/test_memcache.c": (3, "the pace of threads that ask and assert all the time; a "
                                      "double that answers slowly"),
    "tests/with-mariadb": (1, "the pause between two looks whether the server is ready"),
    "tests/with-memcached": (1, "the pause between two looks whether the server is ready"),
}


def forbidden(root):
    return [f"{where(root, path, number)}: {name}" for path in project_files(root)
            if path.suffix != ".png"  # where any three letters come up by chance
            for name, pattern in FORBIDDEN.items() for number, _ in matches(pattern, path)]


def sleeping_tests(root):
    found = []
    for path in project_files(root):
        name = path.relative_to(root).as_posix()
        sleeps = matches(SLEEP, path) if name.startswith("tests/") else []
        if len(sleeps) > MAY_SLEEP.get(name, (0,))[0]:
            found += [where(root, path, number) for number, _ in sleeps]
    return found


@pytest.mark.parametrize("check", [forbidden, sleeping_tests], ids=lambda check: check.__name__)
def test_nowhere_is_anything(check):
    assert check(ROOT) == []


# ---- each check can fail ----

ROW_OF_SLOTS = '{"directory", "lookup_slots", "12", VALUE_NUMBER, AT(lookup_slots), 1, 64, false},\n'


@pytest.mark.parametrize("check, files", [
    (daemon_options, {"milter/main.c": 'getopt(argc, argv, "fv")',
                      f"{MAN}/rcpt-milter.8": ".It Fl f\n"}),
    (daemon_options, {"milter/main.c": 'getopt(argc, argv, "f")',
                      f"{MAN}/rcpt-milter.8": ".It Fl f\n.It Fl v\n"}),
    (rcptctl_options, {"milter/rcptctl.c": 'getopt(argc, argv, "+s:")', f"{MAN}/rcptctl.8": ""}),
    (rcptctl_commands, {"milter/command.c": '    {"status", "", "help", run_status},\n',
                        f"{MAN}/rcptctl.8": ".Sh DESCRIPTION\n"}),
    (rcptctl_commands, {"milter/command.c": "",
                        f"{MAN}/rcptctl.8": ".Sh DESCRIPTION\n.It Cm status\n"}),
    (counters, {"shared/counters.h": 'X(sessions, "help")', "milter/gauges.h": "",
                f"{MAN}/rcptctl.8": ""}),
    (parameters, {"config/settings.c": ROW_OF_SLOTS, f"{MAN}/rcpt-milter.conf.5": ""}),
    (parameters, {"config/settings.c": "",
                  f"{MAN}/rcpt-milter.conf.5": '.It Cm role Pq "default: primary"\n'}),
    *[(half_told_parameters, {"config/settings.c": ROW_OF_SLOTS, f"{MAN}/rcpt-milter.conf.5":
                              '.It Cm lookup_slots Pq "default: 12"\n' + text})
      for text in ["1 to 63.\n.Dl lookup_slots = 9\n", "1 to 64.\n.Dl lookup_slots = 12\n",
                   "1 to 64.\n", "1 to 64; needs a restart.\n.Dl lookup_slots = 9\n"]],
    (half_told_parameters, {"config/settings.c": ROW_OF_SLOTS.replace("NUMBER", "TIME_S"),
                            f"{MAN}/rcpt-milter.conf.5": '.It Cm lookup_slots Pq "default: 12"\n'
                                                         "1ms to 64ms\n.Dl lookup_slots = 9\n"}),
    (order_of_parameters, {"config/settings.c": ROW_OF_SLOTS, "config/rcpt-milter.conf": "",
                           f"{MAN}/rcpt-milter.conf.5": ".Sh DIRECTORY PARAMETERS\n"
                                                        '.It Cm lookup_slots Pq "default: 12"\n'}),
    (exit_codes, {"milter/command.h": "EXIT_USAGE = 64,", f"{MAN}/rcptctl.8": ".Sh EXIT STATUS\n"}),
    (loud_lines, {"db/a.c": 'log_error("%s: it is all over", why);',
                  f"{MAN}/rcpt-milter.8": ".Sh DIAGNOSTICS\n"}),
    (untold_alerts, {"packaging/prometheus/rcpt-milter.rules.yml": "  - alert: RcptMilterOdd\n",
                     "README.md": "RcptMilterOddity\n"}),
    (verdict_rows, {"milter/verdict.c": '    {"known", COUNT_verdict_known,\n',
                    f"{MAN}/rcpt-milter.8": ""}),
    (missing_make_targets, {"Makefile": "all: x\n", "README.md": "`make everything`\n"}),
    (missing_files, {"README.md": "see `db/resolver.c`\n"}),
    (forbidden, {"a.c": "/* TO" "DO */"}),
    (forbidden, {"a.c": "/wo" "rk/main"}),
    (forbidden, {"a.c": "/ho" "me/joe/x"}),
    (forbidden, {"a": "http://deb" ".debian.org/"}),
    (sleeping_tests, {"tests/a.py": "    time.sle" "ep(1)\n"}),
    (sleeping_tests, {"tests/unit/a.c": "    usle" "ep(10);\n"}),
    (sleeping_tests, {"tests/with": "sle" "ep 1\n"}),
])
def test_a_broken_tree_is_noticed(tmp_path, check, files):
    for name, text in files.items():
        plant(tmp_path, name, text)
    assert len(check(tmp_path)) == 1


def test_mandoc_complains_of_a_broken_page(tmp_path):
    assert mandoc_complaints(plant(tmp_path, "a.8", ".Dt A 8\n.Sh NAME\n.Nonsense\n"))
