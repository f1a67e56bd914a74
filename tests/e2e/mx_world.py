"""A small internet for one sending Postfix: five domains, each with its MX hosts in another
constellation and the fallback last, a name server that knows them, and a clock that moves.

Everything that speaks SMTP or DNS lives in a network namespace, where every MX host has addresses of
its own and port 25. One receiving Postfix listens on all of them; behind each host's listener is its
own rcpt-milter. They share one MariaDB and one memcached, as a fleet does. Only the rcpt-milters
have the clock that moves: the sender is told to retry.
"""

import contextlib
import dataclasses
import re
import subprocess

from conftest import load_directory
from fake_clock import FakeClock
from harness import World, mysql_table, wait_until
from postfix import Postfix
from processes import Process

QUERY = "SELECT address FROM recipients WHERE address = '%s' AND active"
AUTHOR = "author@writer.test"
FALLBACK = "fallback"
HOSTS = {
    "p1": ["198.51.100.1"],
    "p2": ["198.51.100.2"],
    "p3": ["198.51.100.3"],
    "dual": ["198.51.100.4", "2001:db8::4"],
    FALLBACK: ["198.51.100.9"],
}


@dataclasses.dataclass(frozen=True)
class Constellation:
    name: str
    domain: str
    primaries: dict  # host -> preference; the fallback's is 90

    @property
    def reaches_fallback(self):
        """Postfix ends an attempt after smtp_mx_session_limit = 2 sessions."""
        return sum(len(HOSTS[host]) for host in self.primaries) < 2

    def __str__(self):
        return self.name

    def address(self, who):
        return f"{who}@{self.domain}"


CONSTELLATIONS = [
    Constellation("one primary", "one.test", {"p1": 10}),
    Constellation("two of equal preference", "two.test", {"p1": 10, "p2": 10}),
    Constellation("one dual-stack", "dual.test", {"dual": 10}),
    Constellation("two of different preference", "ordered.test", {"p1": 10, "p2": 20}),
    Constellation("three of equal preference", "three.test", {"p1": 10, "p2": 10, "p3": 10}),
]


class Internet(Process):
    """The namespaces: of networks, with the addresses of all hosts, and of mounts, with a
    resolv.conf that asks the name server inside. `wrapper` runs a command there."""

    SCRIPT = """\
set -e
mount --bind "$0" /etc/resolv.conf
ip link set lo up
for address; do
    case $address in
    *:*) ip address add "$address/128" dev lo nodad ;;
    *) ip address add "$address/32" dev lo ;;
    esac
done
echo ready
exec sleep infinity
"""

    def __init__(self, scratch):
        directory = scratch.new("internet")
        super().__init__(directory / "log")
        self.resolv_conf = directory / "resolv.conf"
        self.resolv_conf.write_text("nameserver 127.0.0.1\n")

    def start(self):
        """It lives as long as the sleeper does."""
        addresses = [address for host in HOSTS.values() for address in host]
        self.spawn(["unshare", "-n", "-m", "sh", "-c", self.SCRIPT, self.resolv_conf, *addresses])
        wait_until(lambda: self.log.find("^ready$") or not self.alive(), what="the namespaces")
        assert self.alive(), (
            "this machine does not let us have a network namespace with IPv4 and IPv6 and a mount"
            f" namespace (unshare -n -m; a container needs CAP_SYS_ADMIN): {self.log.text()}"
        )
        return self

    @property
    def wrapper(self):
        return ["nsenter", "-t", str(self.pid), "-n", "-m"]

    stop = Process.kill


class NameServer(Process):
    """dnsmasq with the MX records of all constellations."""

    def __init__(self, scratch, internet):
        self.directory = scratch.new("dns")
        super().__init__(self.directory / "log")
        self.internet = internet
        self.conf = self.directory / "dnsmasq.conf"
        self.conf.write_text("\n".join(self._lines()) + "\n")

    @staticmethod
    def _lines():
        yield from ("no-resolv", "no-hosts", "listen-address=127.0.0.1", "bind-interfaces",
                    "user=root", "pid-file", "log-facility=-", "local=/test/")  # fmt: skip
        for host, addresses in HOSTS.items():
            yield f"host-record={host}.mx.test,{','.join(addresses)}"
        for constellation in CONSTELLATIONS:
            for host, preference in {**constellation.primaries, FALLBACK: 90}.items():
                yield f"mx-host={constellation.domain},{host}.mx.test,{preference}"

    def start(self):
        self.spawn([*self.internet.wrapper, "dnsmasq", "--keep-in-foreground", f"--conf-file={self.conf}"])
        wait_until(lambda: self.log.find("started, version") or not self.alive(), what="dnsmasq")
        assert self.alive(), self.log.text()
        return self

    stop = Process.end


class InternetPostfix(Postfix):
    """Inside the namespaces; `addresses` maps a listener to its addresses, all with port 25."""

    def __init__(self, scratch, name, internet, addresses, **parameters):
        super().__init__(scratch, name, inet_protocols="all", **parameters)
        self.internet, self.addresses = internet, addresses

    def start(self):
        self._write()
        done = subprocess.run(
            [*self.internet.wrapper, "postfix", "-c", str(self.config), "start"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0 and self.pid(), done.stderr + self.log.text()[-3000:]
        self.started = True
        return self

    def _write(self):
        super()._write()
        master = (self.config / "master.cf").read_text()
        for name, addresses in self.addresses.items():
            entry = re.compile(rf"^127\.0\.0\.1:{self.ports[name]} (inet .*\n(?:  .*\n)*)", re.M)
            service = entry.search(master).group(1)
            master = entry.sub("", master)
            master += "".join(f"[{address}]:25 {service}" for address in addresses)
        (self.config / "master.cf").write_text(master)


class Attempt:
    """What the sender's log says of one try to deliver a letter: these lines, the last of which
    tells what became of it."""

    def __init__(self, lines):
        self.lines = lines
        self.status = re.search(r"status=(\w+)", lines[-1]).group(1)
        self.dsn = re.search(r"dsn=([\d.]+)", lines[-1]).group(1)
        # (host, address) of each session, in their order
        self.sessions = re.findall(r"(?:: host |relay=)(\w+)\.mx\.test\[([\d.a-f:]+)\]", "\n".join(lines))
        # Of the host that had the last word; None where there was no session.
        self.host = self.sessions[-1][0] if self.sessions else None

    @property
    def hosts(self):
        return [host for host, _ in self.sessions]


class Letter:
    def __init__(self, recipient):
        self.recipient = recipient
        self.queue_id = None
        self.attempts = []

    @property
    def last(self):
        return self.attempts[-1]

    @property
    def waits(self):
        return self.last.status == "deferred"

    def __repr__(self):
        lines = (line for attempt in self.attempts for line in ["", *attempt.lines])
        return f"letter to {self.recipient}:" + "\n".join(lines)


# A busy machine is no outage: what would otherwise be answered with "cannot check now".
PATIENCE = {"lookup_deadline": "25s", "mysql_connect_timeout": "10s", "mysql_query_timeout": "10s",
            "memcache_timeout": "3s"}  # fmt: skip


class MxWorld(World):
    """All of it, started. What is not said here has its default, with every program."""

    def __init__(self, scratch=None):
        super().__init__(scratch)
        try:
            self.internet = self._begin(Internet(self.scratch))
            self._begin(NameServer(self.scratch, self.internet))
            self.directory = load_directory(self.mariadb("mx-db"))
            self.memory = self.memcached("mx-mc")
            self.seconds = self.probes = 0
            self.clock = FakeClock(self.scratch.new("clock") / "offset")
            self._start_receivers()
            self._start_sender()
        except BaseException:
            self.close(failed=True)
            raise

    # starting

    def _start_receivers(self):
        listeners = {host: {} for host in HOSTS}
        self.mx = InternetPostfix(
            self.scratch, "mx", self.internet, HOSTS, listeners=listeners, myhostname="mx.mx.test",
            relay_domains=", ".join(c.domain for c in CONSTELLATIONS), inet_interfaces="all",
        )  # fmt: skip
        self.servers.append(self.mx)
        maps = mysql_table(self, self.directory, QUERY)
        self.milters = {}
        for host in HOSTS:
            self.milters[host] = self.milter(
                host, socket_directory=self.mx.milter_directory(), environment=self.clock.environment,
                role="fallback" if host == FALLBACK else "primary", recipient_maps=maps,
                memcache_servers=f"unix:{self.memory.socket}", **PATIENCE,
            )  # fmt: skip
        self.mx.listen_with(self.milters).start()

    def _start_sender(self):
        self.sender = InternetPostfix(
            self.scratch, "sender", self.internet, {}, myhostname="sender.test",
            default_transport="smtp:", smtp_dns_support_level="enabled", smtp_host_lookup="dns",
            virtual_mailbox_domains="writer.test",
            # Only when told to.
            queue_run_delay="1d", minimal_backoff_time="1d", maximal_backoff_time="1d",
            # Between two attempts pass hours, but not for an SMTP session that is kept.
            smtp_connection_cache_on_demand="no",
        )  # fmt: skip
        self.sender.parameters.update(self.sender.mailboxes())
        self.servers.append(self.sender.start())

    # the directory

    def create(self, *recipients):
        for recipient in recipients:
            self.directory.sql("INSERT INTO recipients (address) VALUES (%s)", recipient)

    @contextlib.contextmanager
    def directory_down(self):
        self.directory.kill()
        try:
            yield
        finally:
            self.directory.start()
            for host in HOSTS:
                self._wait_for_the_directory(host)

    def _wait_for_the_directory(self, host):
        """A recipient whom it alone can know, and only from there."""
        self.probes += 1
        probe = f"probe-{self.probes}@example.test"
        self.create(probe)
        wait_until(lambda: self.milters[host].ask(probe).code == 250, what=f"{host} to ask the directory")

    # the clock

    def pass_time(self, hours):
        """The daemons' clock, and theirs alone."""
        self.seconds += int(hours * 3600)
        self.clock.set(self.seconds)

    # mail

    def send(self, *recipients):
        """A letter to each; returns them after the first attempt to deliver all of them."""
        mark = self.sender.log.end()
        for recipient in recipients:
            subprocess.run(
                ["/usr/sbin/sendmail", "-C", str(self.sender.config), "-f", AUTHOR, "--", recipient],
                input=f"Subject: to {recipient}\n\nHello.\n", capture_output=True, text=True, check=True,
            )  # fmt: skip
        letters = [Letter(recipient) for recipient in recipients]
        for letter in letters:
            self._see_attempt(letter, mark)
        return letters

    def retry(self, *letters):
        """The sender's next queue run, for those whose letters it still has."""
        letters = [letter for letter in letters if letter.waits]
        for letter in letters:
            wait_until(lambda: self._is_deferred(letter), what=f"{letter} to be deferred")
        mark = self.sender.log.end()
        self.sender.command("postqueue", "-f")
        for letter in letters:
            self._see_attempt(letter, mark)

    def _see_attempt(self, letter, mark):
        result = rf"smtp\[\d+\]: \w+: to=<{re.escape(letter.recipient)}>.*status="
        line = self.sender.log.wait(result, mark)
        letter.queue_id = re.search(r"smtp\[\d+\]: (\w+):", line).group(1)
        said = self.sender.log.find(rf"smtp\[\d+\]: {letter.queue_id}: host .* said: ", mark)
        letter.attempts.append(Attempt([*said, line]))

    def _is_deferred(self, letter):
        """The log says so a little before the queue manager puts the file there."""
        return any((self.sender.queue / "deferred").rglob(letter.queue_id))

    def forget_letters(self):
        """What one test has left in the queue is not the next one's."""
        self.sender.command("postsuper", "-d", "ALL")

    def was_delivered(self, recipient):
        """By the receiving side's own word."""
        self.mx.log.wait(rf"to=<{re.escape(recipient)}>.*status=sent")

    def was_returned(self, recipient):
        """The author has the delivery status notification (RFC 3464) in the mailbox."""
        self.sender.mailbox().wait(rf"^Final-Recipient: rfc822; {re.escape(recipient)}$")

    def refusals(self, since):
        """(host, reply) of every 5xx that an MX host gave for a recipient."""
        expression = re.compile(r"postfix/(\w+)/smtpd\[\d+\]: \w+: (?:milter-)?reject: RCPT.*?: (5\d\d .*?);")
        return [found.groups() for line in self.mx.log.lines(since) if (found := expression.search(line))]
