"""The documents against the code, and what must not stand anywhere."""

import re
import subprocess

import pytest
from sources import ROOT, lines, matches, plant, project_files, where

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
    """With their defaults. A row of config/settings.c starts with its group, name and default."""
    rows = re.findall(r'\{"\w+",\s*"([a-z_]+)",\s*((?:"[^"]*"\s*)+),',
                      read(root / "config/settings.c"))
    coded = {name + " = " + ("".join(default.split('"')[1::2]) or "empty")
             for name, default in rows}
    page = read(root / MAN / "rcpt-milter.conf.5").replace("\\&", "")
    documented = re.findall(r'^\.It Cm ([a-z_]+) Pq "default: (.*)"$', page, re.M)
    return both_ways(coded, {f"{name} = {default}" for name, default in documented})


def verdict_rows(root):
    coded = re.findall(r'^\s*\{"([a-z ]+)", COUNT_', read(root / "milter/verdict.c"), re.M)
    documented = re.findall(r"^\.It (.+)$", section(root / MAN / "rcpt-milter.8", "VERDICTS"), re.M)
    return both_ways(set(coded), set(documented))


@pytest.mark.parametrize("compare", [daemon_options, rcptctl_options, rcptctl_commands,
                                     counters, parameters, verdict_rows], ids=lambda compare: compare.__name__)
def test_the_manual_and_the_code_name_the_same(compare):
    assert compare(ROOT) == []


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


@pytest.mark.parametrize("check", [missing_make_targets, missing_files],
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
    (parameters, {"config/settings.c": '    {"node", "role", "primary", X},\n',
                  f"{MAN}/rcpt-milter.conf.5": ""}),
    (parameters, {"config/settings.c": "",
                  f"{MAN}/rcpt-milter.conf.5": '.It Cm role Pq "default: primary"\n'}),
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
