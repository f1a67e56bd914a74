"""metrics_listen and stats --prometheus; and that the dashboard and the alerts name only what is there."""

import re
import socket
import subprocess
import sys
import time

import pytest
from daemon import ROOT
from harness import Late, free_port, wait_until

sys.path.insert(0, str(ROOT / "tests"))

from observation import dashboard_expressions, rule_expressions  # noqa: E402

PREFIX = "rcpt_milter_"


@pytest.fixture
def known(world):
    return f"texthash:{world.file('known', 'alice@example.test OK')}"


def milter_with_metrics(world, **config):
    """A port may be taken between our look and its use: then with another. The milter answers a
    moment before the metrics do."""
    for _ in range(5):
        port = free_port()
        milter = world.milter(metrics_listen=f"inet:127.0.0.1:{port}", **config)
        wait_until(lambda: milter.log.find("going on without metrics") or answering(("127.0.0.1", port)))
        if not milter.log.find("going on without metrics"):
            return milter, port
        milter.stop()
    raise Late("no port to be had")


def exchange(address, request, limit=20):
    """Sends the bytes, and gives (status, headers, body) of what comes back until the end."""
    family = socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX
    with socket.socket(family) as connection:
        connection.settimeout(limit)
        connection.connect(address)
        connection.sendall(request)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    return int(lines[0].split()[1]), dict(line.split(": ", 1) for line in lines[1:]), body.decode()


def scrape(address):
    status, headers, body = exchange(address, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status == 200 and int(headers["Content-Length"]) == len(body.encode())
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return body


def samples(text):
    """{"name{labels}": value}"""
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
            for line in text.splitlines() if line and not line.startswith("#")}


def answering(address):
    try:
        return bool(scrape(address))
    except OSError:
        return False


def test_both_ways_print_the_same_and_promtool_finds_no_fault(world, known):
    memcached = world.memcached()
    milter, port = milter_with_metrics(world, recipient_maps=known,
                                       memcache_servers=f"unix:{memcached.socket}")
    milter.ask("alice@example.test", "ghost@example.test")
    over_http, printed = scrape(("127.0.0.1", port)), milter.ctl("stats", "--prometheus").stdout
    assert samples(over_http).keys() == samples(printed).keys()
    done = subprocess.run(["promtool", "check", "metrics"], input=over_http, text=True,
                          capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_prometheus_gets_is_what_happened(world, own_directory, own_recipients):
    memcached = world.memcached()
    milter, port = milter_with_metrics(world, recipient_maps=own_recipients,
                                       memcache_servers=f"unix:{memcached.socket}")
    milter.ask("alice@example.test", "ghost@example.test", "alice@example.test")
    here = ("127.0.0.1", port)
    now = samples(scrape(here))
    assert now['rcpt_milter_lookups_total{answer="known",tier="directory",role="primary"}'] == 1
    assert now['rcpt_milter_lookups_total{answer="known",tier="process-cache",role="primary"}'] == 1
    assert now['rcpt_milter_lookups_total{answer="absent",tier="directory",role="primary"}'] == 1
    assert now['rcpt_milter_verdicts_total{row="primary_unknown"}'] == 1
    assert now['rcpt_milter_replies_total{class="pass"}'] == 2
    assert now['rcpt_milter_reply_codes_total{code="450"}'] == 1
    assert now["rcpt_milter_lookup_seconds_count"] == 3
    assert now["rcpt_milter_directory_query_seconds_count"] >= 2
    mysql, cache = f'server="unix:{own_directory.socket}"', f'server="unix:{memcached.socket}"'
    assert now[f"rcpt_milter_directory_up{{{mysql}}}"] == 1
    assert now[f"rcpt_milter_directory_connections{{{mysql}}}"] >= 1
    assert now[f"rcpt_milter_memcached_up{{{cache}}}"] == 1

    own_directory.kill()
    memcached.kill()

    def both_down():
        milter.ask("somebody@example.test")
        now.update(samples(scrape(here)))
        return not now[f"rcpt_milter_directory_up{{{mysql}}}"] and not now[f"rcpt_milter_memcached_up{{{cache}}}"]

    wait_until(both_down, what="the metrics to tell that both are down")
    assert now[f'rcpt_milter_breaker_open{{tier="directory",{mysql}}}'] == 1
    assert now[f'rcpt_milter_breaker_open{{tier="memcached",{cache}}}'] == 1
    assert now['rcpt_milter_lookups_total{answer="unavailable",tier="nobody",role="primary"}'] >= 1


def test_buckets_grow_and_end_with_the_count(world, known):
    milter = world.milter(recipient_maps=known)
    milter.ask("alice@example.test", "ghost@example.test")
    now = samples(milter.ctl("stats", "--prometheus").stdout)
    buckets = [value for name, value in now.items() if name.startswith("rcpt_milter_lookup_seconds_bucket")]
    assert buckets == sorted(buckets) and buckets[-1] == now["rcpt_milter_lookup_seconds_count"] == 2
    assert milter.ctl("stats", "--reset").returncode == 0
    now = samples(milter.ctl("stats", "--prometheus").stdout)
    assert now["rcpt_milter_lookup_seconds_count"] == now['rcpt_milter_reply_codes_total{code="450"}'] == 0


def test_every_row_is_in_prometheus_once_whatever_its_family(world, known):
    milter = world.milter(recipient_maps=known)
    milter.ask("alice@example.test", "ghost@example.test")
    plain = milter.stats()
    text = milter.ctl("stats", "--prometheus").stdout
    now = samples(text)
    families = {"reply": "replies_total{class", "verdict": "verdicts_total{row",
                "interlock": "interlocks_total{interlock", "engaged": "interlock_engaged{interlock",
                "directory": "directory_answers_total{answer"}  # fmt: skip
    for name, value in plain.items():
        start, _, rest = name.partition("_")
        candidates = [PREFIX + name, PREFIX + name + "_total"]
        if start in families:
            candidates.append(f'{PREFIX}{families[start]}="{rest}"}}')
        found = [candidate for candidate in candidates if candidate in now]
        assert len(found) == 1, name
        assert now[found[0]] == value, name
    assert len(now) == sum(1 for line in text.splitlines() if line and line[0] != "#"), "a sample twice"


def test_the_start_time_stays_the_same(world, known):
    milter = world.milter(recipient_maps=known)
    first = samples(milter.ctl("stats", "--prometheus").stdout)["process_start_time_seconds"]
    assert abs(first - time.time()) < 120
    assert samples(milter.ctl("stats", "--prometheus").stdout)["process_start_time_seconds"] == first


def test_only_get_and_head_of_metrics_are_served(world, known):
    _, port = milter_with_metrics(world, recipient_maps=known)
    here = ("127.0.0.1", port)
    status, headers, body = exchange(here, b"HEAD /metrics HTTP/1.1\r\n\r\n")
    assert status == 200 and body == "" and int(headers["Content-Length"]) > 1000
    assert exchange(here, b"GET / HTTP/1.1\r\n\r\n")[0] == 404
    status, headers, _ = exchange(here, b"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc")
    assert status == 405 and headers["Allow"] == "GET, HEAD"
    assert exchange(here, b"\x16\x03\x01\x00\xf0\n")[0] == 400
    assert exchange(here, b"GET /metrics HTTP/1.1\r\n" + b"X: y\r\n" * 2000)[0] == 431


def test_a_unix_socket_serves_too_and_is_gone_afterwards(world, known, scratch):
    path = scratch.new("metrics") / "sock"
    milter = world.milter(recipient_maps=known, metrics_listen=f"unix:{path}")
    wait_until(lambda: answering(str(path)))
    assert samples(scrape(str(path)))["rcpt_milter_recipients_checked"] == 1
    assert path.stat().st_mode & 0o777 == 0o666
    milter.stop()
    assert not path.exists()


def test_a_reload_moves_it_ends_it_and_brings_it_back(world, known, scratch):
    one, other = scratch.new("metrics") / "one", scratch.new("metrics") / "other"
    milter = world.milter(recipient_maps=known, metrics_listen=f"unix:{one}")
    wait_until(lambda: answering(str(one)))
    for listen, there, gone in [(f"unix:{other}", other, one), (f"unix:{one}", one, other), ("", None, one)]:
        milter.reload(metrics_listen=listen)
        # SIGHUP is answered before the listener moves.
        wait_until(lambda gone=gone: not gone.exists(), what="the old socket to go")
        assert not there or wait_until(lambda there=there: answering(str(there)))
    assert milter.ask("alice@example.test").code == 250
    assert not milter.log.find("restart")


def test_where_it_cannot_listen_mail_is_checked_all_the_same(world, known):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        milter = world.milter(recipient_maps=known,
                              metrics_listen=f"inet:127.0.0.1:{taken.getsockname()[1]}")
        milter.log.wait("metrics_listen: cannot listen .*Address already in use.*going on")
        assert milter.ask("alice@example.test").code == 250


def test_an_address_that_others_reach_is_warned_of(world, known):
    milter = world.milter(recipient_maps=known, metrics_listen=f"inet:0.0.0.0:{free_port()}")
    milter.log.wait("metrics_listen inet:0.0.0.0:.* is reached from other hosts|Address already in use")


@pytest.mark.sanitizer
def test_slow_clients_hold_up_neither_mail_nor_others_nor_the_end(world, known):
    milter, port = milter_with_metrics(world, recipient_maps=known)
    here = ("127.0.0.1", port)
    slow = [socket.create_connection(here) for _ in range(9)]  # more than are served at a time
    for connection in slow:
        connection.sendall(b"GET /metrics HTT")
    assert milter.ask("alice@example.test").code == 250
    assert scrape(here)  # once those before it had their five seconds each
    again = [socket.create_connection(here) for _ in range(9)]
    begin = time.monotonic()
    milter.stop()
    assert time.monotonic() - begin < 15, "it waited for who asks for metrics"
    for connection in slow + again:
        connection.close()


# ---- the dashboard and the alerts ----

def names_used():
    """Metrics of ours in the expressions, by the file they stand in."""
    return {name for expression in [*dashboard_expressions(), *rule_expressions()]
            for name in re.findall(r"\b(?:rcpt_milter|process)_\w+", expression)}


def test_the_dashboard_and_the_alerts_name_only_what_is_printed(world, directory, recipients):
    memcached = world.memcached()
    milter = world.milter(recipient_maps=recipients, memcache_servers=f"unix:{memcached.socket}")
    milter.ask("alice@example.test")
    printed = {name.partition("{")[0] for name in samples(milter.ctl("stats", "--prometheus").stdout)}
    assert len(names_used()) > 20
    assert names_used() - printed == set()


def test_every_label_in_them_is_one_that_is_printed(world, directory, recipients):
    memcached = world.memcached()
    milter = world.milter(recipient_maps=recipients, memcache_servers=f"unix:{memcached.socket}")
    milter.ask("alice@example.test")
    printed = milter.ctl("stats", "--prometheus").stdout
    used = set()
    for expression in [*dashboard_expressions(), *rule_expressions()]:
        for matchers in re.findall(r"rcpt_milter_\w+\{([^}]*)\}", expression):
            used |= set(re.findall(r'(\w+)(=~|=)"([^"]*)"', matchers))
    values = set(re.findall(r'(\w+)="([^"]*)"', printed))
    missing = [(label, value) for label, how, value in used if label not in ("instance", "job")
               and not any(name == label and re.fullmatch(value if how == "=~" else re.escape(value), text)
                           for name, text in values)]  # fmt: skip
    assert used and missing == []
