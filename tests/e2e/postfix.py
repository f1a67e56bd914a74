"""Private Postfix instances: own configuration, queue, data and log; nothing of the system's."""

import grp
import os
import pathlib
import pwd
import shutil
import signal
import subprocess

from processes import LogFile, free_port, wait_until

SERVICES = """\
pickup    unix  n       -       n       60      1       pickup
cleanup   unix  n       -       n       -       0       cleanup
qmgr      unix  n       -       n       300     1       qmgr
rewrite   unix  -       -       n       -       -       trivial-rewrite
bounce    unix  -       -       n       -       0       bounce
defer     unix  -       -       n       -       0       bounce
trace     unix  -       -       n       -       0       bounce
flush     unix  n       -       n       1000?   0       flush
proxymap  unix  -       -       n       -       -       proxymap
smtp      unix  -       -       n       -       -       smtp
relay     unix  -       -       n       -       -       smtp
showq     unix  n       -       n       -       -       showq
error     unix  -       -       n       -       -       error
retry     unix  -       -       n       -       -       error
discard   unix  -       -       n       -       -       discard
virtual   unix  -       n       n       -       -       virtual
anvil     unix  -       -       n       -       1       anvil
scache    unix  -       -       n       -       1       scache
postlog   unix-dgram n  -       n       -       1       postlogd
"""

PARAMETERS = {
    "compatibility_level": "3.6",
    "myhostname": "mx.test",
    "mydestination": "$myhostname",
    "local_recipient_maps": "",
    "local_transport": "discard:",
    "alias_maps": "",
    "alias_database": "",
    # The client of the tests may not relay, so that a relayed stranger's mail would be seen.
    "mynetworks": "192.0.2.0/24",
    "smtpd_relay_restrictions": "reject_unauth_destination",
    "relay_recipient_maps": "",
    "relay_transport": "discard:",
    "default_transport": "discard:",
    "inet_interfaces": "127.0.0.1",
    "inet_protocols": "ipv4",
    "smtpd_peername_lookup": "no",
    "smtputf8_enable": "yes",
    # Sessions without DATA would cost a second each (TRAPS).
    "in_flow_delay": "0",
    "smtpd_client_connection_count_limit": "0",
    "smtpd_soft_error_limit": "10000",
    "smtpd_hard_error_limit": "10000",
    "smtpd_error_sleep_time": "0",
    "milter_default_action": "tempfail",
    "smtp_host_lookup": "native",
    "smtp_dns_support_level": "disabled",
}


class Postfix:
    """`listeners` maps a name to the parameters of that port alone, as `-o` in master.cf would; more
    may be given to all with `parameters`. The ports are found at start: port("name")."""

    def __init__(self, scratch, name="mx", listeners=None, relay_domains="", chroot=True, **parameters):
        self.directory = scratch.new(name)
        self.config = self.directory / "etc"
        self.queue = self.directory / "queue"
        self.data = self.directory / "data"
        self.log = LogFile(self.directory / "maillog")
        self.listeners = dict(listeners or {})
        self.chroot = chroot
        self.parameters = {
            **PARAMETERS,
            "relay_domains": relay_domains,
            "queue_directory": self.queue,
            "data_directory": self.data,
            "maillog_file": self.log.path,
            "maillog_file_prefixes": scratch.path,
            **parameters,
        }
        self.ports = {}
        self.started = False
        for path in (self.config, self.queue, self.data):
            path.mkdir()
        shutil.chown(self.data, "postfix")

    def milter_directory(self, name="rcpt-milter"):
        """A directory below the queue for the milter's socket, made as an admin would: its group
        is Postfix's, and new files inherit it."""
        path = self.queue / name
        if not path.exists():
            path.mkdir()
            os.chown(path, 0, grp.getgrnam("postfix").gr_gid)
            path.chmod(0o2750)
        return path

    def milter(self, socket_path):
        """smtpd_milters for a socket below the queue: a relative path works chrooted and not."""
        return f"unix:{pathlib.Path(socket_path).relative_to(self.queue)}"

    def listen_with(self, milters):
        """One listener per milter, under its name."""
        for name, milter in milters.items():
            self.listeners[name] = {"smtpd_milters": self.milter(milter.socket)}
        return self

    def port(self, name="smtpd"):
        return self.ports[name]

    def start(self):
        for source in ("dynamicmaps.cf",):
            if pathlib.Path("/etc/postfix", source).exists():
                shutil.copy(pathlib.Path("/etc/postfix", source), self.config / source)
        for _ in range(5):
            self._write()
            mark = self.log.end()
            done = subprocess.run(
                ["postfix", "-c", str(self.config), "start"],
                stdin=subprocess.DEVNULL, capture_output=True, text=True,
            )  # fmt: skip
            if done.returncode == 0 and self.pid():
                self.started = True
                return self
            if "in use" not in self.log.text(mark) + done.stderr:
                raise AssertionError(done.stderr + self.log.text(mark)[-3000:])
        raise AssertionError("no port to be had")

    def _write(self):
        self.ports = {name: free_port() for name in self.listeners}
        main = "".join(f"{name} = {value}\n" for name, value in self.parameters.items())
        (self.config / "main.cf").write_text(main)
        master = SERVICES
        for name, options in self.listeners.items():
            chroot = "y" if self.chroot else "n"
            master += f"127.0.0.1:{self.ports[name]} inet n - {chroot} - - smtpd\n"
            for option, value in {"syslog_name": f"postfix/{name}", **options}.items():
                master += f"  -o {{ {option} = {value} }}\n"
        (self.config / "master.cf").write_text(master)

    def pid(self):
        try:
            pid = int((self.queue / "pid/master.pid").read_text())
            os.kill(pid, 0)
            return pid
        except (FileNotFoundError, ValueError, ProcessLookupError):
            return None

    def stop(self):
        pid = self.pid() if self.started else None
        self.started = False
        if pid:
            os.kill(pid, signal.SIGTERM)
            wait_until(lambda: self.pid() is None, what=f"{self.directory} to stop")

    def command(self, *argv):
        """postqueue, postconf and so on, on this instance."""
        return subprocess.run(
            [argv[0], "-c", str(self.config), *argv[1:]], capture_output=True, text=True, check=True
        ).stdout

    def mailboxes(self):
        """Parameters that deliver mail for a domain into files of this instance: see mailbox()."""
        user = pwd.getpwnam("nobody")
        path = self.directory / "mail"
        path.mkdir()
        os.chown(path, user.pw_uid, user.pw_gid)
        return {
            "virtual_mailbox_base": path,
            "virtual_mailbox_maps": "static:inbox",
            "virtual_uid_maps": f"static:{user.pw_uid}",
            "virtual_gid_maps": f"static:{user.pw_gid}",
            "virtual_minimum_uid": "1",
        }

    def mailbox(self):
        return LogFile(self.directory / "mail/inbox")
