"""rcptctl learn: what it takes, what it says, and how it goes on after an interruption."""

import contextlib
import fcntl
import os
import pty
import re
import shlex
import signal
import struct
import subprocess
import termios
import threading

import pytest

from daemon import sanitizer_environment
from harness import build_directory, mysql_table, wait_until

USAGE, BAD_LINES, NO_INPUT, UNAVAILABLE, NOT_RUNNING = 64, 65, 66, 75, 3
BATCH = 1_000_000  # lines


class Learning:
    """One `rcptctl learn` under way, its standard input a pipe and its output in files."""

    def __init__(self, milter, directory, *arguments, stderr=None):
        self.reports = directory / "report"
        self.out, self.err = directory / "out", directory / "err"
        command = [build_directory() / "rcptctl", "-c", milter.conf, "learn", *arguments]
        self.child = subprocess.Popen(
            [str(word) for word in command], stdin=subprocess.PIPE, stdout=open(self.out, "wb"),
            stderr=stderr or open(self.err, "wb"), env={**os.environ, **sanitizer_environment(self.reports)},
        )  # fmt: skip

    def says(self, text):
        wait_until(lambda: text in self.err.read_text() or self.child.poll() is not None, 120, text)
        assert text in self.err.read_text(), (self.child.returncode, self.err.read_text())

    def end(self, given=b"", limit=240):
        """Gives it the rest of its input; (exit status, standard output, standard error)."""
        with contextlib.suppress(BrokenPipeError):
            self.child.communicate(given, timeout=limit)
        self.child.wait(limit)
        for report in self.reports.parent.glob("report*"):
            raise AssertionError(report.read_text(errors="replace"))
        err = self.err.read_bytes() if self.err.exists() else b""
        return self.child.returncode, self.out.read_text(), err.decode("utf-8", "backslashreplace")


@pytest.fixture
def start(scratch):
    """start(milter, argument...): a Learning. None outlives its test."""
    started = []

    def start(milter, *arguments, **options):
        started.append(Learning(milter, scratch.new("learn"), *arguments, **options))
        return started[-1]

    yield start
    for learning in started:
        if learning.child.poll() is None:
            learning.child.kill()
            learning.child.wait()
        learning.child.stdin.close()


@pytest.fixture
def learn(start):
    """learn(milter, bytes): feeds them to `learn -`."""

    def learn(milter, given, *arguments):
        return start(milter, *arguments, "-").end(given)

    return learn


@pytest.fixture
def away(world):
    """A node whose directory is away: who passes is in its known-good store."""

    def node(**settings):
        return world.milter(**{"recipient_maps": "fail:", "process_cache_entries": "0", **settings})

    return node


def passes(milter, *addresses):
    answers = milter.ask(*addresses)
    answers = answers if isinstance(answers, list) else [answers]
    assert all(answer.codes in ((250, ""), (250, None), (451, "4.4.3")) for answer in answers), answers
    return [answer.code == 250 for answer in answers]


def numbered(count, start=0):
    return b"".join(b"u%d@example.test\n" % i for i in range(start, start + count))


def command_that_goes_on(err):
    return shlex.split(re.search(r"to go on: rcptctl (.*)$", err, re.M)[1])


# ---- what it is for ----


@pytest.mark.sanitizer
@pytest.mark.parametrize("role", ["primary", "fallback"])
def test_who_was_learned_passes_while_the_directory_is_away_and_nobody_else(away, learn, role):
    milter = away(role=role)
    given = b"alice@example.test\nBOB@Example.Test OK\n@all.test\n"
    code, out, err = learn(milter, given)
    assert (code, out) == (0, "learned 3 recipients in 0 s\n"), err
    assert passes(milter, "alice@example.test", "Alice@EXAMPLE.test", "bob@example.test") == [True] * 3
    assert passes(milter, "anybody@all.test", "mallory@example.test", "x@sub.all.test") == [True, False, False]


def test_what_was_learned_is_there_after_a_restart(away, learn):
    milter = away()
    assert learn(milter, b"alice@example.test\n")[0] == 0
    milter.kill()
    milter.start()
    assert passes(milter, "alice@example.test", "bob@example.test") == [True, False]


def test_two_hundred_thousand_are_learned_while_the_daemon_answers_lookups(world, away, start):
    table = world.file("map", "known@example.test OK\n")
    milter = away(recipient_maps=f"texthash:{table}, fail:")
    path = world.file("list", numbered(200_000).decode())
    learning = start(milter, path)
    asked = 0
    while learning.child.poll() is None:
        assert milter.ask("known@example.test").code == 250
        asked += 1
    code, out, err = learning.end()
    assert code == 0 and out.startswith("learned 200000 recipients in "), err
    assert asked > 0
    assert passes(milter, "u0@example.test", "u99999@example.test", "u199999@example.test") == [True] * 3
    assert passes(milter, "u200000@example.test") == [False]


def test_a_map_files_list_query_is_learned(world, away, own_directory, start):
    own_directory.sql("INSERT INTO recipients (address) VALUES ('#hash@example.test'), ('no domain')")
    maps = mysql_table(
        world, own_directory, "SELECT address FROM recipients WHERE address = '%s'",
        list_query="SELECT address FROM recipients WHERE active ORDER BY address",
    )  # fmt: skip
    milter = away(recipient_maps=maps, mysql_connect_timeout="1s")
    code, out, err = start(milter, "--from", f"proxy:{maps}").end()
    assert code == BAD_LINES and "learned 8 recipients" in out and "no domain" in err, err
    own_directory.kill()
    known = ["alice@example.test", '"john doe"@example.test', "#hash@example.test", "who@all.test"]
    assert passes(milter, *known, "retired@example.test") == [True] * 4 + [False]


def test_a_list_query_that_fails_says_why_and_exits_75(world, away, own_directory, start):
    milter = away()
    query = "SELECT address FROM recipients WHERE address = '%s'"
    maps = mysql_table(world, own_directory, query, list_query="SELECT nosuch FROM recipients")
    code, out, err = start(milter, "--from", maps).end()
    assert code == UNAVAILABLE and out == "" and "nosuch" in err, err
    code, out, err = start(milter, "--from", mysql_table(world, own_directory, query)).end()
    assert code == UNAVAILABLE and "list_query" in err, err
    assert "s3cret" not in err


def test_rows_before_a_list_query_fails_half_way_are_stored(world, away, own_directory, start):
    milter = away()
    maps = mysql_table(
        world, own_directory, "SELECT address FROM recipients WHERE address = '%s'",
        list_query="SELECT IF(seq < 5, CONCAT('u', seq, '@example.test'), (SELECT seq UNION SELECT 1)) FROM seq_1_to_9",
    )  # fmt: skip
    code, out, err = start(milter, "--from", maps).end()
    assert code == UNAVAILABLE and out == "" and "more than 1 row" in err, err
    assert "4 recipients are safely stored" in err and command_that_goes_on(err)[-4:] == ["--skip", "4", "--from", maps]
    assert passes(milter, "u1@example.test", "u4@example.test", "u5@example.test") == [True, True, False]


# ---- what it takes ----


@pytest.mark.sanitizer
def test_hostile_lines_are_told_and_the_rest_is_learned_all_the_same(away, learn):
    milter = away()
    good = ["ok%d@example.test" % i for i in range(4)]
    long = b"x" * 5000
    hostile = [
        b"nul\0@example.test", b"\0", b"esc\x1b[31m@example.test", b"\xff\xfe@example.test",
        long, long + b"@example.test", b"@" + long, b"two@@example.test", b"nodomain", b"@",
        b"a@example.test,b@example.test", b"';DROP/**/TABLE/**/recipients;--@example.test",
        b'"open@example.test', b"\xc2\x85@example.test", long * 20 + b" z@example.test",
    ]  # fmt: skip
    given = b"\n".join(
        [good[0].encode(), *hostile[:5], good[1].encode(), *hostile[5:], good[2].encode(),
         good[3].encode() + b" " + long * 100]
    )  # fmt: skip
    code, out, err = learn(milter, given + b"\n")
    assert code == BAD_LINES and "learned 4 recipients" in out, err
    assert passes(milter, *good) == [True] * 4
    assert passes(milter, "nul@example.test", "a@example.test", "open@example.test") == [False] * 3
    assert "line 2: nul\\x01@example.test" in err and "line 3: " in err
    assert f"and {len(hostile) - 5} more such lines" in err
    assert not any(ord(c) < 0x20 and c != "\n" for c in err) and len(err) < 2000


def test_utf8_and_quoted_local_parts_are_learned_as_they_are_looked_up(away, learn):
    milter = away()
    code, _, err = learn(milter, 'jürgen@example.test\n"John Doe"@example.test OK\n"plain"@example.test\n'.encode())
    assert code == 0, err
    assert passes(milter, "jürgen@example.test", '"john doe"@example.test', "plain@example.test") == [True] * 3


@pytest.mark.parametrize(
    "given, count",
    [
        (b"", 0), (b"\n", 0), (b"# alice@example.test\n \t \n#\n", 0),
        (b"alice@example.test", 1), (b"alice@example.test\r\n\r\n# x\r\nbob@example.test\r\n", 2),
        (b"\xef\xbb\xbfalice@example.test\r\n", 1), (b"  alice@example.test\n\tbob@example.test", 2),
        (b"alice@example.test\nalice@example.test\n", 2),
    ],
    ids=["empty", "newline", "comments", "no_newline", "crlf", "byte_order_mark", "indented", "twice"],
)  # fmt: skip
def test_lines_are_counted_as_they_mean(away, learn, given, count):
    milter = away()
    code, out, err = learn(milter, given)
    assert code == 0 and out.startswith(f"learned {count} recipients in "), (out, err)
    assert passes(milter, "alice@example.test", "bob@example.test") == [count > 0, b"bob" in given]


def test_a_postfix_map_source_is_fed_as_it_is(world, away, start):
    milter = away()
    table = world.file("virtual", "# aliases\nexample.test  anything\ninfo@example.test  alice@other.test, x\n")
    code, out, err = start(milter, table).end()
    assert code == BAD_LINES and "line 2: example.test  anything" in err and "learned 1 " in out
    assert passes(milter, "info@example.test", "alice@other.test") == [True, False]


def test_skip_passes_over_lines_whatever_stands_on_them(world, away, start):
    milter = away()
    path = world.file("list", "a@example.test\n# b\n\nbad\nc@example.test\nalso bad\nd@example.test\n")
    code, out, err = start(milter, "--skip", "4", path).end()
    assert code == BAD_LINES and "learned 2 " in out and "line 6: also bad" in err, err
    assert passes(milter, "a@example.test", "c@example.test", "d@example.test") == [False, True, True]
    code, out, err = start(milter, path, "--skip", "8").end()
    assert code == 0 and "learned 0 " in out and "7 lines only" in err, err


# ---- how it ends ----


@pytest.fixture
def fifo(world):
    path = world.scratch.new("fifo") / "it's a list"
    os.mkfifo(path)
    return path


@contextlib.contextmanager
def one_batch_and_a_line(fifo, learning):
    """Yields once the first batch is on disk and the writer still there."""
    with open(fifo, "wb", buffering=0) as pipe:
        writer = threading.Thread(target=pipe.write, args=(numbered(BATCH + 1),))
        writer.start()
        learning.says(f"{BATCH} recipients stored, as far as line {BATCH}")
        writer.join(60)
        assert not writer.is_alive()
        yield pipe


def complete(milter, fifo, err):
    """Runs the command it named, with the whole list in the place of the pipe."""
    words = command_that_goes_on(err)
    assert words[-3:] == ["--skip", str(BATCH), str(fifo)], words
    fifo.unlink()
    fifo.write_bytes(numbered(BATCH + 5))
    done = subprocess.run(
        [build_directory() / "rcptctl", *words], stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0 and done.stdout.startswith("learned 5 "), done
    ends = ["u0", f"u{BATCH - 1}", f"u{BATCH}", f"u{BATCH + 4}"]
    assert passes(milter, *(f"{name}@example.test" for name in ends)) == [True] * 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_an_interrupted_run_names_the_command_that_completes_it(away, start, fifo, number):
    milter = away()
    learning = start(milter, fifo)
    with one_batch_and_a_line(fifo, learning):
        learning.child.send_signal(number)
        code, out, err = learning.end()
    assert code == 128 + number and out == "" and f"stopped by {number.name}" in err
    assert f"{BATCH} recipients are safely stored" in err
    complete(milter, fifo, err)


def test_a_daemon_that_ends_in_the_middle_keeps_what_it_acknowledged(away, start, fifo):
    milter = away()
    learning = start(milter, fifo)
    with one_batch_and_a_line(fifo, learning) as pipe:
        milter.kill()
        pipe.close()
        code, out, err = learning.end()
    assert code == NOT_RUNNING and out == "" and "not running" in err
    milter.start()
    complete(milter, fifo, err)


def take_the_turn(milter, start):
    """One that waits for input, and that others are refused for. (One that asks whether it is so may
    itself have the turn for a moment, and the first is refused then.)"""
    holders = [start(milter, "-")]

    def has_it():
        if holders[-1].child.poll() is not None:
            holders.append(start(milter, "-"))
        return start(milter, "-").end()[0] == UNAVAILABLE and holders[-1].child.poll() is None

    wait_until(has_it, what="one to have the turn")
    return holders[-1]


def test_a_daemon_that_ends_while_it_stores_is_told_in_one_sentence(away, start, fifo):
    milter = away()
    learning = take_the_turn(milter, start)
    milter.suspend()
    learning.child.stdin.write(b"alice@example.test\n")
    learning.child.stdin.close()
    milter.kill()
    code, out, err = learning.child.wait(60), learning.out.read_text(), learning.err.read_text()
    assert code in (UNAVAILABLE, NOT_RUNNING) and out == "", err
    assert len(err.splitlines()) == 2 and "--skip 0" in err, err
    milter.start()


def test_a_signal_ends_it_while_it_waits_for_input(away, start):
    learning = take_the_turn(away(), start)
    learning.child.send_signal(signal.SIGTERM)
    code, _, err = learning.end()
    assert code == 128 + signal.SIGTERM and "0 recipients are safely stored" in err, err


def test_one_learns_at_a_time_and_the_next_when_it_has_ended(away, start, learn):
    milter = away()
    first = take_the_turn(milter, start)
    code, _, err = learn(milter, b"bob@example.test\n")
    assert code == UNAVAILABLE and "another rcptctl learn is under way" in err
    assert first.end(b"alice@example.test\n")[0] == 0
    assert learn(milter, b"carol@example.test\n")[0] == 0, "at once"
    assert passes(milter, "alice@example.test", "carol@example.test") == [True] * 2


def test_without_a_daemon_it_says_so_and_exits_3_before_it_reads(world, start):
    milter = world.milter_not_started(recipient_maps="fail:")
    learning = start(milter, "-")
    assert learning.child.wait(30) == NOT_RUNNING
    assert "not running" in learning.err.read_text()


def test_a_state_directory_that_cannot_be_written_is_told_and_exits_75(away, learn):
    milter = away(state_directory="/nonexistent/state")
    code, out, err = learn(milter, b"alice@example.test\n")
    assert code == UNAVAILABLE and out == "", err
    assert "/nonexistent/state" in err and len(err.splitlines()) <= 2, err
    assert passes(milter, "alice@example.test") == [False]


def test_a_full_disk_is_told_and_what_was_acknowledged_stays(world, away, learn):
    small = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=8m tmpfs "$0" && exec "$@"']
    if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode != 0:
        pytest.skip("no mount namespaces here")
    state = world.scratch.new("small")
    milter = away(state_directory=state, wrapper=[*small, state])
    assert learn(milter, b"alice@example.test\n")[0] == 0
    code, out, err = learn(milter, numbered(400_000))
    # LMDB calls a short write an input/output error.
    assert code == UNAVAILABLE and out == "" and re.search("No space|full|Input/output error", err), err
    assert passes(milter, "alice@example.test") == [True]


@pytest.mark.parametrize(
    "words",
    [[], ["a", "b"], ["--skip"], ["--skip", "x", "-"], ["--skip", "-1", "-"], ["--from"], ["--nosuch"],
     ["--from", "texthash:/x"], ["--from", "mysql:"], ["-", "--from", "mysql:/x"], [""]],
    ids=" ".join,
)  # fmt: skip
def test_wrong_usage_exits_64(away, start, words):
    code, out, err = start(away(), *words).end()
    assert code == USAGE and err.startswith("usage: rcptctl learn "), err


@pytest.mark.parametrize("path", ["/nonexistent/list", "/tmp"])
def test_what_cannot_be_read_is_told_and_exits_66(away, start, path):
    code, out, err = start(away(), path).end()
    assert code == NO_INPUT and path in err and len(err.splitlines()) == 1, err


# ---- what it shows ----


def terminal_output(start, milter, columns, *arguments, given=b""):
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    shown = bytearray()

    def read():
        with contextlib.suppress(OSError):  # EIO: nobody has the other end any more
            while block := os.read(master, 65536):
                shown.extend(block)

    reader = threading.Thread(target=read)
    reader.start()
    learning = start(milter, *arguments, stderr=slave)
    os.close(slave)
    code, out, _ = learning.end(given)
    reader.join(30)
    os.close(master)
    return code, out, shown.decode()


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
def test_on_a_terminal_there_is_a_bar_that_never_wraps_and_is_gone_at_the_end(world, away, start, columns):
    milter = away()
    path = world.file("list", numbered(100_000).decode())
    code, out, shown = terminal_output(start, milter, columns, path)
    assert code == 0 and out.startswith("learned 100000 recipients in ")
    drawn = [part.removesuffix("\x1b[K") for part in shown.split("\r") if part]
    assert drawn[-1] == "" and len(drawn) > 1, shown
    assert all(len(line) < min(columns, 81) and "\n" not in line for line in drawn), drawn
    assert all("%" in line for line in drawn[:-1])
    assert columns < 80 or any("[" in line for line in drawn)


def test_a_pipe_on_a_terminal_has_a_count_and_no_percent(away, start):
    code, _, shown = terminal_output(start, away(), 80, "-", given=numbered(1000))
    assert code == 0 and " stored, " in shown and "%" not in shown and shown.endswith("\r\x1b[K")


def test_elsewhere_there_is_one_plain_line_for_each_batch(world, away, start):
    milter = away()
    path = world.file("list", numbered(1000).decode())
    code, out, err = start(milter, path).end()
    assert code == 0 and err == "rcptctl: 1000 recipients stored, as far as line 1000\n"
    assert re.fullmatch(r"learned 1000 recipients in \d+ s\n", out)
