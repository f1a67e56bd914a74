"""What every server of the harness is made of: a scratch directory, a child process, its log.

Nothing here waits for a length of time. Waits are for conditions, and each has a limit.
"""

import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

DEFAULT_LIMIT = 30.0  # seconds; machines that run the tests may be busy with other things


class Late(AssertionError):
    """A condition did not come true within its limit."""


def wait_until(condition, limit=DEFAULT_LIMIT, what="the condition"):
    """Returns the first true value of condition(). Raises Late after `limit` seconds."""
    end = time.monotonic() + limit
    pause = 0.002
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Late(f"waited {limit:g} s in vain for {what}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


def free_port():
    """A loopback port nobody listens on at the moment. Somebody may still take it before its user
    does: whoever uses one tries again with another."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Scratch:
    """A directory with a short path (unix sockets end at 108 bytes) that other users may enter
    (Postfix's do). Removed at the end unless RCPT_MILTER_KEEP is set."""

    def __init__(self):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="rm-", dir="/tmp"))
        self.path.chmod(0o755)
        self._names = {}

    def new(self, name):
        """A fresh directory: NAME, NAME.2, ..."""
        self._names[name] = count = self._names.get(name, 0) + 1
        directory = self.path / (name if count == 1 else f"{name}.{count}")
        directory.mkdir()
        return directory

    def file(self, name, text, mode=0o644):
        path = self.path / name
        path.write_text(text)
        path.chmod(mode)
        return path

    def remove(self):
        if not os.environ.get("RCPT_MILTER_KEEP"):
            shutil.rmtree(self.path, ignore_errors=True)


class LogFile:
    """A text file somebody else appends to."""

    def __init__(self, path):
        self.path = pathlib.Path(path)

    def bytes(self, since=0):
        try:
            with open(self.path, "rb") as file:
                file.seek(since)
                return file.read()
        except FileNotFoundError:
            return b""

    def text(self, since=0):
        return self.bytes(since).decode("utf-8", "backslashreplace")

    def lines(self, since=0):
        return self.text(since).splitlines()

    def end(self):
        """The position from which new lines will stand: give it to the others as `since`."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def find(self, pattern, since=0):
        """The lines that match."""
        expression = re.compile(pattern)
        return [line for line in self.lines(since) if expression.search(line)]

    def wait(self, pattern, since=0, limit=DEFAULT_LIMIT):
        """The first line that matches."""
        try:
            return wait_until(
                lambda: self.find(pattern, since), limit, f"a line {pattern!r} in {self.path}"
            )[0]
        except Late as late:
            raise Late(f"{late}; its end is:\n" + "\n".join(self.lines(since)[-25:])) from None


class Process:
    """A child with its standard error in a log. It dies with us, whatever happens to us."""

    def __init__(self, log_path):
        self.log = LogFile(log_path)
        self.child = None
        self.suspended = False

    def spawn(self, argv, env=None):
        assert not self.alive(), "already running"
        with open(self.log.path, "ab") as log:
            self.child = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *map(str, argv)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **(env or {})},
            )
        self.suspended = False

    @property
    def pid(self):
        return self.child.pid

    def alive(self):
        return self.child is not None and self.child.poll() is None

    def send(self, number):
        self.child.send_signal(number)

    def end(self, number=signal.SIGTERM, limit=DEFAULT_LIMIT):
        """Sends the signal and returns the exit status (negative: killed by that signal)."""
        if self.child is None:
            return None
        if self.suspended:
            self.resume()
        if self.alive():
            self.send(number)
        try:
            return self.child.wait(limit)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait(limit)
            raise Late(f"{self.log.path}: did not end within {limit:g} s") from None

    def kill(self):
        """As the kernel's out-of-memory killer would."""
        return self.end(signal.SIGKILL)

    def suspend(self):
        """It hangs: its sockets stay open and take bytes, but it answers nothing."""
        self.send(signal.SIGSTOP)
        self.suspended = True
        wait_until(lambda: self._state() == "T", what=f"{self.pid} to stop")

    def resume(self):
        self.send(signal.SIGCONT)
        self.suspended = False

    def _state(self):
        stat = pathlib.Path(f"/proc/{self.pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0]
