"""What is packaged: the units, the lists of files, the versions, the completion, the rules for
logcheck. Nothing is built or installed beyond a `make install` into a scratch directory.
`make check-package` tests the package itself."""

import os
import re
import shutil
import subprocess

import pytest
from sources import ROOT, lines

PACKAGING = ROOT / "packaging"
UNITS = sorted(path.name for path in (PACKAGING / "systemd").iterdir())
EXPOSURE_MAX = 1.5


def read(path):
    return path.read_text(encoding="utf-8")


def run(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, **options)


def needs(program):
    return pytest.mark.skipif(not shutil.which(program), reason=f"there is no {program}")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """What `make install` makes. The programs it finds built, or ones that do nothing."""
    root = tmp_path_factory.mktemp("installed")
    build = root / "build"
    build.mkdir()
    for program in ("rcpt-milter", "rcptctl"):
        (build / program).write_text("#!/bin/sh\n")
        (build / program).chmod(0o755)
    # -o all: as if that had nothing to do.
    done = run("make", "-s", "-o", "all", "install", f"DESTDIR={root}/tree", "PREFIX=/usr",
               f"BUILD={build}")  # fmt: skip
    assert done.returncode == 0, done.stderr
    return root / "tree"


def files(tree):
    return sorted(path.relative_to(tree).as_posix() for path in tree.rglob("*") if not path.is_dir())


# ---- versions ----

def version():
    return re.search(r'#define VERSION "(.+)"', read(ROOT / "milter/version.h"))[1]


def test_the_changelog_and_the_code_agree_on_the_version():
    newest = re.match(r"rcpt-milter \(([^)]+)\) ", read(PACKAGING / "debian/changelog"))[1]
    assert newest == version()


def test_the_spec_and_the_code_agree_on_the_version():
    spec = read(PACKAGING / "rpm/rcpt-milter.spec")
    assert re.search(r"^Version:\s+(\S+)$", spec, re.M)[1] == version()
    assert re.search(r"^%changelog\n\*.* - (\S+)-\d+$", spec, re.M)[1] == version()


# ---- lists of files ----

def covers(pattern, path):
    """dh_install's words and rpm's %files: a glob, or a directory with all that is in it."""
    parts = path.split("/")
    return any(re.fullmatch(re.escape(pattern).replace(r"\*", "[^/]*").replace(r"\?", "[^/]"),
                            "/".join(parts[:length])) for length in range(1, len(parts) + 1))  # fmt: skip


def test_the_debian_package_lists_each_installed_file(installed):
    listed = [line.split()[0] for line in lines(PACKAGING / "debian/rcpt-milter.install") if line]
    assert [path for path in files(installed) if not any(covers(word, path) for word in listed)] == []
    made = [word for word in listed if not word.startswith("packaging/")]
    assert [word for word in made if not any(covers(word, path) for path in files(installed))] == []
    assert [word for word in listed if word not in made and not (ROOT / word).is_file()] == []


RPM_MACROS = {"_sbindir": "usr/sbin", "_sysconfdir": "etc", "_mandir": "usr/share/man",
              "_datadir": "usr/share", "_unitdir": "usr/lib/systemd/system",
              "_sysusersdir": "usr/lib/sysusers.d", "_tmpfilesdir": "usr/lib/tmpfiles.d",
              "_sharedstatedir": "var/lib", "_localstatedir": "var"}  # fmt: skip


def test_the_spec_lists_each_installed_file(installed):
    section = re.search(r"^%files\n(.*?)^%changelog", read(PACKAGING / "rpm/rcpt-milter.spec"),
                        re.M | re.S)[1]  # fmt: skip
    listed, documents = [], []
    for line in filter(None, section.splitlines()):
        if line.startswith("%doc"):
            documents += line.split()[1:]
        elif "%dir" not in line and "%ghost" not in line:
            listed.append(re.sub(r"%\{(\w+)\}", lambda name: RPM_MACROS[name[1]], line.split()[-1]))
    # Documents come by %doc, from the tree.
    wanted = [path for path in files(installed) if not path.startswith("usr/share/doc/")]
    assert [path for path in wanted if not any(covers(word, path) for word in listed)] == []
    assert [word for word in listed if not any(covers(word, path) for path in wanted)] == []
    assert [name for name in documents if not (ROOT / name).is_file()] == []


def test_the_builds_needs_are_those_of_the_project():
    """packaging/deps, control and spec name the same libraries."""
    rows = [line.split() for line in lines(PACKAGING / "deps") if line.startswith("build ")]
    control = read(PACKAGING / "debian/control").partition("\nPackage:")[0]
    spec = read(PACKAGING / "rpm/rcpt-milter.spec")
    essential = {"gcc", "libc6-dev"}  # build-essential
    for _, _, apt, dnf in rows:
        assert [name for name in apt.split(",") if name not in essential
                and not re.search(rf"^ {re.escape(name)}\b", control, re.M)] == []  # fmt: skip
        assert [name for name in dnf.split(",")
                if not re.search(rf"^BuildRequires: +{re.escape(name)}$", spec, re.M)] == []


# ---- systemd ----

def programs_are_there(unit, tree):
    """systemd-analyze looks at the machine, where nothing is installed."""
    return read(unit).replace("=/usr/sbin/", f"={tree}/usr/sbin/")


@needs("systemd-analyze")
def test_systemd_has_nothing_to_say_about_the_units(installed, tmp_path):
    for name in UNITS:
        unit = installed / "usr/lib/systemd/system" / name
        (tmp_path / name).write_text(programs_are_there(unit, installed))
    done = run("systemd-analyze", "verify", "--man=no", *[tmp_path / name for name in UNITS],
               env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"})  # fmt: skip
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@needs("systemd-analyze")
def test_the_daemon_is_hardly_exposed(installed):
    done = run("systemd-analyze", "security", "--offline=yes", "--no-pager",
               installed / "usr/lib/systemd/system/rcpt-milter.service")  # fmt: skip
    exposure = re.search(r"Overall exposure level for rcpt-milter.service: ([\d.]+)", done.stdout)
    assert exposure and float(exposure[1]) <= EXPOSURE_MAX, done.stdout


def test_no_unit_has_a_place_left_open(installed):
    assert UNITS
    assert [name for name in UNITS if "@" in
            re.sub(r"@-|@(system-service|privileged|resources)\b", "",
                   read(installed / "usr/lib/systemd/system" / name))] == []  # fmt: skip


def test_the_daemon_requires_no_server():
    unit = read(PACKAGING / "systemd/rcpt-milter.service")
    assert re.findall(r"^(?:Requires|BindsTo|Requisite)=.*", unit, re.M) == []
    assert {"mariadb.service", "mysql.service", "memcached.service"} <= set(
        re.search(r"^After=(.*)", unit, re.M)[1].split())


def in_an_empty_root(tmp_path):
    for name in ("passwd", "group"):
        (tmp_path / "etc").mkdir(exist_ok=True)
        (tmp_path / "etc" / name).write_text("")
    return f"--root={tmp_path}"


@needs("systemd-sysusers")
@needs("systemd-tmpfiles")
@pytest.mark.skipif(os.geteuid() != 0, reason="it needs root")
def test_user_group_and_directory_are_made_also_where_there_is_no_postfix(tmp_path):
    root = in_an_empty_root(tmp_path)
    made = run("systemd-sysusers", root, PACKAGING / "sysusers/rcpt-milter.conf")
    assert made.returncode == 0, made.stderr
    made = run("systemd-tmpfiles", root, "--create", PACKAGING / "tmpfiles/rcpt-milter.conf")
    assert (made.returncode, made.stderr) == (0, "")
    directory = (tmp_path / "var/spool/postfix/rcpt-milter").stat()
    user = re.search(r"^rcpt-milter:x:(\d+):", read(tmp_path / "etc/passwd"), re.M)[1]
    group = re.search(r"^postfix:x:(\d+):", read(tmp_path / "etc/group"), re.M)[1]
    assert (directory.st_mode & 0o7777, directory.st_uid, directory.st_gid) == (
        0o2750, int(user), int(group))  # fmt: skip


# ---- scripts ----

@pytest.mark.parametrize("name", ["rcpt-milter.postinst", "rcpt-milter.postrm", "tests/smoke"])
def test_a_shell_can_read(name):
    done = run("sh", "-n", PACKAGING / "debian" / name)
    assert (done.returncode, done.stderr) == (0, "")


def test_postfix_is_left_alone():
    """No maintainer script changes its configuration, and nobody is asked anything."""
    scripts = [path for path in (PACKAGING / "debian").iterdir()
               if path.suffix in (".postinst", ".postrm", ".preinst", ".prerm")]
    assert scripts
    assert [path.name for path in scripts if re.search(r"postconf|main\.cf|debconf|db_input", read(path))] == []
    assert not list((PACKAGING / "debian").glob("*templates"))


# ---- completion ----

COMPLETE = r"""
_init_completion() { cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
                     words=("${COMP_WORDS[@]}") cword=$COMP_CWORD; }
_filedir() { COMPREPLY=(A-FILE); }
. packaging/bash-completion/rcptctl
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_rcptctl
printf '%s\n' "${COMPREPLY[@]}"
"""


def complete(rcptctl, *words):
    done = run("bash", "-c", COMPLETE, "-", rcptctl, *words)
    assert (done.returncode, done.stderr) == (0, "")
    return set(done.stdout.split())


@pytest.fixture(scope="module")
def rcptctl(tmp_path_factory):
    """A program with the usage of rcptctl, from the rows that rcptctl prints."""
    printed = re.search(r'"  (%-\d+s %s)\\n", words, rows\[i\]\.help', read(ROOT / "milter/rcptctl.c"))
    assert printed, "rcptctl's usage looks different: see packaging/bash-completion/rcptctl"
    path = tmp_path_factory.mktemp("bin") / "rcptctl"
    rows = "".join("  " + printed[1] % (f"{name} {arguments}", "some help") + "\n"
                   for name, arguments in command_rows().items())
    path.write_text(f"#!/bin/sh\ncat >&2 <<'END'\nusage: rcptctl ...\n\n{rows}END\nexit 64\n")
    path.chmod(0o755)
    return path


def command_rows():
    return dict(re.findall(r'^\s*\{"([a-z-]+)",\s*"([^"]*)"', read(ROOT / "milter/command.c"), re.M))


def test_every_command_is_completed(rcptctl):
    assert command_rows()
    assert complete(rcptctl, "") == set(command_rows())
    assert complete(rcptctl, "st") == {name for name in command_rows() if name.startswith("st")}


@pytest.mark.parametrize("name", command_rows())
def test_every_option_is_completed_of(rcptctl, name):
    assert complete(rcptctl, name, "--") == set(re.findall(r"--[a-z-]+", command_rows()[name]))
    assert complete(rcptctl, "-c", "x.conf", name, "--") == complete(rcptctl, name, "--")


def test_options_before_the_command_are_those_it_takes(rcptctl):
    letters = re.search(r'getopt\(argc, argv, "\+([a-zA-Z:]+)"\)', read(ROOT / "milter/rcptctl.c"))[1]
    assert complete(rcptctl, "-") == {f"-{letter}" for letter in letters if letter != ":"}


def test_files_are_completed_where_a_file_is_wanted(rcptctl):
    assert complete(rcptctl, "-c", "") == {"A-FILE"}
    assert complete(rcptctl, "learn", "") == {"A-FILE"}


# ---- logcheck ----

HOST = "Nov 20 20:00:00 mx1 rcpt-milter[4711]: "
PROVEN = ' role=primary verdict="unknown on a primary" evidence=directory age=0s'
ORDINARY = [
    HOST + "rcpt-milter 0.1.0 serves, role primary",
    HOST + "rcpt-milter: stopping",
    "2026-11-20T20:00:00.123456+00:00 mx1 rcpt-milter[4711]: stopped",
    HOST + "configuration /etc/rcpt-milter/rcpt-milter.conf reloaded",
    HOST + "AB242A7C7A3: reject: RCPT from unknown[127.0.0.1]: 450 4.1.1 <allice@example.com>: User "
           "unknown here, please try the next MX; from=<sender@elsewhere.example> "
           "to=<allice@example.com>" + PROVEN,
    HOST + "NOQUEUE: reject: RCPT from mx[2001:db8::1]: 550 5.1.1 <x@example.com>: User unknown; from=<> "
           'to=<x@example.com> role=fallback verdict="unknown on the fallback" evidence=directory age=0s',
    HOST + "mysql unix:/run/mysqld/mysqld.sock answers again after 2.5 s",
    "Nov 20 20:00:00 mx1 systemd[1]: Started rcpt-milter.service - Recipient check.",
]  # fmt: skip
ALARMS = [
    HOST + "error: the sentinel recipient postmaster@example.com is missing",
    HOST + "warning: recipient_maps is empty: recipients are not checked, every one passes",
    HOST + "rcpt-milter: error: mysql inet:db: error 2002; no lookup goes there until it answers again",
    HOST + "error: possibly a false bounce: <alice@example.com>",
    HOST + "A1: reject: RCPT from unknown[192.0.2.1]: 451 4.4.3 <b@example.com>: Cannot check; from=<> "
           'to=<b@example.com> role=primary verdict="unavailable on a primary" evidence=nobody',
    HOST + "A1: reject: RCPT from unknown[192.0.2.1]: 550 5.4.3 <b@example.com>: Cannot check; from=<> "
           'to=<b@example.com> role=fallback verdict="unavailable on the fallback"',
    # A sender who would like not to be seen.
    HOST + 'A1: reject: RCPT from unknown[192.0.2.1]: 451 4.4.3 <b@example.com>: Cannot check; '
           f'from=<x;{PROVEN}@example.com> to=<b@example.com> role=fallback verdict="held"',
    "Nov 20 20:00:00 mx1 systemd[1]: rcpt-milter.service: Failed with result 'watchdog'.",
]  # fmt: skip


def ignored(line):
    """As logcheck does it: egrep --file."""
    return run("grep", "-E", "-q", "-f", PACKAGING / "logcheck/rcpt-milter", input=line + "\n").returncode == 0


@pytest.mark.parametrize("line", ORDINARY)
def test_logcheck_is_silent_about(line):
    assert ignored(line)


@pytest.mark.parametrize("line", ALARMS)
def test_logcheck_speaks_of(line):
    assert not ignored(line)


# ---- each check can fail ----

def test_a_file_that_is_not_listed_is_noticed():
    assert covers("usr/share/man", "usr/share/man/man8/x.8")
    assert covers("usr/lib/systemd/system/rcpt-milter*.timer", "usr/lib/systemd/system/rcpt-milter-learn.timer")
    assert not covers("usr/sbin/rcptctl", "usr/sbin/rcptctl2")
    assert not covers("usr/lib/*.timer", "usr/lib/systemd/x.timer")
