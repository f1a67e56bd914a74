"""How the daemon starts, stops and lives beside its like; what it logs; what it tells systemd."""

import os
import re
import resource
import signal
import socket
import stat
import subprocess
import threading

import pytest

from harness import free_port, mysql_table, rcpt_milter, wait_until


@pytest.fixture
def known(world):
    return f"texthash:{world.file('map', 'alice@example.test OK' + chr(10))}"


# Sockets


def test_a_second_instance_refuses_to_start_and_leaves_the_first_alone(world, known):
    first = world.milter(recipient_maps=known)
    second = world.milter_not_started(recipient_maps=known)
    second.write_config(milter_socket=f"unix:{first.socket}")
    status, said = second.refusal()
    assert status and status > 0 and str(first.socket) in said, said
    assert first.ask("alice@example.test").code == 250


def test_a_second_instance_on_the_same_control_socket_refuses_too(world, known):
    first = world.milter(recipient_maps=known)
    second = world.milter_not_started(recipient_maps=known)
    second.write_config(control_socket=f"unix:{first.control}")
    status, said = second.refusal()
    assert status and str(first.control) in said
    assert first.ctl("status").returncode == 0


def test_the_socket_of_a_killed_instance_is_replaced(world, known):
    milter = world.milter(recipient_maps=known)
    milter.kill()
    assert milter.socket.exists(), "kill -9 leaves it there"
    milter.start()
    assert milter.ask("alice@example.test").code == 250
    assert milter.ctl("status").returncode == 0


def test_a_file_in_the_place_of_the_socket_is_left_alone(world, known):
    milter = world.milter_not_started(recipient_maps=known)
    milter.socket.write_text("precious")
    status, said = milter.refusal()
    assert status and str(milter.socket) in said
    assert milter.socket.read_text() == "precious"


@pytest.mark.parametrize("mode", ["0660", "0600", "0666"])
def test_the_socket_has_its_mode_from_the_first_moment(world, known, mode):
    milter = world.milter_not_started(recipient_maps=known, milter_socket_mode=mode)
    before = os.umask(0o000)
    try:
        milter.start()
    finally:
        os.umask(before)
    assert stat.S_IMODE(milter.socket.stat().st_mode) == int(mode, 8)


def test_a_socket_directory_that_is_not_there_is_named(world, known):
    milter = world.milter_not_started(recipient_maps=known, socket_directory="/nonexistent/dir")
    status, said = milter.refusal()
    assert status and "/nonexistent/dir" in said


def test_an_inet_socket_works_too(world, known):
    for _ in range(5):
        port = free_port()
        milter = world.milter_not_started(recipient_maps=known)
        milter.write_config(milter_socket=f"inet:127.0.0.1:{port}")
        milter.start(ready=False)
        wait_until(lambda milter=milter: milter.ctl("status").returncode == 0 or not milter.alive(), 60)
        if milter.alive():
            break
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(b"\0\0\0\x0dO\0\0\0\x06\0\0\x01\xff\0\x1f\xff\xff")
        assert connection.recv(100)[4:5] == b"O"


def test_few_file_descriptors_are_warned_about(world, known):
    milter = world.milter(recipient_maps=known, wrapper=["prlimit", "--nofile=512:512"])
    assert milter.log.find("warning: only 512 files")
    assert milter.ask("alice@example.test").code == 250


def test_more_sessions_than_select_can_count_are_all_answered(world, known):
    """Descriptors above 1023: poll or select, whatever libmilter was built with."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 3000:
        pytest.skip(f"only {hard} files may be open")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 3000), hard))
    milter = world.milter(recipient_maps=known, verbose=0)
    sessions = [milter.session() for _ in range(1200)]
    try:
        for session in sessions:
            session.mail()
            assert session.rcpt("alice@example.test").code == 250
        for session in reversed(sessions):
            assert session.rcpt("ghost@example.test").code == 450
    finally:
        for session in sessions:
            session.close()
    wait_until(lambda: milter.stats()["sessions"] >= 1200, what="the sessions to be closed")


# Signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_signal_ends_it_cleanly(world, known, number):
    milter = world.milter(recipient_maps=known)
    assert milter.end(number, 30) == 0
    assert milter.log.find("stopped")
    assert not milter.control.exists() or milter.ctl("status").returncode == 3


def test_it_stops_with_sessions_open(world, known):
    milter = world.milter(recipient_maps=known)
    sessions = [milter.session() for _ in range(10)]
    assert milter.end(signal.SIGTERM, 30) == 0
    for session in sessions:
        session.close()


def test_it_stops_while_mysql_hangs(world, own_directory, own_recipients):
    milter = world.milter(recipient_maps=own_recipients, lookup_deadline="1s", mysql_query_timeout="2s")
    milter.ask("alice@example.test")
    own_directory.suspend()
    session = milter.session()
    session.mail()
    session.send("R", b"<bob@example.test>\0")
    assert milter.end(signal.SIGTERM, 40) == 0
    session.close()


@pytest.mark.sanitizer
def test_many_hangups_in_a_row_are_all_reloads(world, known):
    milter = world.milter(recipient_maps=known)
    for _ in range(50):
        milter.send(signal.SIGHUP)
    wait_until(lambda: milter.stats()["reloads"] >= 1)
    milter.reload(role="fallback")
    assert milter.alive() and milter.ask("ghost@example.test").code == 550
    milter.stop()


def test_a_hangup_at_any_moment_of_the_start_does_not_kill_it(world, known):
    """libmilter takes HUP for "stop", and a process without a handler dies of it."""
    for _ in range(10):
        milter = world.milter_not_started(recipient_maps=known)
        milter.start(ready=False)
        milter.log.wait("serves")
        milter.send(signal.SIGHUP)
        wait_until(lambda milter=milter: milter.stats()["reloads"] == 1, what="the reload")
        assert milter.ask("alice@example.test").code == 250
        milter.kill()


# systemd


class NotifySocket:
    """What systemd would be told."""

    def __init__(self, path):
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(0.1)
        self.messages = []
        self.ended = False
        self.thread = threading.Thread(target=self._listen, daemon=True)
        self.thread.start()

    def _listen(self):
        while not self.ended:
            try:
                self.messages.append(self.socket.recv(4096).decode())
            except TimeoutError:
                pass
        self.socket.close()

    def close(self):
        self.ended = True
        self.thread.join()

    def wait(self, text, since=0, limit=30):
        return wait_until(
            lambda: next((m for m in self.messages[since:] if text in m), None), limit, f"{text} in {self.messages}"
        )


def test_systemd_is_told_of_every_change(world, known):
    listener = NotifySocket(world.scratch.new("notify") / "sock")
    milter = world.milter(
        recipient_maps=known,
        environment={"NOTIFY_SOCKET": str(listener.path), "WATCHDOG_USEC": "400000"},
    )  # fmt: skip
    ready = listener.wait("READY=1")
    assert "STATUS=" in ready and "primary" in ready
    mark = len(listener.messages)
    listener.wait("WATCHDOG=1", mark)
    listener.wait("WATCHDOG=1", mark + 1)

    mark = len(listener.messages)
    milter.reload(role="fallback")
    reloading = listener.wait("RELOADING=1", mark)
    assert "MONOTONIC_USEC=" in reloading, "Type=notify-reload wants it"
    assert "fallback" in listener.wait("READY=1", mark)
    order = [m for m in listener.messages[mark:] if "RELOADING=1" in m or "READY=1" in m]
    assert "RELOADING=1" in order[0]

    milter.stop()
    listener.wait("STOPPING=1", mark)
    listener.close()


# In place of the C library's: while the file HANG is there, a wait of ours with a deadline does not
# end, be what it waited for there or not. libmilter's idle threads go on: one takes the command.
HANG = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *lock, const struct timespec *at)
{
    static int (*real)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    if (!real)
        real = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
    int result = real(cond, lock, at);
    Dl_info caller;
    if (dladdr(__builtin_return_address(0), &caller) && strstr(caller.dli_fname, "libmilter"))
        return result;
    while (access(getenv("HANG"), F_OK) == 0) {
        pthread_mutex_unlock(lock);
        poll(NULL, 0, 1);
        pthread_mutex_lock(lock);
    }
    return result;
}
"""


def uptime_s(milter):
    return int(re.search(r"running for (\d+) s", milter.ctl("status").stdout)[1])


@pytest.mark.parametrize("hangs", [False, True], ids=["late ones end", "none ends"])
def test_the_watchdog_is_fed_only_while_lookups_end(world, own_directory, own_recipients, hangs):
    """A lookup that outlives its deadline is a mistake of ours; systemd then starts us anew. One
    that ends at its deadline, because MySQL hangs, is daily life."""
    library, flag = world.file("hang.so", ""), world.scratch.new("hang") / "flag"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, world.file("hang.c", HANG)], check=True)
    listener = NotifySocket(world.scratch.new("notify") / "sock")
    milter = world.milter(
        recipient_maps=own_recipients, lookup_deadline="100ms",
        environment={"NOTIFY_SOCKET": str(listener.path), "WATCHDOG_USEC": "400000",
                     "LD_PRELOAD": str(library), "HANG": str(flag)},
    )  # fmt: skip
    own_directory.suspend()
    if hangs:
        flag.touch()
    with milter.session() as session:
        session.mail()
        session.send("R", b"<alice@example.test>\0")
        if hangs:
            wait_until(lambda: milter.log.find("watchdog is not fed"), what="it to starve")
            fed = len(listener.messages)
            later = uptime_s(milter) + 2
            wait_until(lambda: uptime_s(milter) >= later, what="some intervals to pass")
            assert not [m for m in listener.messages[fed:] if "WATCHDOG" in m]
        flag.unlink(missing_ok=True)
        assert session.answer().code == 451
    fed = len(listener.messages)
    listener.wait("WATCHDOG=1", fed)
    own_directory.resume()
    listener.close()


def test_systemd_is_told_that_nothing_is_checked(world):
    listener = NotifySocket(world.scratch.new("notify") / "sock")
    world.milter(environment={"NOTIFY_SOCKET": str(listener.path)})
    assert "NOT CHECKED" in listener.wait("READY=1")
    listener.close()


def test_it_does_not_say_ready_before_it_answers(world, known):
    listener = NotifySocket(world.scratch.new("notify") / "sock")
    milter = world.milter_not_started(
        recipient_maps=known, environment={"NOTIFY_SOCKET": str(listener.path)}
    )
    milter.start(ready=False)
    listener.wait("READY=1")
    assert milter.ask("alice@example.test").code == 250, "at once"
    listener.close()


# Logs


def test_a_trace_tells_the_whole_story_of_one_recipient(world, recipients):
    memcached = world.memcached()
    milter = world.milter(
        recipient_maps=recipients, recipient_delimiter="+", memcache_servers=f"unix:{memcached.socket}",
        memcache_timeout="5s",
    )  # fmt: skip
    milter.ask("ghost+tag@example.test")
    milter.log.wait("reject:.*ghost")
    trace = "\n".join(milter.log.find("trace"))
    for word in ("process cache", "memcached", "ms", "verdict: unknown on a primary", "reply: 450 4.1.1",
                 "SELECT address FROM recipients WHERE address = 'ghost+tag@example.test'",
                 "SELECT address FROM recipients WHERE address = 'ghost@example.test'",
                 "SELECT address FROM recipients WHERE address = '@example.test'"):  # fmt: skip
        assert word in trace, (word, trace)
    mark = milter.log.end()
    milter.ask("ghost+tag@example.test")
    milter.log.wait("reject:.*ghost", mark)
    again = "\n".join(milter.log.find("trace", mark))
    assert "process cache" in again and "SELECT" not in again


def test_without_v_only_refusals_are_logged(world, known):
    milter = world.milter(recipient_maps=known, verbose=0)
    mark = milter.log.end()
    milter.ask("alice@example.test", "ghost@example.test", "postmaster")
    milter.log.wait("reject:", mark)
    milter.ask("alice@example.test")
    lines = milter.log.lines(mark)
    assert len(lines) == 1 and "ghost@example.test" in lines[0]


def test_log_known_logs_the_others_too(world, known):
    milter = world.milter(recipient_maps=known, verbose=0, log_known="yes")
    milter.ask("alice@example.test")
    milter.log.wait("to=<alice@example.test>")


def test_no_password_is_in_any_log_however_verbose(world, directory, own_directory, recipients):
    passwords = ["s3cret-Passw0rd", "wr0ng-Passw0rd"]
    wrong = mysql_table(world, own_directory, "SELECT address FROM recipients WHERE address = '%s'",
                        password=passwords[1])  # fmt: skip
    right = mysql_table(world, own_directory, "SELECT nosuch FROM recipients WHERE address = '%s'")
    milter = world.milter(recipient_maps=f"{recipients}, {wrong}, {right}", verbose=2)
    milter.ask("alice@example.test", "ghost@example.test")
    milter.ctl("lookup", "ghost@example.test", "--explain")
    own_directory.kill()
    milter.ask("ghost2@example.test")
    milter.reload(role="fallback")
    milter.ctl("status")
    printed = rcpt_milter("-T", "-c", milter.conf)
    milter.stop()
    text = milter.log.text() + printed.stdout + printed.stderr
    assert "ghost2@example.test" in text
    assert not any(password in text for password in passwords)


def test_a_change_of_a_servers_state_is_logged_once(world, own_directory, own_recipients):
    milter = world.milter(recipient_maps=own_recipients, process_cache_entries="0", verbose=0)
    milter.ask("alice@example.test")
    own_directory.kill()
    mark = milter.log.end()
    for i in range(20):
        milter.ask(f"down{i}@example.test")
    about = [line for line in milter.log.lines(mark) if "reject:" not in line and str(own_directory.socket) in line]
    assert 1 <= len(about) <= 2, about
    mark = milter.log.end()
    own_directory.start()
    wait_until(lambda: milter.ask("alice@example.test").code == 250, what="alice to be known")
    back = [line for line in milter.log.lines(mark) if "reject:" not in line and str(own_directory.socket) in line]
    assert len(back) == 1, back


# The command line


def test_t_checks_files_and_needs_no_server(world, own_directory, own_recipients):
    own_directory.kill()
    milter = world.milter_not_started(recipient_maps=own_recipients, memcache_servers="unix:/nonexistent.sock")
    done = rcpt_milter("-t", "-c", milter.conf)
    assert done.returncode == 0, done
    milter.write_config(recipient_maps="texthash:/nonexistent/file")
    done = rcpt_milter("-t", "-c", milter.conf)
    assert done.returncode == 78 and "/nonexistent/file" in done.stderr and f"{milter.conf}:" in done.stderr


def test_capital_t_prints_a_configuration_with_the_same_effect(world, known):
    milter = world.milter_not_started(recipient_maps=known, role="fallback", lookup_deadline="3s")
    first = rcpt_milter("-T", "-c", milter.conf, "-o", "lookup_slots=7")
    assert first.returncode == 0, first
    assert "role = fallback" in first.stdout and "lookup_slots = 7" in first.stdout
    assert f"{milter.conf}:" in first.stdout, "it tells where a value was set"
    copy = world.file("copy.conf", first.stdout)
    second = rcpt_milter("-T", "-c", copy)
    assert second.returncode == 0, second
    settings = lambda text: [l for l in text.splitlines() if l and l[0] != "#"]  # noqa: E731, E741
    assert settings(first.stdout) == settings(second.stdout)


def test_o_overrides_the_file(world, known):
    milter = world.milter(recipient_maps=known, arguments=["-o", "role=fallback"])
    assert milter.ask("ghost@example.test").code == 550
    status, said = world.milter_not_started(arguments=["-o", "rolle=x"]).refusal()
    assert status and "role" in said


def test_v_prints_the_version_and_wrong_usage_exits_64():
    assert rcpt_milter("-V").stdout.startswith("rcpt-milter ")
    assert rcpt_milter("-Z").returncode == 64
    assert rcpt_milter("extra").returncode == 64


def test_in_the_background_it_returns_when_it_serves(world, known):
    milter = world.milter_not_started(recipient_maps=known)
    done = rcpt_milter("-c", milter.conf)
    assert done.returncode == 0, done
    try:
        assert milter.ask("alice@example.test").code == 250, "at once"
    finally:
        line = milter.ctl("status").stdout
        pid = int(line.partition("pid ")[2].split(",")[0])
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not os.path.exists(f"/proc/{pid}") or milter.ctl("status").returncode == 3, 30)


def test_in_the_background_a_failure_to_start_is_told(world):
    milter = world.milter_not_started(socket_directory="/nonexistent/dir")
    assert rcpt_milter("-c", milter.conf).returncode != 0
