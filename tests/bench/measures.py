"""What is measured. Each is one function: it starts what it needs, asks, and writes rows."""

import pathlib
import statistics
import subprocess
import time

from bench_world import BENCH, Ratio, p99, pid_of, ratio, throughput
from harness import build_directory, free_port

QUIET = {"log_level": "warning"}


def floor(world):
    return world.once("floor", lambda: world.filter("floor"))


def warm_node(world):
    """All from the process cache, once it was asked for each."""
    return world.once("warm", lambda: world.node(
        recipient_maps=world.map(), process_cache_ttl="1h", positive_ttl="1d", negative_ttl="1h",
        **QUIET))


def driver(world, _book):
    """A driver that overlooks a wrong answer measures nothing."""
    lie = world.questions(1, expected=5)
    done = subprocess.run([BENCH / "load", "-c", "1", "-n", "1", f"unix:{floor(world).socket}", lie],
                          capture_output=True, text=True)
    assert done.returncode == 1 and '"wrong": 1' in done.stdout, done


def compare_with_floor(world, ours, questions, connections, count):
    known = world.questions(1000)
    world.warm(ours, questions, 2000)
    return world.compare(lambda: world.load(ours, questions, count, connections),
                         lambda: world.load(floor(world), known, count, connections))


def cached(world, book):
    """Known recipients from the process cache, unknown ones on a primary from the negative cache."""
    known = world.questions(1000)
    unknown = world.questions(1000, expected=4, pattern="nobody{:08d}@example.test")
    node = warm_node(world)
    count = 20_000 if world.quick else 100_000
    for connections in (16, 100):
        runs = compare_with_floor(world, node, known, connections, count)
        book.row("known, process cache", f"throughput, {connections} connections, of the floor's",
                 ratio(runs, throughput), at_least=0.95)
        book.row("known, process cache", f"p99, {connections} connections, of the floor's",
                 ratio(runs, p99))
    runs = compare_with_floor(world, node, unknown, 16, count)
    book.row("unknown, negative cache", "throughput, 16 connections, of the floor's",
             ratio(runs, throughput), at_least=0.90)


def processor(world, book):
    """Per recipient and per session: the time of sessions with one recipient and with 200 says both."""
    known, node = world.questions(1000), warm_node(world)
    world.warm(node, known, 2000)
    added_recipient, added_session, base_recipient, base_session = [], [], [], []
    for _ in range(world.pairs):
        costs = []
        for target in (node, floor(world)):
            short = world.load(target, known, 4000 if world.quick else 10_000, per_session=1)
            long = world.load(target, known, 20_000 if world.quick else 60_000, per_session=200)
            recipient = (200 * long.cpu_per_recipient - short.cpu_per_recipient) / 199
            costs.append((recipient, short.cpu_per_recipient - recipient))
        (ours, our_session), (theirs, their_session) = costs
        added_recipient.append(ours - theirs)
        added_session.append(our_session - their_session)
        base_recipient.append(theirs)
        base_session.append(their_session)
    book.row("processor time", "us per recipient, the floor", Ratio(base_recipient))
    book.row("processor time", "us per recipient above the floor", Ratio(added_recipient),
             at_most=1.5)
    book.row("processor time", "us per session, the floor", Ratio(base_session))
    book.row("processor time", "us per session above the floor", Ratio(added_session), at_most=5)


def memcached(world, book):
    """Known recipients from memcached over a unix socket, the process cache off."""
    cache = world.memcached()
    node = world.node("rm-mc", recipient_maps=world.map(), process_cache_entries="0",
                      memcache_servers=f"unix:{cache.socket}", positive_ttl="1d", **QUIET)
    runs = compare_with_floor(world, node, world.questions(1000), 16, 10_000 if world.quick else 50_000)
    book.row("known, memcached", "throughput, 16 connections, of the floor's",
             ratio(runs, throughput), at_least=0.60)


def directory(world, book):
    """Nothing cached, every key another one: a warm MariaDB over its unix socket."""
    node = world.node("rm-db", recipient_maps=world.map(), process_cache_entries="0",
                      lookup_slots="32", **QUIET)
    naive = world.filter("naive", str(world.database().socket))
    count = 5000 if world.quick else 20_000
    world.warm(node, world.questions(count), count)
    turn = iter(range(1000))
    runs = world.compare(
        lambda: world.load(node, world.questions(count, start=count * (next(turn) % 9)), count),
        lambda: world.load(naive, world.questions(count, start=count * (next(turn) % 9)), count))
    book.row("known, directory", "throughput, 16 connections, of the naive milter's",
             ratio(runs, throughput), at_least=3)


def resident(pid, kind="VmRSS"):
    """Bytes. RssAnon is without the pages of files, such as the known-good store's, which the kernel
    takes back when it wants them."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{kind}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"no {kind}")


def idle(world, book):
    """What an idle session costs in memory."""
    sessions = 5000
    each = []
    for target in (world.node("rm-idle", recipient_maps=world.map(), **QUIET),
                   world.filter("floor")):
        before = resident(pid_of(target))
        driver = subprocess.Popen([BENCH / "load", "-i", "-c", str(sessions), f"unix:{target.socket}"],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert driver.stdout.readline() == "ready\n"
        each.append((resident(pid_of(target)) - before) / sessions)
        driver.communicate()
    ours, theirs = each
    book.row("idle sessions", f"bytes each, of {sessions}, the floor", Ratio([theirs]))
    book.row("idle sessions", "bytes each above the floor", Ratio([ours - theirs]), at_most=2000)


def memory(world, book):
    """At rest, and for each entry of the process cache."""
    entries = 200_000
    node = world.node("rm-mem", recipient_maps="static:OK", process_cache_ttl="1h",
                      process_cache_entries=str(2 * entries), **QUIET)
    at_rest = resident(pid_of(node))
    # The known-good store learns them all, which takes memory of its own, up to a bound; but it does
    # not learn again what it learned lately. So: with the cache on what it knows.
    everyone = world.questions(entries)
    world.load(node, everyone, entries)
    node.stop()
    node.start()
    world.load(node, everyone, 20_000)
    before = resident(pid_of(node), "RssAnon")
    world.load(node, world.questions(entries - 20_000, start=20_000), entries - 20_000)
    book.row("memory", "MB resident at rest", Ratio([at_rest / 1e6]), at_most=12)
    book.row("memory", "bytes for each further entry of the process cache",
             Ratio([(resident(pid_of(node), "RssAnon") - before) / (entries - 20_000)]),
             at_most=160)


def selects(world, book):
    """How many queries the directory sees."""
    database = world.database()
    node = world.node("rm-sel", recipient_maps=world.map(), recipient_delimiter="+",
                      process_cache_ttl="1h", **QUIET)

    def queries_of(questions, count, **how):
        before = int(database.sql("SHOW GLOBAL STATUS LIKE 'Com_select'")[0][1])
        world.load(node, questions, count, **{"connections": 8, **how})
        return int(database.sql("SHOW GLOBAL STATUS LIKE 'Com_select'")[0][1]) - before

    known = world.questions(1000, start=5000)
    book.row("SELECTs", "for a first hit", Ratio([queries_of(known, 1000) / 1000]), at_most=1)
    book.row("SELECTs", "for a cached hit", Ratio([queries_of(known, 1000) / 1000]), at_most=0)
    unknown = world.questions(1000, expected=4, pattern="nobody{:08d}+x@example.test")
    book.row("SELECTs", "for a first miss with an extension", Ratio([queries_of(unknown, 1000) / 1000]))
    cold = world.questions(1, start=7777)
    book.row("SELECTs", "for 1,000 who ask for one cold key at once",
             Ratio([queries_of(cold, 1000, connections=1000, per_session=1,
                                tolerant=True)]), at_most=1)


def through_postfix(world, book):
    """Sessions through a real Postfix, with what a user would take instead."""
    postfix = world.postfix_not_started(
        "bench-mx", relay_domains="example.test", default_process_limit="200",
        smtpd_recipient_limit="2000", chroot=False)
    place = postfix.milter_directory()
    node = world.milter("rm-mx", verbose=0, socket_directory=place, recipient_maps=world.map(),
                        process_cache_ttl="1h", **QUIET)
    postfix.listen_with({"ours": node, "floor": world.filter("floor", directory=place)})
    table = world.map()
    port = free_port()
    world.memcached("mx-mc", address=("127.0.0.1", port))
    memcache = world.file("memcache.cf", f"memcache = inet:127.0.0.1:{port}\nbackup = {table}\n")
    postfix.listeners |= {name: {"relay_recipient_maps": maps} for name, maps in {
        "none": "", "mysql": table, "proxy": f"proxy:{table}", "memcache": f"memcache:{memcache}",
    }.items()}
    postfix.parameters["proxy_read_maps"] = f"proxy:{table}"
    postfix.start()
    known = world.questions(1000)
    count = 1500 if world.quick else 4000
    sessions = (8,) if world.quick else (1, 8, 50)
    for many in sessions:
        share = count if many > 1 else count // 3

        def asked(name):
            return world.load(postfix.port(name), known, share, many, smtp=True)

        for name in postfix.listeners:
            world.load(postfix.port(name), known, 1000, min(many, 8), smtp=True)
        for name in postfix.listeners:
            if name == "ours":
                continue
            runs = world.compare(lambda: asked("ours"), lambda: asked(name))
            book.row(f"Postfix, {many} sessions", f"throughput, of {name}'s", ratio(runs, throughput),
                     at_least={"floor": 0.97, "mysql": 1, "proxy": 1}.get(name))
            book.row(f"Postfix, {many} sessions", f"p99, of {name}'s", ratio(runs, p99),
                     at_most=1 if name in ("mysql", "proxy") else None)


def connections(world, book):
    """The plot: throughput and p99 against connections."""
    known, node = world.questions(1000), warm_node(world)
    naive = world.filter("naive", str(world.database().socket))
    world.warm(node, known, 2000)
    for many in (1, 4, 16, 50, 100, 200, 400):
        for name, target, count in (("libmilter alone", floor(world), 40_000),
                                    ("rcpt-milter, cached", node, 40_000),
                                    ("naive MySQL milter", naive, 10_000)):
            runs = [world.load(target, known, count, many) for _ in range(3)]
            book.point(name, many, statistics.median(run.per_second for run in runs),
                       statistics.median(run.p99_us for run in runs))


def growth(world, book):
    """The same with more and more recipients."""
    sizes = (10_000, 1_000_000, 10_000_000)
    cost = {}
    nodes = {}
    for size in sizes:
        begun = time.monotonic()
        # For loading only: none of it is durable, and all of it is in memory afterwards.
        database = world.make_database(size, f"db-{size}", options=[
            "--innodb-buffer-pool-size=2G", "--innodb-log-file-size=512M",
            "--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=0", "--net-read-timeout=900"])
        table = world.map(database)
        nodes[size] = (world.node(f"rm-{size}", recipient_maps=table, process_cache_ttl="1h", **QUIET),
                       world.node(f"rn-{size}", recipient_maps=table, process_cache_entries="0",
                                  lookup_slots="32", **QUIET))
        print(f"    {size} recipients made in {time.monotonic() - begun:.0f} s", flush=True)
    for kind, count in (("cached", 50_000), ("uncached", 9000)):
        for turn in range(world.pairs):
            for size in sizes:
                node = nodes[size][kind == "uncached"]
                # Spread over the whole table.
                stride = size // 9000
                questions = world.questions(9000, pattern="user{:08d}@example.test") if stride < 2 else \
                    spread(world, size, 9000)
                if turn == 0:
                    world.warm(node, questions, 9000)
                cost.setdefault((kind, size), []).append(
                    world.load(node, questions, count).per_second)
    for kind, least in (("cached", 0.97), ("uncached", 0.80)):
        for size in sizes[1:]:
            pairs = zip(cost[kind, size], cost[kind, sizes[0]])
            book.row("growth", f"throughput {kind}, {size:,} recipients, of that with {sizes[0]:,}",
                     Ratio([more / few for more, few in pairs]), at_least=least)


def spread(world, size, count):
    path = world.scratch.path / f"spread-{size}"
    if not path.exists():
        step = size // count
        path.write_text("".join(f"2 user{i * step:08d}@example.test\n" for i in range(count)))
    return path


def known_good(world, book):
    """Ten million recipients in the known-good store."""
    count = 10_000_000
    node = world.node("rm-kg", recipient_maps=world.map(), process_cache_entries="0",
                      lookup_deadline="1s", **QUIET)
    begun = time.monotonic()
    producer = subprocess.Popen(
        ["awk", f"BEGIN {{ for (i = 0; i < {count}; i++) printf \"user%08d@example.test\\n\", i }}"],
        stdout=subprocess.PIPE)
    done = subprocess.run([build_directory() / "rcptctl", "-c", str(node.conf), "learn", "-"], stdin=producer.stdout,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    book.row("known-good store", "seconds to learn 10,000,000", Ratio([time.monotonic() - begun]))
    size = (node.state / "known-good.mdb").stat().st_blocks * 512
    book.row("known-good store", "MB on disk with 10,000,000", Ratio([size / 1e6]))
    node.stop()
    begun = time.monotonic()
    node.start()
    book.row("known-good store", "seconds to start with 10,000,000", Ratio([time.monotonic() - begun]),
             at_most=1)


QUICK = (driver, cached, processor, memcached, directory)
ALL = (driver, cached, processor, memcached, directory, selects, memory, idle, connections, through_postfix,
       known_good, growth)
