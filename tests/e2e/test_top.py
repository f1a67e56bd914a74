"""rcptctl top: one plain screen, and at a terminal."""

import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios

import pytest
from daemon import build_directory
from harness import wait_until

NOT_RUNNING = 3


@pytest.fixture
def known(world):
    return f"texthash:{world.file('known', 'alice@example.test OK')}"


class Terminal:
    """rcptctl top at a terminal of its own."""

    def __init__(self, milter, rows=24, columns=80):
        self.ours, self.theirs = pty.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(self.theirs)
        self.text = b""
        self.child = subprocess.Popen(
            [build_directory() / "rcptctl", "-s", f"unix:{milter.control}", "-c", milter.conf, "top"],
            stdin=self.theirs, stdout=self.theirs, stderr=self.theirs, start_new_session=True,
            env={**os.environ, "ASAN_OPTIONS": "exitcode=99"},
        )  # fmt: skip
        os.set_blocking(self.ours, False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.kill()
        self.child.wait()
        os.close(self.ours)
        os.close(self.theirs)

    def resize(self, rows, columns):
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self):
        try:
            self.text += os.read(self.ours, 65536)
        except BlockingIOError:
            pass
        return self.text

    def shows(self, words, since=0):
        wait_until(lambda: words in self.read()[since:], 30, f"{words} at the terminal")
        return len(self.text)

    def end(self):
        """The exit status, once everything was read; the terminal must be as it was."""
        wait_until(lambda: self.read() is not None and self.child.poll() is not None, 30, "top to end")
        self.read()
        assert self.text.endswith(b"\x1b[?25h\x1b[?1049l"), self.text[-200:]
        assert termios.tcgetattr(self.theirs) == self.before
        return self.child.returncode


@pytest.mark.parametrize("arguments", [(), ("--once",)])
def test_elsewhere_than_at_a_terminal_it_is_one_plain_screen(world, known, arguments):
    milter = world.milter(recipient_maps=known)
    milter.ask("alice@example.test", "ghost@example.test")
    wait_until(lambda: milter.stats()["waiting_recipients"] == 1)
    done = milter.ctl("top", *arguments)
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and done.stderr == ""
    assert lines[0].startswith("waiting       1   the first for") and lines[1].startswith("bounced       0")
    assert "bounces: only who is proven absent" in done.stdout and "role: primary" in done.stdout
    assert all(len(line) < 80 and line.isprintable() for line in lines) and len(lines) <= 24


def test_without_a_daemon_it_says_so(world, known):
    milter = world.milter(recipient_maps=known)
    milter.stop()
    done = milter.ctl("top", "--once")
    assert done.returncode == NOT_RUNNING and "not running" in done.stderr and done.stdout == ""
    assert milter.ctl("top", "--twice").returncode == 64


def test_at_a_terminal_it_follows_what_happens_until_q(world, known):
    milter = world.milter(recipient_maps=known)
    with Terminal(milter) as top:
        mark = top.shows(b"q quits")
        assert b"waiting       0" in top.text
        milter.ask("ghost@example.test")
        mark = top.shows(b"waiting       1", mark)
        top.resize(10, 40)
        os.kill(top.child.pid, signal.SIGWINCH)
        top.shows(b"q quits", mark)
        os.write(top.ours, b"q")
        assert top.end() == 0


@pytest.mark.sanitizer
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_the_terminal_as_it_was(world, known, number):
    milter = world.milter(recipient_maps=known)
    with Terminal(milter) as top:
        top.shows(b"q quits")
        top.child.send_signal(number)
        assert top.end() == 128 + number


def test_when_the_daemon_goes_it_keeps_what_it_had_and_tells(world, known):
    milter = world.milter(recipient_maps=known)
    with Terminal(milter) as top:
        mark = top.shows(b"q quits")
        milter.stop()
        mark = top.shows(b"NOTHING NEW", mark)
        milter.start()
        top.shows(b"waiting       0", mark)
        os.write(top.ours, b"q")
        assert top.end() == 0
