#!/usr/bin/python3
"""`make check-senders`: what senders other than Postfix see in the five constellations of
tests/e2e/mx_world.py. Writes tests/senders.md; takes four minutes (OpenSMTPD pauses between
sessions). Not part of make check: the packages of mail servers
conflict with one another, so they are downloaded and unpacked beside everything, each time.
"""

import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "e2e"))

from harness import LogFile, Process  # noqa: E402
from mx_world import AUTHOR, CONSTELLATIONS, FALLBACK, HOSTS, MxWorld  # noqa: E402

FIRST_H, ESCALATED_H = 1, 4 + 5 / 60  # of the retries, after the first attempt


class Package:
    """Debian packages, unpacked. `inside` makes their users and libraries known in the namespaces
    of an Internet, which alone sees them."""

    def __init__(self, scratch, *names):
        self.root = scratch.new(names[0])
        downloads = scratch.new("downloads")
        run("apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", *names, cwd=downloads)
        for package in downloads.glob("*.deb"):
            run("dpkg-deb", "-x", package, self.root)
        self.version = run("dpkg-deb", "-f", next(downloads.glob(f"{names[0]}_*")), "Version").strip()

    def inside(self, internet, users):
        for name, line in (("passwd", "{0}:x:{1}:{1}::/nonexistent:/bin/false\n"), ("group", "{0}:x:{1}:\n")):
            text = Path("/etc", name).read_text()
            text += "".join(line.format(user, 64000 + i) for i, user in enumerate(users))
            self._instead(internet, f"/etc/{name}", text)
        conf, cache = self.root / "ld.so.conf", self.root / "ld.so.cache"
        libraries = {path.parent for path in self.root.glob("usr/lib/*/*.so.*")}
        conf.write_text("\n".join(["include /etc/ld.so.conf", *map(str, libraries)]) + "\n")
        run("/sbin/ldconfig", "-X", "-f", conf, "-C", cache)
        run(*internet.wrapper, "mount", "--bind", cache, "/etc/ld.so.cache")

    def _instead(self, internet, path, text):
        ours = self.root / Path(path).name
        ours.write_text(text)
        run(*internet.wrapper, "mount", "--bind", ours, path)


def run(*command, **options):
    if "input" not in options:
        options["stdin"] = subprocess.DEVNULL
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


class PostfixSender:
    def __init__(self, mx):
        self.mx = mx
        self.name = "Postfix " + mx.sender.command("postconf", "-h", "mail_version").strip()

    def start(self):
        return self

    def send(self, recipient):
        self.letter = self.mx.send(recipient)[0]
        return self._outcome()

    def retry(self):
        self.mx.retry(self.letter)
        return self._outcome()

    def _outcome(self):
        return self.letter.last.status, self.letter.last.host

    def forget(self):
        self.mx.forget_letters()


class EximSender:
    USER = "Debian-exim"
    CONFIG = """\
exim_path = {program}
keep_environment =
primary_hostname = sender.test
spool_directory = {spool}
log_file_path = {spool}/%slog
local_interfaces = 127.0.0.1
never_users =
disable_ipv6 = false
begin routers
author:
  driver = accept
  domains = writer.test
  transport = inbox
world:
  driver = dnslookup
  transport = smtp
begin transports
smtp:
  driver = smtp
inbox:
  driver = appendfile
  file = {spool}/inbox
  user = nobody
begin retry
* * F,2h,15m; G,16h,1h,1.5; F,4d,6h
"""
    RESULTS = {"=>": "sent", "**": "bounced", "==": "deferred"}

    def __init__(self, mx):
        self.mx = mx
        self.package = Package(mx.scratch, "exim4-daemon-light", "libidn12")
        self.name = "Exim " + self.package.version.partition("-")[0]
        self.program = self.package.root / "usr/sbin/exim4"

    def start(self):
        self.package.inside(self.mx.internet, [self.USER])
        spool = self.mx.scratch.new("exim-spool")
        run(*self.mx.internet.wrapper, "chown", self.USER, spool)
        self.conf = self.mx.scratch.file("exim.conf", self.CONFIG.format(program=self.program, spool=spool))
        self.log = LogFile(spool / "mainlog")
        return self

    def send(self, recipient):
        self.recipient = recipient
        mark = self.log.end()
        self._exim("-odi", "-f", AUTHOR, recipient, input=f"Subject: to {recipient}\n\nHello.\n")
        return self._outcome(mark)

    def retry(self):
        mark = self.log.end()
        self._exim("-qff")
        return self._outcome(mark)

    def forget(self):
        for letter in self._exim("-bp").split("\n\n"):
            if words := letter.split():
                self._exim("-Mrm", words[2])

    def _exim(self, *arguments, **options):
        return run(*self.mx.internet.wrapper, self.program, "-C", self.conf, *arguments, **options)

    def _outcome(self, mark):
        line = self.log.wait(rf" (=>|\*\*|==) {re.escape(self.recipient)} ", mark)
        host = re.search(r"H=(\w+)\.mx\.test", line)
        return self.RESULTS[line.split()[3]], host and host.group(1)


class OpenSmtpdSender:
    """It has its places in /var and /run compiled in: in the namespaces these are new and empty."""

    CONFIG = """\
mta limit session-keepalive 0
listen on socket
action "world" relay helo "sender.test"
match from local for any action "world"
"""
    RESULTS = {"Ok": "sent", "PermFail": "bounced", "TempFail": "deferred"}

    def __init__(self, mx):
        self.mx = mx
        self.server = Process(mx.scratch.new("opensmtpd-log") / "log")
        self.server.stop = self.server.end
        self.log = self.server.log
        self.package = Package(mx.scratch, "opensmtpd", "libevent-2.1-7")
        self.name = "OpenSMTPD " + self.package.version.partition("-")[0]
        self.programs = self.package.root / "usr/sbin"

    def start(self):
        self.package.inside(self.mx.internet, ["opensmtpd", "opensmtpq"])
        # As its installation would.
        run(*self.mx.internet.wrapper, "chgrp", "opensmtpq", self.programs / "smtpctl")
        run("chmod", "2555", self.programs / "smtpctl")
        for path, directory in (("/run", ""), ("/var/spool", ""), ("/var/lib", "opensmtpd/empty")):
            script = 'mount -t tmpfs -o mode=755 tmpfs "$0" && mkdir -p "$0/$1"'
            run(*self.mx.internet.wrapper, "sh", "-c", script, path, directory)
        conf = self.mx.scratch.file("smtpd.conf", self.CONFIG, 0o600)
        self.mx.servers.append(self.server)
        self.server.spawn([*self.mx.internet.wrapper, self.programs / "smtpd", "-d", "-v", "-f", conf])
        self.log.wait("offline scanning done")
        return self

    def _ctl(self, *arguments):
        return run(*self.mx.internet.wrapper, self.programs / "smtpctl", *arguments)

    def send(self, recipient):
        self.recipient = recipient
        mark = self.log.end()
        run(*self.mx.internet.wrapper, self.programs / "sendmail", "-f", AUTHOR, recipient,
            input=f"Subject: to {recipient}\n\nHello.\n")  # fmt: skip
        return self._outcome(mark)

    def retry(self):
        mark = self.log.end()
        self._ctl("schedule", "all")
        return self._outcome(mark)

    def _outcome(self, mark):
        line = self.log.wait(rf' mta delivery .* to=<{re.escape(self.recipient)}> .*result="', mark)
        address = re.search(r'relay="\[?([\d.a-f:]+)', line).group(1)
        host = [host for host, addresses in HOSTS.items() if address in addresses]
        return self.RESULTS[re.search(r'result="(\w+)"', line).group(1)], host[0]

    def forget(self):
        for line in self._ctl("show", "queue").splitlines():
            self._ctl("remove", line.partition("|")[0])


class SendmailSender:
    """Its host has a name with a dot: without one it waits a minute, each time it starts."""

    CONFIG = """\
OSTYPE(`linux')dnl
define(`confDOMAIN_NAME', `sender.test')dnl
define(`confDONT_BLAME_SENDMAIL', `GroupWritableDirPathSafe')dnl
undefine(`ALIAS_FILE')dnl
define(`confDONT_PROBE_INTERFACES', `true')dnl
define(`STATUS_FILE', `')dnl
define(`confTO_RESOLVER_RETRANS', `1s')dnl
FEATURE(`nocanonify')dnl
MAILER(`local')dnl
MAILER(`smtp')dnl
"""
    NAMED = ["unshare", "-u", "sh", "-c", 'hostname sender.test && exec "$0" "$@"']
    RESULTS = {"Sent": "sent", "4": "deferred", "5": "bounced"}

    def __init__(self, mx):
        self.mx = mx
        self.package = Package(mx.scratch, "sendmail-bin", "sendmail-cf", "libwrap0")
        self.name = "sendmail " + self.package.version.partition("-")[0]
        self.program = self.package.root / "usr/libexec/sendmail/sendmail"

    def start(self):
        self.package.inside(self.mx.internet, ["smmta", "smmsp"])
        self.program.chmod(0o755)  # its installation's group is not ours
        macros = self.package.root / "usr/share/sendmail/cf"
        self.conf = self.mx.scratch.file("sendmail.cf", run(
            "m4", f"-D_CF_DIR_={macros}/", macros / "m4/cf.m4", "-", input=self.CONFIG))
        self.queue = self.mx.scratch.new("sendmail-queue")
        self.queue.chmod(0o700)
        return self

    def send(self, recipient):
        self.recipient = recipient
        said = self._sendmail("-odi", "-i", "-v", "-f", AUTHOR, recipient,
                              input=f"Subject: to {recipient}\n\nHello.\n")
        return self._outcome(said)

    def retry(self):
        return self._outcome(self._sendmail("-q", "-v"))

    def _sendmail(self, *arguments, input=""):
        done = subprocess.run(
            [*self.mx.internet.wrapper, *self.NAMED, self.program, "-C", self.conf,
             "-O", f"QueueDirectory={self.queue}", *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, input=input)  # fmt: skip
        assert done.returncode in (0, 67, 68, 75), done  # sysexits.h: what became of the letter
        return done.stdout

    def _outcome(self, said):
        """The last host it spoke to, and its last word about the letter."""
        hosts = re.findall(r"Connecting to (\w+)\.mx\.test", said)
        to = re.escape(self.recipient)
        words = re.findall(rf"^(?:{to}\.\.\. )?(Sent|[45](?=\d\d \S+ <{to}>))", said, re.M)
        assert hosts and words, said
        return self.RESULTS[words[-1]], hosts[-1]

    def forget(self):
        for path in self.queue.iterdir():
            path.unlink()


SENDERS = [PostfixSender, EximSender, SendmailSender, OpenSmtpdSender]


def story(mx, sender, where):
    """When a typo's last attempt was, its outcome, and the last outcome of a letter to somebody who
    is created after the first attempt; an outcome is (status, host)."""
    short = sender.name.split()[0].lower()
    valid, typo, created = (where.address(f"{short}-{who}") for who in ("valid", "typo", "created"))
    mx.create(valid)
    status, host = sender.send(valid)
    assert (status, host in where.primaries) == ("sent", True), (valid, status, host)
    typos = [sender.send(typo)]
    for hours in (FIRST_H, ESCALATED_H - FIRST_H):
        if typos[-1][0] == "deferred":
            mx.pass_time(hours)
            typos.append(sender.retry())
    status, host = sender.send(created)
    if status == "deferred":
        mx.create(created)
        mx.pass_time(FIRST_H)
        status, host = sender.retry()
    sender.forget()
    when = ["at the first attempt", f"after {FIRST_H} h", "after 4 h 5 min"][len(typos) - 1]
    return when, typos[-1], (status, host)


def told(when, outcome):
    status, host = outcome
    if status == "deferred":
        return f"**still waits** {when}"
    return f"{status} by {'the fallback' if host == FALLBACK else 'a primary'} {when}"


def table(rows):
    heads = ["sender", *(where.name for where in CONSTELLATIONS)]
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def main():
    typos, created = [], []
    wanted = [kind for kind in SENDERS if kind.__name__.lower().startswith(tuple(sys.argv[1:]) or "")]
    with MxWorld() as mx:
        for kind in wanted:
            sender = kind(mx).start()
            stories = [story(mx, sender, where) for where in CONSTELLATIONS]
            typos.append([sender.name, *(told(when, outcome) for when, outcome, _ in stories)])
            created.append([sender.name, *("delivered" if outcome[0] == "sent" else
                                           "bounced before" if outcome[1] == FALLBACK else "**not delivered**"
                                           for _, _, outcome in stories)])  # fmt: skip
    text = f"""\
# What senders see

`make check-senders` wrote this. Each domain has primaries in the constellation named, and the
fallback last in MX order; everything has its defaults (`escalate_after = 4h`). Valid mail was
delivered by a primary at once, in every case.

A mistyped address, tried at once, after {FIRST_H} h and after 4 h 5 min:

{table(typos)}
A recipient created after the first attempt ("bounced before": the fallback was reached in the
first attempt, when the recipient did not exist):

{table(created)}"""
    if wanted == SENDERS:
        (HERE / "senders.md").write_text(text)
    print(text)
    return 1 if "**" in text else 0


if __name__ == "__main__":
    sys.exit(main())
