"""rcptctl doctor: real postconf over real configurations. The healthy one gives no finding, and each
single change to it gives the one finding that belongs to it."""

import os
import pathlib
import re
import shutil
import socket
import subprocess

import pytest

from harness import World, ask_postfix, rcptctl, wait_until
from processes import Process

ROOT = pathlib.Path(__file__).resolve().parents[2]
NO_NETWORK = ["unshare", "-n"]  # DNS has tests of its own, below
WELL, FINDINGS, USAGE, NO_POSTFIX, CONFIG = 0, 1, 64, 69, 78
ROLES = ["primary", "fallback"]

MAIN = {
    "compatibility_level": "3.6",
    "myhostname": "mx.provider.test",
    "mydestination": "$myhostname, localhost",
    "mynetworks": "127.0.0.0/8",
    "relay_domains": "example.test",
    "relay_recipient_maps": "",
    "smtpd_relay_restrictions": "permit_mynetworks, reject_unauth_destination",
    "smtpd_milters": "unix:rcpt-milter/milter.sock",
    "milter_default_action": "tempfail",
    "recipient_delimiter": "+",
}
MASTER = """\
smtp      inet  n       -       y       -       -       smtpd
submission inet n       -       y       -       -       smtpd
  -o smtpd_relay_restrictions=permit_sasl_authenticated,reject
  -o smtpd_milters=
127.0.0.1:10025 inet n  -       n       -       -       smtpd
  -o smtpd_milters=
cleanup   unix  n       -       y       -       0       cleanup
"""


class Patient:
    """A healthy host, with a socket where Postfix looks for rcpt-milter's."""

    def __init__(self, scratch, role="primary"):
        self.directory = scratch.new("dr")
        self.etc, self.queue = self.directory / "etc", self.directory / "queue"
        self.etc.mkdir()
        (self.queue / "rcpt-milter").mkdir(parents=True)
        shutil.chown(self.queue / "rcpt-milter", group="postfix")
        (self.queue / "rcpt-milter").chmod(0o2750)
        self.socket = self.queue / "rcpt-milter/milter.sock"
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(self.socket))
        self.socket.chmod(0o660)
        self.main = {**MAIN, "queue_directory": self.queue}
        self.master = MASTER
        self.ours = {
            "role": role, "recipient_maps": "inline:{alice@example.test=OK}", "recipient_delimiter": "+",
            "milter_socket": f"unix:{self.socket}",
        }  # fmt: skip
        self.conf = self.directory / "rcpt-milter.conf"

    def write(self):
        for path, values in ((self.etc / "main.cf", self.main), (self.conf, self.ours)):
            path.write_text("".join(f"{name} = {value}\n" for name, value in values.items()))
        (self.etc / "master.cf").write_text(self.master)
        self.rest()
        return self

    def rest(self):
        """postconf waits until nobody has been writing a file for a second."""
        for path in self.etc.iterdir():
            os.utime(path, (0, 0))

    def doctor(self, *arguments, wrapper=NO_NETWORK):
        return rcptctl("-c", self.conf, "doctor", "--postfix", self.etc, *arguments, wrapper=wrapper)


def findings(done):
    """The names of the findings, in the order told."""
    assert done.returncode in (WELL, FINDINGS) and not done.stderr, done
    names = re.findall(r"(?m)^(\w+): .*\.$", done.stdout)
    assert (done.returncode == FINDINGS) == bool(names), done
    return names


def changes(done):
    return re.findall(r"(?m)^     (.*)$", done.stdout)


@pytest.mark.parametrize("role", ROLES)
def test_a_healthy_host_is_well(scratch, role):
    patient = Patient(scratch, role).write()
    done = patient.doctor()
    assert findings(done) == [] and "all is well" in done.stdout, done


# ---- one change, one finding ----

MILTER = "unix:rcpt-milter/milter.sock"
VIRTUAL = {"virtual_mailbox_domains": "box.test", "virtual_mailbox_maps": "inline:{a@box.test=x}"}

# (finding, what is changed in main.cf, what its sentence and its lines to change must have)
BROKEN = [
    ("not_attached", {"smtpd_milters": ""}, f"postconf -c ETC -e 'smtpd_milters = {MILTER}'"),
    ("not_attached", {"smtpd_milters": "inet:localhost:11332"}, f"'smtpd_milters = {MILTER}, inet:localhost:11332'"),
    ("not_attached", {"receive_override_options": "no_milters"}, "'receive_override_options ='"),
    ("chrooted_socket", {"smtpd_milters": "unix:QUEUE/rcpt-milter/milter.sock"}, f"'smtpd_milters = {MILTER}'"),
    ("default_action", {"milter_default_action": "accept"}, "'milter_default_action = tempfail'"),
    ("default_action", {"milter_default_action": "reject"}, "'milter_default_action = tempfail'"),
    ("default_action", {"milter_default_action": "accept", "smtpd_milters": f"{MILTER}, inet:localhost:11332"},
     f"'smtpd_milters = {{ {MILTER}, default_action=tempfail }}, inet:localhost:11332'"),
    ("default_action", {"smtpd_milters": f"{{ {MILTER}, default_action=accept, command_timeout=20s }}"},
     f"'smtpd_milters = {{ {MILTER}, command_timeout=20s, default_action=tempfail }}'"),
    ("command_timeout", {"milter_command_timeout": "5s"}, "'milter_command_timeout = 30s'"),
    ("command_timeout", {"smtpd_milters": f"{{ {MILTER}, command_timeout=2s }}"}, "command_timeout=30s }'"),
    ("connect_timeout", {"milter_connect_timeout": "1"}, "'milter_connect_timeout = 30s'"),
    ("non_smtpd_milters", {"non_smtpd_milters": f"inet:localhost:1, {MILTER}"},
     "'non_smtpd_milters = inet:localhost:1'"),
    ("unlisted_recipients", {"relay_recipient_maps": "inline:{a@example.test=x}"}, "'relay_recipient_maps ='"),
    ("unlisted_recipients", VIRTUAL, "'smtpd_reject_unlisted_recipient = no'"),
    ("unlisted_recipients", {**VIRTUAL, "unknown_virtual_mailbox_reject_code": "450"}, "Postfix itself answers 450"),
    ("unlisted_recipients", {**VIRTUAL, "smtpd_reject_unlisted_recipient": "no",
                             "smtpd_recipient_restrictions": "permit_mynetworks, reject_unlisted_recipient"},
     "'smtpd_recipient_restrictions = permit_mynetworks'"),
    ("unlisted_recipients", {**VIRTUAL, "smtpd_reject_unlisted_recipient": "no",
                             "smtpd_restriction_classes": "strict", "strict": "reject_unlisted_recipient"},
     "'strict ='"),
    ("unlisted_recipients", {"virtual_alias_domains": "alias.test", "virtual_alias_maps": "inline:{a@alias.test=x}"},
     "virtual_alias_maps"),
    ("unlisted_recipients", {"mydestination": "$myhostname, own.test", "local_recipient_maps": "inline:{a=x}"},
     "local_recipient_maps"),
    ("unverified_recipients", {"smtpd_recipient_restrictions": "reject_unverified_recipient",
                               "unverified_recipient_reject_code": "550"}, "'smtpd_recipient_restrictions ='"),
    ("soft_bounce", {"soft_bounce": "yes"}, "'soft_bounce = no'"),
    ("domains_in_database", {"relay_domains": "example.test, proxy:mysql:/no/such.cf"},
     "'relay_domains_reject_code = 454'"),
    ("error_limits", {"smtpd_hard_error_limit": "${stress?1}${stress:5}"}, "'smtpd_hard_error_limit = 20'"),
    ("error_limits", {"smtpd_soft_error_limit": "3"}, "'smtpd_soft_error_limit = 10'"),
    ("error_limits", {"smtpd_error_sleep_time": "10s"}, "'smtpd_error_sleep_time = 1s'"),
    ("recipient_delimiter", {"recipient_delimiter": ""}, "CONF: recipient_delimiter = "),
    ("recipient_delimiter", {"recipient_delimiter": "+-"}, "CONF: recipient_delimiter = +-"),
]  # fmt: skip


def filled(text, patient):
    for word, path in (("QUEUE", patient.queue), ("ETC", patient.etc), ("CONF", patient.conf)):
        text = text.replace(word, str(path))
    return text


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("finding, change, told", BROKEN)
def test_one_change_to_main_cf_gives_its_finding(scratch, role, finding, change, told):
    patient = Patient(scratch, role)
    patient.main.update({name: filled(value, patient) for name, value in change.items()})
    done = patient.write().doctor()
    assert findings(done) == [finding], done
    assert filled(told, patient) in done.stdout, done


SHELL = [row for row in BROKEN if row[0] != "recipient_delimiter"]


@pytest.mark.parametrize("finding, change, told", SHELL)
def test_what_is_told_to_change_heals(scratch, finding, change, told):
    patient = Patient(scratch, "fallback")
    patient.main.update({name: filled(value, patient) for name, value in change.items()})
    told = changes(patient.write().doctor())
    assert told
    subprocess.run(["sh", "-e"], input="\n".join(told), text=True, check=True, capture_output=True)
    patient.rest()
    assert findings(patient.doctor()) == []


@pytest.mark.parametrize(
    "change, finding",
    [({"relay_domains_reject_code": "454"}, []),
     ({"smtpd_relay_restrictions": "permit_mynetworks, defer_unauth_destination"}, []),
     ({}, ["domains_in_database"])],
)  # fmt: skip
def test_domains_in_a_database_are_well_where_a_stranger_is_deferred(scratch, change, finding):
    patient = Patient(scratch)
    patient.main.update({"virtual_mailbox_domains": "mysql:/no/such.cf", **change})
    assert findings(patient.write().doctor()) == finding


@pytest.mark.parametrize(
    "change",
    [{**VIRTUAL, "unknown_virtual_mailbox_reject_code": "450"}, {"soft_bounce": "yes"},
     {"smtpd_recipient_restrictions": "reject_unverified_recipient"}],
)  # fmt: skip
def test_what_only_defers_is_well_on_a_primary_that_bounces_nobody(scratch, change):
    patient = Patient(scratch, "primary")
    patient.main.update(change)
    patient.ours["escalate_after"] = "0"
    assert findings(patient.write().doctor()) == []
    patient.ours["role"] = "fallback"
    assert len(findings(patient.write().doctor())) == 1


def test_a_service_that_is_told_not_to_check_recipients_is_well(scratch):
    patient = Patient(scratch)
    patient.main.update({**VIRTUAL, "receive_override_options": "no_unknown_recipient_checks"})
    assert findings(patient.write().doctor()) == []


# ---- master.cf ----


@pytest.mark.sanitizer
def test_what_one_service_overrides_is_told_and_changed_there(scratch):
    patient = Patient(scratch)
    patient.master += "smtpd pass - - n - - smtpd\n  -o soft_bounce=yes\n  -o smtpd_milters=inet:localhost:1\n"
    done = patient.write().doctor()
    assert findings(done) == ["not_attached", "soft_bounce"], done
    assert done.stdout.count(": smtpd/pass: ") == 2
    assert f"postconf -c {patient.etc} -P 'smtpd/pass/soft_bounce = no'" in changes(done)
    subprocess.run(["sh", "-e"], input="\n".join(changes(done)), text=True, check=True, capture_output=True)
    patient.rest()
    assert findings(patient.doctor()) == []


def test_what_several_services_share_is_told_once(scratch):
    patient = Patient(scratch)
    patient.master += "2525 inet n - n - - smtpd\n"
    patient.main["soft_bounce"] = "yes"
    done = patient.write().doctor()
    assert findings(done) == ["soft_bounce"] and "soft_bounce: smtp/inet, 2525/inet: " in done.stdout, done


def test_a_socket_outside_the_queue_is_no_use_to_a_chrooted_smtpd(scratch):
    patient = Patient(scratch)
    outside = patient.directory / "milter.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(outside))
    outside.chmod(0o666)
    patient.ours["milter_socket"] = patient.main["smtpd_milters"] = f"unix:{outside}"
    done = patient.write().doctor()
    assert findings(done) == ["chrooted_socket"], done
    assert f"milter_socket = unix:{patient.queue}/rcpt-milter/milter.sock" in done.stdout
    patient.master = patient.master.replace("inet  n       -       y", "inet  n       -       n")
    assert findings(patient.write().doctor()) == []


def test_a_host_without_an_smtpd_for_strangers_is_told(scratch):
    patient = Patient(scratch)
    patient.master = "".join(patient.master.splitlines(True)[1:])
    assert findings(patient.write().doctor()) == ["no_smtpd"]


# ---- the socket ----


@pytest.mark.sanitizer
@pytest.mark.parametrize("what, mode", [("directory", 0o2700), ("directory", 0o2740), ("socket", 0o600), ("socket", 0o640)])
def test_a_socket_that_postfix_may_not_open_is_told(scratch, what, mode):
    patient = Patient(scratch)
    path = patient.socket.parent if what == "directory" else patient.socket
    shutil.chown(patient.socket, group="postfix")
    path.chmod(mode)
    done = patient.write().doctor()
    assert findings(done) == ["socket_closed"] and f"the mode of {path}." in done.stdout, done


def test_a_socket_that_is_not_there_is_told(scratch):
    patient = Patient(scratch)
    patient.socket.unlink()
    assert findings(patient.write().doctor()) == ["socket_missing"]
    patient.socket.write_text("no socket")
    assert findings(patient.write().doctor()) == ["socket_missing"]


def test_a_queue_directory_behind_a_link_is_the_same(scratch):
    patient = Patient(scratch)
    link = patient.directory / "link"
    link.symlink_to(patient.queue)
    patient.main["queue_directory"] = link
    assert findings(patient.write().doctor()) == []


def test_a_tcp_socket_is_recognised(scratch):
    patient = Patient(scratch)
    patient.ours["milter_socket"] = "inet:127.0.0.1:8895"
    patient.main["smtpd_milters"] = "inet:localhost:8895"
    assert findings(patient.write().doctor()) == []
    patient.main["smtpd_milters"] = "inet:localhost:8896"
    assert findings(patient.write().doctor()) == ["not_attached"]


# ---- our own configuration ----


def test_without_recipient_maps_nobody_is_checked(scratch):
    patient = Patient(scratch)
    del patient.ours["recipient_maps"]
    assert findings(patient.write().doctor()) == ["nobody_checked"]


SUBDOMAINS = [
    # our domain_maps, and whether it has a finding
    ("inline:{other.test=x, EXAMPLE.test=x}", True),
    ("inline:{{example.test=x}}", True),
    ("inline:{example.test=x, .example.test=x}", False),
    ("inline:{other.test=x, myexample.test=x, example.test.test=x}", False),
    ("static:x", False),
    ("", False),
]


@pytest.mark.parametrize("domain_maps, found", SUBDOMAINS)
def test_subdomains_that_only_postfix_takes_are_told(scratch, domain_maps, found):
    patient = Patient(scratch)
    patient.ours["domain_maps"] = domain_maps
    done = patient.write().doctor()
    assert findings(done) == ["subdomains"] * found, done
    assert changes(done) == [f"{patient.conf}: parent_domain_matches_subdomains = domain_maps"] * found
    patient.main["parent_domain_matches_subdomains"] = "smtpd_access_maps"
    assert findings(patient.write().doctor()) == []
    del patient.main["parent_domain_matches_subdomains"]
    patient.ours["parent_domain_matches_subdomains"] = "role_maps"
    assert findings(patient.write().doctor()) == ["subdomains"] * found
    patient.ours["parent_domain_matches_subdomains"] = "role_maps, domain_maps"
    assert findings(patient.write().doctor()) == []


@pytest.mark.parametrize("table", [True, False])
def test_a_subdomain_that_is_the_host_itself_is_kept_apart(scratch, table):
    """Its users are in none of our maps."""
    patient = Patient(scratch)
    ours = patient.directory / "domains"
    ours.write_text("example.test OK\n")
    patient.main["mydestination"] = "mx.example.test, localhost, [192.0.2.1]"
    patient.main["relay_domains"] = f"texthash:{ours}" if table else "example.test"
    patient.ours["domain_maps"] = f"texthash:{ours}" if table else "inline:{example.test=x}"
    patient.ours["access_maps"] = "inline:{a@example.test=OK}"
    done = patient.write().doctor()
    assert findings(done) == ["subdomains"], done
    told = [line.removeprefix(f"{patient.conf}: ").split(" = ", 1) for line in changes(done)]
    assert told == [["access_maps", "inline:{mx.example.test=OK}, inline:{a@example.test=OK}"],
                    ["parent_domain_matches_subdomains", "domain_maps"]]  # fmt: skip
    patient.ours.update(told)
    assert findings(patient.write().doctor()) == []


def test_a_longer_lookup_deadline_needs_longer_timeouts(scratch):
    patient = Patient(scratch)
    patient.ours["lookup_deadline"] = "40s"
    done = patient.write().doctor()
    assert findings(done) == ["command_timeout", "connect_timeout"], done
    assert all("= 80s'" in line for line in changes(done))


def test_a_configuration_of_ours_with_a_mistake_exits_78(scratch):
    patient = Patient(scratch)
    patient.ours["rolle"] = "primary"
    done = patient.write().doctor()
    assert done.returncode == CONFIG and "rolle" in done.stderr and not done.stdout, done


def test_without_postfix_exits_69(scratch):
    patient = Patient(scratch).write()
    (patient.etc / "main.cf").unlink()
    done = patient.doctor()
    assert done.returncode == NO_POSTFIX and "main.cf" in done.stderr and not done.stdout, done
    no_postconf = ["unshare", "-m", "sh", "-c", "mount --bind /dev/null /usr/sbin/postconf && exec \"$@\"", "-"]
    done = patient.doctor(wrapper=no_postconf)
    assert done.returncode == NO_POSTFIX and "postconf: Permission denied" in done.stderr, done


@pytest.mark.parametrize("arguments", [["--postfix"], ["--domain"], ["--domains", "x"], ["x"]])
def test_wrong_words_are_told(scratch, arguments):
    done = rcptctl("doctor", *arguments)
    assert done.returncode == USAGE and "usage: rcptctl doctor" in done.stderr


# ---- the DNS ----

HOSTS = {
    "a": ["198.51.100.1"], "b": ["198.51.100.2"], "dual": ["198.51.100.4", "2001:db8::4"],
    "last": ["198.51.100.9"],
}  # fmt: skip
MX = {
    "one.test": {"a": 10, "last": 90},
    "dual.test": {"dual": 10, "last": 90},
    "two.test": {"a": 10, "b": 10, "last": 90},
    "ordered.test": {"a": 10, "b": 20, "last": 90},
    "beside.test": {"a": 90, "last": 90},
    "behind.test": {"last": 10, "a": 90},
    "alone.test": {"last": 10},
    "none.test": {},
}


class Dns(Process):
    """dnsmasq in a network of its own, where also resolv.conf names it. `wrapper` goes there."""

    SCRIPT = 'mount --bind "$0" /etc/resolv.conf && ip link set lo up && exec dnsmasq --keep-in-foreground --conf-file="$1"'

    def __init__(self, scratch):
        directory = scratch.new("dns")
        super().__init__(directory / "log")
        self.resolv_conf, self.conf = directory / "resolv.conf", directory / "dnsmasq.conf"
        self.resolv_conf.write_text("nameserver 127.0.0.1\n")
        lines = ["no-resolv", "no-hosts", "listen-address=127.0.0.1", "bind-interfaces", "user=root",
                 "pid-file", "log-facility=-", "local=/test/", "host-record=none.test,192.0.2.1"]  # fmt: skip
        lines += [f"host-record={host}.mx.test,{','.join(addresses)}" for host, addresses in HOSTS.items()]
        lines += [f"mx-host={domain},{host}.mx.test,{preference}"
                  for domain, hosts in MX.items() for host, preference in hosts.items()]  # fmt: skip
        self.conf.write_text("\n".join(lines) + "\n")

    def start(self):
        self.spawn(["unshare", "-n", "-m", "sh", "-c", self.SCRIPT, self.resolv_conf, self.conf])
        wait_until(lambda: self.log.find("started, version") or not self.alive(), what="dnsmasq")
        assert self.alive(), self.log.text()
        return self

    @property
    def wrapper(self):
        return ["nsenter", "-t", str(self.pid), "-n", "-m"]

    stop = Process.end


@pytest.fixture(scope="module")
def dns(scratch):
    server = Dns(scratch)
    try:
        yield server.start()
    finally:
        server.stop()


MX_ROWS = [
    # domain, findings on the fallback, and on a primary, if this host is `last`
    ("one.test", [], ["mx_order"]),
    ("dual.test", ["mx_sessions"], ["mx_sessions", "mx_order"]),
    ("two.test", ["mx_sessions"], ["mx_sessions", "mx_order"]),
    ("ordered.test", ["mx_sessions"], ["mx_sessions", "mx_order"]),
    ("beside.test", ["mx_order"], []),
    ("behind.test", ["mx_order"], []),
    ("alone.test", [], ["mx_order"]),
    ("none.test", [], []),
]


@pytest.mark.sanitizer
@pytest.mark.parametrize("here", [{"myhostname": "last.mx.test"}, {"inet_interfaces": "198.51.100.9"},
                                  {"proxy_interfaces": "198.51.100.9"}], ids=str)  # fmt: skip
@pytest.mark.parametrize("role", ROLES)
def test_the_order_of_the_mx_hosts_is_judged(scratch, dns, role, here):
    patient = Patient(scratch, role)
    patient.main.update(here)
    patient.write()
    for domain, fallback, primary in MX_ROWS:
        done = patient.doctor("--domain", domain, wrapper=dns.wrapper)
        assert findings(done) == (fallback if role == "fallback" else primary), (domain, done)
        assert "not looked at" not in done.stdout, done


def test_where_this_host_is_none_of_the_mx_hosts_only_their_number_counts(scratch, dns):
    patient = Patient(scratch).write()
    assert findings(patient.doctor("--domain", "one.test", wrapper=dns.wrapper)) == []
    done = patient.doctor("--domain", "dual.test", wrapper=dns.wrapper)
    assert findings(done) == ["mx_sessions"] and "dual.test has 2 addresses before its last MX host" in done.stdout


def test_role_maps_leave_the_order_to_whoever_wrote_them(scratch, dns):
    patient = Patient(scratch)
    patient.main["myhostname"] = "last.mx.test"
    patient.ours["role_maps"] = "inline:{one.test=fallback}"
    assert findings(patient.write().doctor("--domain", "one.test", wrapper=dns.wrapper)) == []


def test_domains_are_those_of_the_lists_where_none_is_given(scratch, dns):
    patient = Patient(scratch, "fallback")
    patient.main["relay_domains"] = "one.test, dual.test, static:x"
    patient.main["virtual_alias_domains"] = "two.test"
    patient.main["smtpd_reject_unlisted_recipient"] = "no"
    done = patient.write().doctor(wrapper=dns.wrapper)
    assert findings(done) == ["mx_sessions"] * 2 and "dual.test" in done.stdout and "two.test" in done.stdout


def test_without_dns_it_is_said_what_was_not_looked_at(scratch, dns):
    patient = Patient(scratch).write()
    done = patient.doctor("--domain", "one.test")
    assert findings(done) == [] and "not looked at: the MX hosts of one.test: the DNS does not answer" in done.stdout
    done = patient.doctor("--domain", "nowhere.test", wrapper=dns.wrapper)
    assert findings(done) == [] and "the DNS has no nowhere.test" in done.stdout, done
    patient.main["relay_domains"] = "static:x"
    assert "give one with --domain" in patient.write().doctor().stdout


def test_every_finding_is_tested_here_and_in_the_manual():
    rows = re.findall(r'^ +\{"(\w+)",\s*"', (ROOT / "milter/doctor_rows.c").read_text(), re.M)
    here = pathlib.Path(__file__).read_text()
    manual = (ROOT / "packaging/man/rcptctl.8").read_text()
    documented = re.findall(r"^\.It Cm (\w+)", re.search(r"(?ms)^\.Sh FINDINGS\n(.*?)^\.Sh ", manual)[1], re.M)
    assert len(rows) > 10 and sorted(rows) == sorted(documented)
    assert [row for row in rows if f'"{row}"' not in here] == []


# ---- that Postfix does what the findings say ----

LISTENERS = {
    "unlisted": {},
    "told not to": {"smtpd_reject_unlisted_recipient": "no"},
    "override": {"receive_override_options": "no_unknown_recipient_checks"},
    "users only": {
        "smtpd_reject_unlisted_recipient": "no",
        "smtpd_recipient_restrictions": "check_recipient_access inline:{mx.test=reject_unlisted_recipient}",
    },
    "deferring": {"relay_domains_reject_code": "454"},
    "soft": {"smtpd_milters": "MILTER", "soft_bounce": "yes", "smtpd_reject_unlisted_recipient": "no"},
    "hard": {"smtpd_milters": "MILTER", "smtpd_reject_unlisted_recipient": "no"},
}  # fmt: skip


@pytest.fixture(scope="module")
def asked(scratch):
    """asked(listener, recipient) -> the code of a real Postfix."""
    with World(scratch) as world:
        mx = world.postfix_not_started(
            relay_domains="example.test", relay_recipient_maps="inline:{alice@example.test=x}",
            canonical_maps="inline:{old@example.test=alice@example.test}",
            recipient_canonical_maps="inline:{older@example.test=alice@example.test}",
            local_recipient_maps="inline:{alice=x}",
        )  # fmt: skip
        milter = world.milter(socket_directory=mx.milter_directory(), role="fallback",
                              recipient_maps="inline:{alice@example.test=x}")  # fmt: skip
        for name, options in LISTENERS.items():
            options = {key: value.replace("MILTER", mx.milter(milter.socket)) for key, value in options.items()}
            mx.listeners[name.replace(" ", "-")] = options
        mx.start()
        yield lambda name, *who: [ask_postfix(mx.port(name.replace(" ", "-")), one).code for one in who]


def test_postfix_settles_unlisted_recipients_unless_told_not_to(asked):
    assert asked("unlisted", "alice@example.test", "ghost@example.test") == [250, 550]
    assert asked("told not to", "ghost@example.test") == [250]
    assert asked("override", "ghost@example.test") == [250]


def test_postfix_takes_whom_a_canonical_map_rewrites(asked):
    """So import-postfix carries these maps over."""
    assert asked("unlisted", "old@example.test", "older@example.test") == [250, 250]


def test_postfix_can_be_left_to_check_the_users_of_the_host(asked):
    """As import-postfix advises."""
    assert asked("users only", "ghost@example.test", "alice@mx.test", "ghost@mx.test") == [250, 250, 550]


def test_postfix_refuses_a_domain_that_its_table_has_not_unless_told_to_defer(asked):
    assert asked("unlisted", "alice@gone.test") == [554]
    assert asked("deferring", "alice@gone.test") == [454]


def test_postfix_makes_a_4xx_of_our_5xx_with_soft_bounce(asked):
    assert asked("hard", "ghost@example.test") == [550]
    assert asked("soft", "ghost@example.test") == [450]
