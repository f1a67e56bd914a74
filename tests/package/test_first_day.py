"""From `apt install` to purge, on a Debian that boots, beside Debian's own Postfix with its chroot,
MariaDB and memcached. The steps build on each other: run the whole file, `make check-package`."""

import json
import pathlib
import shutil
import subprocess
import sys

from conftest import AUTOPKGTESTS, HERE, SERVERS
from processes import wait_until

CONFIG = "/etc/rcpt-milter/rcpt-milter.conf"
SPOOL = "/var/spool/postfix/rcpt-milter"
ALICE, TYPO, BOB = "alice@example.com", "allice@example.com", "bob@example.com"

QUERY_FILE = """\
hosts = unix:/run/mysqld/mysqld.sock
user = postfix
password = secret
dbname = mail
query = SELECT address FROM recipients WHERE address = '%s' AND active
list_query = SELECT address FROM recipients WHERE active
"""

DATABASE = """\
CREATE DATABASE mail CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE USER postfix@localhost IDENTIFIED BY 'secret';
GRANT SELECT ON mail.* TO postfix@localhost;
USE mail;
SOURCE /usr/share/rcpt-milter/schema.sql;
INSERT INTO recipients (address) VALUES ('alice@example.com'), ('bob@example.com');
"""

# README, "Attach it to Postfix".
THREE_LINES = """
role = primary
recipient_maps = mysql:/etc/postfix/mysql-recipients.cf
memcache_servers = inet:127.0.0.1:11211
"""
POSTFIX = ["relay_domains = example.com, example.net", "relay_recipient_maps =",
           "smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, "
           "reject_unauth_destination",
           "smtpd_milters = unix:rcpt-milter/milter.sock", "milter_default_action = tempfail",
           "milter_command_timeout = 30s", "milter_protocol = 6"]  # fmt: skip

FOUND = "250 2.1.5"
SESSIONS_PER_SECOND = 2  # while the package is upgraded


# ---- asking ----

def sessions(host, *arguments):
    return host.in_its_network([sys.executable, str(HERE / "sessions.py"), *map(str, arguments)])


def ask(host, *recipients):
    """What Postfix says to these recipients."""
    done = subprocess.run(sessions(host, "ask", *recipients), capture_output=True, text=True,
                          check=True, timeout=120)  # fmt: skip
    return json.loads(done.stdout)


def expect(host, replies):
    """{recipient: reply}, at once."""
    assert dict(zip(replies, ask(host, *replies))) == replies, log_of(host)


def comes_to(host, replies):
    """The same, where servers may need a moment."""
    def asked():
        try:
            return dict(zip(replies, ask(host, *replies))) == replies
        except subprocess.CalledProcessError:
            return False  # nobody listens yet
    wait_until(asked, 60, f"{replies}; {log_of(host)}")


def log_of(host):
    return host.run("journalctl", "-b", "--no-pager", "-n", "40", "-u", "rcpt-milter",
                    "-u", "rcpt-milter-setup", "-u", "postfix@-", check=False).stdout  # fmt: skip


def property_of(host, unit, name):
    return host.run("systemctl", "show", "--value", "-p", name, unit).stdout.strip()


def is_active(host, unit="rcpt-milter"):
    return host.run("systemctl", "is-active", unit, check=False).stdout.strip()


def ownership(host, path):
    return host.run("stat", "-c", "%a %U:%G", path).stdout.strip()


def listeners(host):
    """TCP and UDP sockets of the daemon's."""
    pid = property_of(host, "rcpt-milter", "MainPID")
    held = host.shell(f"ls -l /proc/{pid}/fd")
    tables = host.shell("cat /proc/net/tcp /proc/net/tcp6 /proc/net/udp /proc/net/udp6")
    return [row for row in map(str.split, tables.splitlines())
            if len(row) > 9 and row[3] in ("0A", "07") and f"socket:[{row[9]}]" in held]


def copy_in(host, package):
    shutil.copy(package, host.path("/root"))
    return f"/root/{package.name}"


# ---- the first day ----

def test_the_servers_are_there_as_debian_installs_them(host):
    host.run("apt-get", "install", "-q", "-y", "--no-install-recommends", *SERVERS)
    assert host.shell("postconf -M smtp/inet").split()[4] in "-y"  # chrooted
    assert is_active(host, "mariadb") == "active"
    assert is_active(host, "memcached") == "active"
    wait_until(lambda: is_active(host, "postfix@-") == "active", what="Postfix")


def test_apt_install_starts_it_and_touches_nothing_else(host, package):
    before = host.shell("cd /etc/postfix && cat main.cf master.cf")
    host.run("apt-get", "install", "-q", "-y", copy_in(host, package))
    assert is_active(host) == "active", log_of(host)
    assert host.shell("cd /etc/postfix && cat main.cf master.cf") == before
    assert listeners(host) == []
    assert "NOT CHECKED" in host.run("rcptctl", "status").stdout
    assert host.run("systemctl", "is-enabled", "rcpt-milter").stdout.strip() == "enabled"
    timer = host.run("systemctl", "is-enabled", "rcpt-milter-learn.timer", check=False)
    assert timer.stdout.strip() == "disabled"


def test_the_rights_are_those_it_needs_and_no_more(host):
    assert ownership(host, CONFIG) == "640 root:rcpt-milter"
    assert ownership(host, SPOOL) == "2750 rcpt-milter:postfix"
    assert ownership(host, f"{SPOOL}/milter.sock") == "660 rcpt-milter:postfix"
    assert ownership(host, "/var/lib/rcpt-milter") == "750 rcpt-milter:rcpt-milter"
    assert host.shell("id -nG rcpt-milter").split() == ["rcpt-milter"]  # postfix: the unit only
    assert property_of(host, "rcpt-milter", "Type") == "notify"
    assert property_of(host, "rcpt-milter", "WatchdogUSec") == "1min"
    assert property_of(host, "rcpt-milter", "LimitNOFILE") == "65536"
    shell_user = host.run("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "cat",
                          CONFIG, check=False)  # fmt: skip
    assert shell_user.returncode != 0


def test_the_smoke_test_of_the_package_needs_no_root(host):
    shutil.copy(AUTOPKGTESTS / "smoke", host.path("/var/tmp/smoke"))
    host.run("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "/var/tmp/smoke")


def test_three_lines_make_it_a_primary(host):
    host.write("/root/database.sql", DATABASE, 0o600)
    host.shell("mariadb < /root/database.sql")
    host.write("/etc/postfix/mysql-recipients.cf", QUERY_FILE, 0o640)
    host.shell("chown root:postfix /etc/postfix/mysql-recipients.cf")
    host.shell(f"cat >> {CONFIG} <<'END'{THREE_LINES}END")
    host.run("rcpt-milter", "-t")
    host.run("systemctl", "reload", "rcpt-milter")
    host.run("postconf", "-e", *POSTFIX)
    host.run("systemctl", "reload", "postfix")
    comes_to(host, {ALICE: FOUND, TYPO: "450 4.1.1", "alice@example.net": "450 4.1.1"})
    status = host.run("rcptctl", "status").stdout
    assert "role: primary" in status and "recipients: checked" in status
    assert "memcached inet:127.0.0.1:11211 up" in status


def test_the_log_line_is_in_the_journal(host):
    wait_until(lambda: f"<{TYPO}>" in host.run("journalctl", "-u", "rcpt-milter", "--no-pager").stdout,
               what="the line of the refusal")  # fmt: skip


def test_one_line_makes_it_the_fallback(host):
    host.shell(f"sed -i 's/^role = primary/role = fallback/' {CONFIG}")
    host.run("systemctl", "reload", "rcpt-milter")
    comes_to(host, {TYPO: "550 5.1.1", ALICE: FOUND})


def test_learning_is_ready_to_be_switched_on(host):
    host.write("/etc/rcpt-milter/learn.env", "LEARN=--from mysql:/etc/postfix/mysql-recipients.cf\n")
    host.run("systemctl", "start", "rcpt-milter-learn.service")
    assert "2 recipients" in host.run("rcptctl", "status").stdout


def test_a_reboot_keeps_everything(host):
    host.reboot()
    comes_to(host, {ALICE: FOUND, TYPO: "550 5.1.1"})
    assert is_active(host) == "active"
    order = [int(property_of(host, unit, "ActiveEnterTimestampMonotonic"))
             for unit in ("mariadb", "rcpt-milter", "postfix@-")]
    assert order == sorted(order)


def test_after_a_reboot_without_servers_who_was_known_still_passes(host):
    """bob was learned, and never asked for since."""
    host.run("systemctl", "disable", "mariadb", "memcached")
    host.reboot()
    comes_to(host, {BOB: FOUND, TYPO: "451 4.4.3"})
    host.run("systemctl", "enable", "--now", "mariadb", "memcached")
    comes_to(host, {ALICE: FOUND, TYPO: "550 5.1.1"})


# ---- upgrade ----

def start(host, *arguments):
    return subprocess.Popen(sessions(host, *arguments), stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, text=True)  # fmt: skip


def stop(child):
    rest = child.communicate("\n", timeout=120)[0]
    return [json.loads(line) for line in rest.splitlines()]


def test_an_upgrade_keeps_the_configuration_and_drops_at_most_one_session(host, newer):
    before = host.path(CONFIG).read_text()
    pid = property_of(host, "rcpt-milter", "MainPID")
    steady = start(host, "steady", ALICE, SESSIONS_PER_SECOND)
    assert [json.loads(steady.stdout.readline()) for _ in range(3)] == 3 * [[FOUND]]

    host.run("dpkg", "-i", copy_in(host, newer))
    assert property_of(host, "rcpt-milter", "MainPID") != pid
    comes_to(host, {ALICE: FOUND})
    replies = stop(steady)

    assert host.run("dpkg-query", "-W", "rcpt-milter").stdout.strip().endswith("+upgraded")
    assert host.path(CONFIG).read_text() == before
    assert ownership(host, CONFIG) == "640 root:rcpt-milter"
    dropped = [reply for reply in replies if reply != [FOUND]]
    assert len(dropped) <= 1, replies
    expect(host, {ALICE: FOUND, TYPO: "550 5.1.1"})


def test_a_session_that_is_open_during_a_restart_is_deferred_and_never_bounced(host):
    held = start(host, "hold", ALICE)
    assert json.loads(held.stdout.readline()) == [FOUND]
    host.run("systemctl", "restart", "rcpt-milter")
    (reply,), = stop(held)
    assert reply[0] in "24", reply


# ---- Postfix goes and comes ----

def test_it_starts_where_postfix_and_its_group_are_gone(host):
    """Also its queries: the purge takes /etc/postfix along."""
    host.shell(f"""cp /etc/postfix/mysql-recipients.cf /etc/rcpt-milter
        chgrp rcpt-milter /etc/rcpt-milter/mysql-recipients.cf
        sed -i 's|mysql:/etc/postfix/|mysql:/etc/rcpt-milter/|' {CONFIG}""")
    host.run("apt-get", "purge", "-q", "-y", "postfix", "postfix-mysql")
    assert host.run("getent", "group", "postfix", check=False).stdout == ""
    host.run("systemctl", "restart", "rcpt-milter", check=False)
    assert is_active(host) == "active", log_of(host)
    assert ownership(host, SPOOL) == "2750 rcpt-milter:postfix"


def test_it_serves_a_postfix_that_is_installed_later(host):
    host.run("apt-get", "install", "-q", "-y", "--no-install-recommends", "postfix")
    host.run("postconf", "-e", *POSTFIX)
    host.run("systemctl", "reload", "postfix")
    comes_to(host, {ALICE: FOUND, TYPO: "550 5.1.1"})


def test_a_postfix_that_was_purged_and_came_back_finds_the_socket(host):
    """Its purge takes the queue directory with our socket in it along, under a running daemon."""
    host.run("apt-get", "purge", "-q", "-y", "postfix")
    assert not host.path(SPOOL).exists()
    host.run("apt-get", "install", "-q", "-y", "--no-install-recommends", "postfix")
    wait_until(lambda: host.path(f"{SPOOL}/milter.sock").exists(), what="the socket")
    assert ownership(host, f"{SPOOL}/milter.sock") == "660 rcpt-milter:postfix"


def test_the_postfix_test_of_the_package_passes(host):
    """It writes a configuration of its own, so it comes last."""
    shutil.copy(AUTOPKGTESTS / "postfix", host.path("/root"))
    host.run("/root/postfix")
    host.run("rm", "/etc/rcpt-milter/recipients")


# ---- and leaves ----

def test_removed_it_is_gone_and_its_configuration_is_not(host):
    host.run("apt-get", "remove", "-q", "-y", "rcpt-milter")
    assert is_active(host) in ("inactive", "unknown")
    assert host.path(CONFIG).exists()
    assert not host.path("/usr/sbin/rcpt-milter").exists()


def test_purged_it_leaves_nothing(host):
    host.run("rm", "/etc/rcpt-milter/mysql-recipients.cf")  # ours, not the package's
    host.run("apt-get", "purge", "-q", "-y", "rcpt-milter")
    found = host.shell("find / -xdev \\( -name '*rcpt-milter*' -o -name '*rcptctl*' \\) "
                       "-not -path '/root/*' -not -path '/proc/*' -not -path '/var/log/*'")
    assert found.split() == []
    assert pathlib.Path(host.path("/var/spool/postfix")).exists()  # Postfix's, which is still there
    assert "rcpt-milter" not in host.shell("systemctl list-unit-files; systemctl list-units --all")
