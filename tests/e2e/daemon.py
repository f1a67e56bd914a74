"""rcpt-milter and rcptctl, as built in the directory RCPT_MILTER_BUILD names."""

import contextlib
import os
import pathlib
import signal
import subprocess
import tempfile

from log_grammar import check_log
from milter_client import MilterClient, ask_milter
from processes import Process, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]


def build_directory():
    return ROOT / os.environ.get("RCPT_MILTER_BUILD", "build/plain")


def sanitizer():
    """"", "thread" or "address,undefined": what this build watches for."""
    name = build_directory().name
    return "" if name == "plain" else name


def sanitizer_environment(reports):
    """Reports go to files reports/NAME.PID, so that no test can overlook them.

    libmilter destroys its pool's mutex while it is held, when it stops; that ends the checker of lock
    orders itself (CHECK failed in sanitizer_deadlock_detector), which therefore runs in the unit tests
    only."""
    common = f"log_path={reports}"
    return {
        "ASAN_OPTIONS": f"{common}:exitcode=99",
        "UBSAN_OPTIONS": f"{common}:halt_on_error=1:print_stacktrace=1",
        "TSAN_OPTIONS": f"{common}:exitcode=0:atexit_sleep_ms=0:detect_deadlocks=0:"
                        f"suppressions={ROOT / 'tests/tsan.supp'}",
    }


class Refused(AssertionError):
    """The daemon ended instead of starting."""

    def __init__(self, status, log):
        super().__init__(f"exit {status}: {log}")
        self.status, self.log = status, log


class RcptMilter(Process):
    """One daemon. `config` are parameters as in rcpt-milter.conf; the sockets and the state
    directory are filled in. `socket_directory` is where the milter's socket goes; `wrapper` is a
    command that runs it, such as prlimit."""

    def __init__(self, scratch, name="rm", socket_directory=None, verbose=1, arguments=(),
                 environment=None, wrapper=(), **config):  # fmt: skip
        self.directory = scratch.new(name)
        super().__init__(self.directory / "log")
        self.socket = pathlib.Path(socket_directory or self.directory) / f"{self.directory.name}.sock"
        self.control = self.directory / "control.sock"
        self.state = self.directory / "state"
        self.state.mkdir()
        self.conf = self.directory / "rcpt-milter.conf"
        self.reports = self.directory / "report"
        self.log_checked = 0
        self.forms = set()  # of the lines since then
        self.wrapper = wrapper
        self.arguments = [*["-v"] * verbose, *arguments]
        self.environment = {
            "NOTIFY_SOCKET": "", **sanitizer_environment(self.reports), **(environment or {})
        }  # fmt: skip
        self.config = {
            "milter_socket": f"unix:{self.socket}",
            "control_socket": f"unix:{self.control}",
            "state_directory": self.state,
            "log_rate_limit": "0",  # tests read about every recipient, however fast they ask
            **config,
        }
        self.write_config()

    def write_config(self, **changes):
        self.config.update(changes)
        self.forms.add(self.config.get("log_format") or "text")
        self.conf.write_text("".join(f"{k} = {v}\n" for k, v in self.config.items() if v is not None))

    # its life

    def start(self, ready=True):
        mark = self.log.end()
        environment = {k: v for k, v in self.environment.items() if v != ""}
        unset = [f"-u{k}" for k, v in self.environment.items() if v == ""]
        program = build_directory() / "rcpt-milter"
        argv = ["env", *unset, *self.wrapper, program, "-f", *self.arguments, "-c", self.conf]
        self.spawn(argv, environment)
        if ready:
            wait_until(lambda: not self.alive() or self.answers(), 60, f"{self.log.path} to answer")
            if not self.alive():
                raise Refused(self.child.returncode, self.log.text(mark))
        return self

    def refusal(self):
        """Starts it, expecting that it will not; returns (exit status, what it said)."""
        mark = self.log.end()
        self.start(ready=False)
        status = self.child.wait(60)
        self.check_log()
        return status, self.log.text(mark)

    def answers(self):
        try:
            with MilterClient(self.socket, limit=5):
                return True
        except (OSError, EOFError):
            return False

    def stop(self):
        """TERM, and everything that must hold then."""
        if not self.alive():
            self.check_reports()
            self.check_log()
            return
        status = self.end(signal.SIGTERM, 60)
        self.check_reports()
        self.check_log()
        assert status == 0, f"exit status {status}; its log ends:\n" + self.log.text()[-3000:]

    def check_log(self):
        """Every line it has written is one that we know."""
        since, self.log_checked = self.log_checked, self.log.end()
        form = self.forms.pop() if len(self.forms) == 1 else None
        self.forms = {self.config.get("log_format") or "text"}
        check_log(self.log.bytes(since), self.config.get("syslog_name") or "rcpt-milter", form)

    def check_reports(self):
        """No sanitizer has complained."""
        reports = sorted(self.directory.glob("report.*"))
        text = "".join(report.read_text(errors="replace") for report in reports)
        for report in reports:
            report.rename(report.with_name("seen-" + report.name))
        assert not text, text

    def reload(self, force=False, **changes):
        """New parameters, SIGHUP, and back when they are in force. `force` where recipients that were
        found before are not to be found any more."""
        if not force:
            self._reload(changes, "reloads")
            return
        self.write_config(**changes)
        done = self.ctl("reload", "--force")
        assert done.returncode == 0, done

    def reload_refused(self, **changes):
        """The same with a configuration it must not take; returns what it logged."""
        mark = self.log.end()
        self._reload(changes, "reload_failures")
        return self.log.lines(mark)

    def _reload(self, changes, counter):
        self.write_config(**changes)
        before = self.stats()[counter]
        self.send(signal.SIGHUP)
        wait_until(lambda: self.stats()[counter] > before, 30, f"{counter} to grow")

    # asking it

    def ask(self, *recipients, **session):
        """Answers over the milter protocol, without a mail server."""
        return ask_milter(self.socket, *recipients, **session)

    def session(self, **options):
        return MilterClient(self.socket, **options)

    def ctl(self, *arguments, limit=60, **options):
        socket = f"unix:{self.control}"
        return rcptctl("-s", socket, "-c", self.conf, *arguments, limit=limit, **options)

    def stats(self):
        """name -> number. A daemon that is busy stopping has none."""
        done = self.ctl("stats")
        assert done.returncode == 0, (done, self.log.text()[-2000:])
        pairs = (line.partition("=") for line in done.stdout.splitlines() if "=" in line)
        return {name.strip(): int(value) for name, _, value in pairs if value.strip().isdigit()}

    @contextlib.contextmanager
    def counted(self):
        """with milter.counted() as count: ...; afterwards count["name"] is what was added."""
        count = {}
        before = self.stats()
        yield count
        count.update({name: value - before.get(name, 0) for name, value in self.stats().items()})


def rcptctl(*arguments, **options):
    """Runs it to its end; the result has returncode, stdout, stderr."""
    return _run("rcptctl", arguments, **options)


def rcpt_milter(*arguments, **options):
    """The same for the daemon, with options that end it: -t, -T, -V."""
    return _run("rcpt-milter", arguments, **options)


def _run(program, arguments, limit=60, wrapper=(), **options):
    with tempfile.TemporaryDirectory(prefix="rm-run-") as directory:
        done = subprocess.run(
            [*wrapper, str(build_directory() / program), *map(str, arguments)],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="backslashreplace",
            timeout=limit, env={**os.environ, **sanitizer_environment(f"{directory}/report")},
            **options,
        )  # fmt: skip
        for report in pathlib.Path(directory).iterdir():
            raise AssertionError(report.read_text(errors="replace"))
    return done
