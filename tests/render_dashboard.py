#!/usr/bin/python3
"""Draws packaging/grafana/dashboard.png; `make dashboard` runs this.

A demonstration of a few minutes: MariaDB, memcached, a primary and a fallback rcpt-milter, recipients
who exist and typos, and troubles one after another. A Prometheus of Debian's scrapes both daemons
once a second. Then the panels of packaging/grafana/rcpt-milter.json are drawn, from what that
Prometheus answers to the panels' own queries. Grafana is not needed (and not in Debian); what it
would draw looks much like this.

    tests/render_dashboard.py [PICTURE]    needs prometheus and python3-matplotlib
"""

import json
import math
import os
import random
import re
import sys
import threading
import time
import urllib.parse
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests/e2e"), str(ROOT / "tests")]
sys.dont_write_bytecode = True

try:
    import matplotlib
except ImportError:
    sys.exit("tests/render_dashboard.py: apt-get install python3-matplotlib prometheus")

matplotlib.use("Agg")

import matplotlib.dates as mdates  # noqa: E402
import matplotlib.pyplot as plt  # noqa: E402
from harness import MilterClient, Process, World, free_port, mysql_table, wait_until  # noqa: E402
from matplotlib.patches import FancyBboxPatch, Rectangle  # noqa: E402
from matplotlib.ticker import FuncFormatter, NullLocator  # noqa: E402
from observation import DASHBOARD, dashboard  # noqa: E402

DOMAIN = "example.test"
QUERY = "SELECT address FROM recipients WHERE address = '%s' AND active"
PEOPLE = [f"user{n}@{DOMAIN}" for n in range(400)]
RATE_INTERVAL = "8s"

# What happens, and when: seconds from the start.
PLOT = [
    (70, "MySQL is killed", lambda stage: stage.database.kill()),
    (115, "MySQL is back", lambda stage: stage.database.start()),
    (145, "rcptctl hold", lambda stage: stage.fallback.ctl("hold", "20s")),
    (180, "memcached is killed", lambda stage: stage.memcached.kill()),
    (195, "memcached is back", lambda stage: stage.memcached.start()),
    (215, "the end", None),
]


# ---- the demonstration ----

class Prometheus(Process):
    def __init__(self, scratch, targets):
        self.directory = scratch.new("prometheus")
        super().__init__(self.directory / "log")
        self.port = free_port()
        hosts = "".join(f"      - targets: ['127.0.0.1:{port}']\n        labels: {{instance: {name}}}\n"
                        for name, port in targets.items())  # fmt: skip
        self.conf = scratch.file("prometheus.yml", "global: {scrape_interval: 1s}\nscrape_configs:\n"
                                 f"  - job_name: rcpt-milter\n    static_configs:\n{hosts}")

    def start(self):
        self.spawn(["prometheus", f"--config.file={self.conf}",
                    f"--storage.tsdb.path={self.directory}/data",
                    f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=warn"])
        wait_until(self.ready, 60, "Prometheus to be ready")
        return self

    def stop(self):
        self.end()

    def ready(self):
        try:
            return self.get("/-/ready") is not None
        except OSError:
            return False

    def get(self, path, **query):
        url = f"http://127.0.0.1:{self.port}{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=20) as answer:
            return answer.read()

    def query(self, kind, **query):
        answer = json.loads(self.get(f"/api/v1/{kind}", **query))
        assert answer["status"] == "success", answer
        return answer["data"]["result"]


class Traffic(threading.Thread):
    """Messages of a few recipients to one node, until told to stop."""

    def __init__(self, milter, pace, typos):
        super().__init__(daemon=True)
        self.milter, self.pace, self.typos = milter, pace, typos
        self.over = threading.Event()
        self.chance = random.Random(milter.control.name)

    def run(self):
        while not self.over.wait(self.pace * self.chance.uniform(0.4, 1.6)):
            try:
                with MilterClient(self.milter.socket) as session:
                    session.mail()
                    for _ in range(self.chance.randint(1, 4)):
                        session.rcpt(self.recipient())
            except (OSError, EOFError):
                continue

    def recipient(self):
        if self.chance.random() < self.typos:
            return f"usr{self.chance.randint(0, 60)}@{DOMAIN}"
        return PEOPLE[min(int(self.chance.expovariate(1 / 60)), len(PEOPLE) - 1)]


class Stage:
    def __init__(self, world):
        rows = ",".join(f"('{person}')" for person in PEOPLE)
        self.database = world.mariadb().load(world.file("directory.sql", f"""
            CREATE DATABASE mail CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
            USE mail;
            SOURCE {ROOT}/db/schema.sql;
            INSERT INTO recipients (address) VALUES {rows};
            CREATE USER checker@localhost IDENTIFIED BY 's3cret-Passw0rd';
            GRANT SELECT ON mail.recipients TO checker@localhost;"""))
        self.memcached = world.memcached()
        self.ports = {"mx1": free_port(), "mx2-fallback": free_port()}
        common = {
            "recipient_maps": mysql_table(world, self.database, QUERY), "verbose": 0,
            "memcache_servers": f"unix:{self.memcached.socket}", "positive_ttl": "8s",
            "process_cache_ttl": "2s", "negative_ttl": "4s", "outage_patience": "20s",
            "sentinel_recipients": PEOPLE[0], "sentinel_interval": "5s",
        }  # fmt: skip
        self.primary = world.milter("mx1", role="primary", **common,
                                    metrics_listen=f"inet:127.0.0.1:{self.ports['mx1']}")
        self.fallback = world.milter("mx2", role="fallback", **common,
                                     metrics_listen=f"inet:127.0.0.1:{self.ports['mx2-fallback']}")
        for milter in (self.primary, self.fallback):
            milter.ask(*PEOPLE)  # as `rcptctl learn` would
        self.prometheus = world._begin(Prometheus(world.scratch, self.ports))


def play(stage):
    """(begin, end) of it, seconds since 1970."""
    traffic = [Traffic(stage.primary, 0.06, 0.06), Traffic(stage.fallback, 0.15, 0.25)]
    for thread in traffic:
        thread.start()
    pause, begin = threading.Event(), time.time()
    for at, what, act in PLOT:
        pause.wait(max(0, begin + at - time.time()))
        print(f"{time.time() - begin:4.0f} s  {what}", flush=True)
        if act:
            act(stage)
    for thread in traffic:
        thread.over.set()
        thread.join()
    return begin, time.time()


# ---- from the panel's words to matplotlib's ----

COLORS = {
    "green": "#73BF69", "dark-green": "#37872D", "semi-dark-green": "#56A64B", "yellow": "#F2CC0C",
    "orange": "#FF9830", "light-orange": "#FFB357", "red": "#F2495C", "light-red": "#FF7383",
    "dark-red": "#C4162A", "blue": "#5794F2", "purple": "#B877D9", "text": "#D8D9DA",
}  # fmt: skip
CLASSIC = ["#73BF69", "#F2CC0C", "#8AB8FF", "#FF780A", "#F2495C", "#5794F2", "#B877D9", "#FFA6B0"]
PAGE, PANEL, EDGE, GRID, TEXT, DIM = "#111217", "#181B1F", "#2A2D33", "#2C3036", "#D8D9DA", "#9A9CA5"


def readable(value, unit, axis=False):
    if value is None or math.isnan(value):
        return "no data"
    if unit == "percentunit":
        return f"{100 * value:.1f} %" if not axis else f"{100 * value:g} %"
    if unit == "s":
        for limit, factor, name in [(1e-3, 1e6, "µs"), (1, 1e3, "ms"), (120, 1, "s"), (7200, 1 / 60, "min")]:
            if value < limit:
                return f"{value * factor:.3g} {name}"
        return f"{value / 3600:.3g} h"
    if unit == "ops" and axis:
        return f"{value:g}/s"
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def color_of_threshold(steps, value):
    color = steps[0]["color"]
    for step in steps[1:]:
        if value is not None and value >= step["value"]:
            color = step["color"]
    return COLORS[color]


def mapped(mappings, value):
    """(text, color) a value is shown as, or None."""
    for mapping in mappings:
        option = mapping["options"].get(f"{value:g}") if value is not None else None
        if option:
            return option["text"], COLORS[option["color"]]
    return None


def named(legend, labels):
    return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda found: labels.get(found[1], ""), legend)


class Source:
    """A panel's queries, over the time of the demonstration."""

    def __init__(self, prometheus, begin, end):
        self.prometheus, self.begin, self.end = prometheus, begin, end

    def expression(self, target):
        text = target["expr"].replace("$instance", ".*").replace("$__rate_interval", RATE_INTERVAL)
        return text.replace("$__range", f"{int(self.end - self.begin)}s")

    def now(self, panel):
        result = self.prometheus.query("query", query=self.expression(panel["targets"][0]), time=self.end - 2)
        return float(result[0]["value"][1]) if result else None

    def series(self, panel):
        """[(name, times, values)]: None where there is no sample, as Grafana leaves a gap."""
        found = []
        for target in panel["targets"]:
            for one in self.prometheus.query("query_range", query=self.expression(target),
                                             start=self.begin, end=self.end, step=1):  # fmt: skip
                samples = {round(float(at) - self.begin): float(value) for at, value in one["values"]}
                times = range(int(self.end - self.begin))
                found.append((named(target["legendFormat"], one["metric"]), times,
                              [samples.get(at, math.nan) for at in times]))
        return found


def when(source, times):
    return [mdates.date2num(time_of(source.begin + at)) for at in times]


def time_of(seconds):
    import datetime

    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)


# ---- drawing ----

def draw_stat(axes, panel, source):
    defaults = panel["fieldConfig"]["defaults"]
    value = source.now(panel)
    shown = mapped(defaults["mappings"], value) or (
        readable(value, defaults["unit"]), color_of_threshold(defaults["thresholds"]["steps"], value))
    axes.text(0.5, 0.42, shown[0], color=shown[1], fontsize=27, ha="center", va="center", weight="bold",
              transform=axes.transAxes)
    axes.axis("off")


def color_of(panel, name, number):
    for override in panel["fieldConfig"]["overrides"]:
        if override["matcher"]["options"] == name:
            return COLORS[override["properties"][0]["value"]["fixedColor"]]
    return CLASSIC[number % len(CLASSIC)]


def draw_series(axes, panel, source):
    defaults = panel["fieldConfig"]["defaults"]
    custom, unit = defaults["custom"], defaults["unit"]
    found = source.series(panel)
    if custom["stacking"]["mode"] == "normal":
        found = [one for one in found if any(value > 0 for value in one[2])]
    colors = [color_of(panel, name, number) for number, (name, _, _) in enumerate(found)]
    if found and custom["stacking"]["mode"] == "normal":
        layers = [[0 if math.isnan(value) else value for value in values] for _, _, values in found]
        axes.stackplot(when(source, found[0][1]), layers, colors=colors, alpha=0.75, linewidth=0,
                       labels=[name for name, _, _ in found])
    else:
        for (name, times, values), color in zip(found, colors, strict=True):
            axes.plot(when(source, times), values, color=color, linewidth=1.3, label=name)
            if custom["fillOpacity"] > 0:
                axes.fill_between(when(source, times), values, color=color, alpha=custom["fillOpacity"] / 100,
                                  linewidth=0)  # fmt: skip
    if custom["scaleDistribution"]["type"] == "log":
        axes.set_yscale("log")
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.set_ylim(bottom=0, top=None if axes.dataLim.y1 > 0 else 1)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: readable(value, unit, axis=True)))
    axes.set_axisbelow(True)
    axes.grid(axis="y", color=GRID, linewidth=0.6)
    draw_legend(axes)


def draw_legend(axes):
    handles, names = axes.get_legend_handles_labels()
    if names:
        long = sum(len(name) + 4 for name in names) > 80
        axes.legend(handles, names, loc="upper left", bbox_to_anchor=(-0.01, -0.11), ncol=3 if long else 6, fontsize=8.5,
                    frameon=False, labelcolor=TEXT, handlelength=1.1, handleheight=0.5, columnspacing=1.4,
                    handletextpad=0.5, borderaxespad=0.2)  # fmt: skip


def draw_states(axes, panel, source):
    found = source.series(panel)
    mappings = panel["fieldConfig"]["defaults"]["mappings"]
    for row, (_, times, values) in enumerate(reversed(found)):
        at = when(source, times)
        start = 0
        for end in range(1, len(values) + 1):
            if end < len(values) and (values[end] == values[start] or math.isnan(values[end])):
                continue
            text, color = mapped(mappings, values[start]) or ("", PANEL)
            width = at[min(end, len(at) - 1)] - at[start]
            axes.add_patch(Rectangle((at[start], row - 0.38), width, 0.76, color=color, alpha=0.8, linewidth=0))
            if width > (at[-1] - at[0]) * 0.03:
                axes.text(at[start] + (at[-1] - at[0]) * 0.006, row, text, color="#0B0C0E", fontsize=8.5, va="center")
            start = end
    axes.set_ylim(-0.6, len(found) - 0.4)
    axes.set_yticks(range(len(found)), [name for name, _, _ in reversed(found)])


DRAW = {"stat": draw_stat, "timeseries": draw_series, "state-timeline": draw_states}


def draw_time(axes, source, narrow):
    length = source.end - source.begin - 1
    axes.set_xlim(*when(source, (0, length)))
    # Whole half minutes, none so near to an end that its words would stick out.
    step, edge = (60, length / 7) if narrow else (30, length / 14)
    first = -(-source.begin // step) * step - source.begin
    axes.set_xticks(when(source, [at for at in (first + number * step for number in range(1000))
                                  if edge <= at <= length - edge]))
    axes.xaxis.set_major_formatter(mdates.DateFormatter("%H:%M:%S"))
    axes.tick_params(colors=DIM, labelsize=8.5, length=0)
    for side in axes.spines.values():
        side.set_visible(False)


def place(panel, rows):
    """Its rectangle, in shares of the page: the grid has 24 columns."""
    grid, gap = panel["gridPos"], 0.0035
    return [grid["x"] / 24 + gap, 1 - (grid["y"] + grid["h"]) / rows + gap,
            grid["w"] / 24 - 2 * gap, grid["h"] / rows - 2 * gap]  # fmt: skip


def draw_panel(figure, panel, source, rows, head):
    x, y, w, h = place(panel, rows)
    y, h = y * (1 - head), h * (1 - head)
    figure.add_artist(FancyBboxPatch((x, y), w, h, boxstyle="round,pad=0,rounding_size=0.002",
                                     facecolor=PANEL, edgecolor=EDGE, linewidth=0.8, zorder=-1))
    title = 0.021
    figure.text(x + 0.007, y + h - 0.0075, panel["title"], color=TEXT, fontsize=10.5, va="top", weight="medium")
    if panel["type"] == "stat":
        axes = figure.add_axes([x, y, w, h - title / 2])
    else:
        left = 0.125 if panel["type"] == "state-timeline" else 0.042
        below = 0.042 if panel["type"] == "timeseries" else 0.02
        axes = figure.add_axes([x + left, y + below, w - left - 0.008, h - below - title - 0.006])
    axes.set_facecolor("none")
    DRAW[panel["type"]](axes, panel, source)
    if panel["type"] != "stat":
        draw_time(axes, source, w < 0.4)


def draw(source, picture):
    board = dashboard()
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"])
    head = 0.03
    plt.rcParams["font.family"] = ["DejaVu Sans"]
    figure = plt.figure(figsize=(13, 14.2), facecolor=PAGE)
    figure.text(0.006, 1 - head * 0.52, board["title"], color=TEXT, fontsize=15, va="center", weight="bold")
    figure.text(0.118, 1 - head * 0.55, board["description"], color=DIM, fontsize=11, va="center")
    for panel in board["panels"]:
        draw_panel(figure, panel, source, rows, head)
    figure.savefig(picture, dpi=110, facecolor=PAGE)
    shrink(picture)


def shrink(picture):
    """Our own colours and their way to the background's are all there are. A palette that is counted
    out would give the few purple points away."""
    from PIL import Image

    panel = matplotlib.colors.to_rgb(PANEL)
    flat = [PAGE, EDGE, GRID]
    ways = [*dict.fromkeys([*COLORS.values(), *CLASSIC, DIM])][:21]
    levels = [(number + 1) / 12 for number in range(12)]
    mixed = [[level * part + (1 - level) * ground for part, ground in
              zip(matplotlib.colors.to_rgb(color), panel, strict=True)] for color in ways for level in levels]
    palette = [panel, *map(matplotlib.colors.to_rgb, flat), *mixed][:256]
    table = Image.new("P", (1, 1))
    table.putpalette([round(255 * part) for color in palette for part in color])
    with Image.open(picture) as image:
        small = image.convert("RGB").quantize(palette=table, dither=Image.Dither.NONE)
    small.save(picture, optimize=True)


def main():
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    picture = Path(sys.argv[1]) if len(sys.argv) > 1 else DASHBOARD.parent / "dashboard.png"
    with World() as world:
        stage = Stage(world)
        begin, end = play(stage)
        source = Source(stage.prometheus, begin + 3, end)
        draw(source, picture)
        if os.environ.get("DASHBOARD_DATA"):
            dump(source, os.environ["DASHBOARD_DATA"])
    print(f"{picture}: {picture.stat().st_size / 1000:.0f} kB")


def dump(source, path):
    """What was drawn, to draw it again while one changes how."""
    panels = dashboard()["panels"]
    Path(path).write_text(json.dumps({
        "length": source.end - source.begin, "begin": source.begin,
        "now": {panel["id"]: source.now(panel) for panel in panels if panel["type"] == "stat"},
        "series": {panel["id"]: [(name, list(times), values) for name, times, values in source.series(panel)]
                   for panel in panels if panel["type"] != "stat"},
    }))  # fmt: skip


if __name__ == "__main__":
    main()
