"""The figures, as a table and as a picture."""

import dataclasses
import os
import pathlib
import platform
import subprocess

TITLE = "# What rcpt-milter costs"


@dataclasses.dataclass
class Row:
    group: str
    what: str
    figure: object
    at_least: float = None
    at_most: float = None

    @property
    def reached(self):
        """None where nothing was asked for."""
        if self.at_least is not None:
            return self.figure.median >= self.at_least
        if self.at_most is not None:
            return self.figure.median <= self.at_most
        return None

    @property
    def goal(self):
        if self.at_least is not None:
            return f"at least {self.at_least:g}"
        return "" if self.at_most is None else f"at most {self.at_most:g}"

    @property
    def judged(self):
        return {None: "", True: "yes", False: "NO"}[self.reached]


class Book:
    def __init__(self):
        self.rows, self.points, self.printed, self.seconds = [], {}, 0, 0

    def row(self, group, what, figure, at_least=None, at_most=None):
        self.rows.append(Row(group, what, figure, at_least, at_most))

    def point(self, name, connections, per_second, p99_us):
        self.points.setdefault(name, []).append((connections, per_second, p99_us))

    def print_new(self, out):
        for row in self.rows[self.printed:]:
            print(f"    {row.group}: {row.what}: {row.figure}  {row.goal}  {row.judged}", file=out)
        self.printed = len(self.rows)


def shape():
    """The machine, without its name."""
    model = next((line.partition(":")[2].strip() for line in
                  pathlib.Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), "unknown processor")
    memory = int(pathlib.Path("/proc/meminfo").read_text().split()[1]) // (1 << 20)
    return f"{os.cpu_count()} cores ({model}), {memory} GB, Linux {platform.release().split('-')[0]}"


def versions():
    def first_line(*argv):
        done = subprocess.run(argv, capture_output=True, text=True)
        return (done.stdout or done.stderr).strip().splitlines()[0]
    return ", ".join([f"Postfix {first_line('postconf', '-d', '-h', 'mail_version')}",
                      first_line("mariadbd", "--version").partition("  ")[2].split(" for ")[0],
                      first_line("memcached", "-V")])


def write(book, directory):
    lines = [
        TITLE, "",
        f"Written by `make bench` in {book.seconds / 60:.1f} minutes on {shape()}; {versions()}.", "",
        "Each figure is the median of pairs that ran in turn, with the least and the greatest. "
        "*The floor* is a libmilter filter that asks for the same macros and lets everybody pass "
        "(floor.c); the *naive* milter has one connection, one mutex and no cache (naive.c). "
        "Driver (load.c), filter and servers share the cores.", "",
        "| what | figure | goal | reached |", "|---|---|---|---|",
    ]
    lines += [f"| {row.group}: {row.what} | {row.figure} | {row.goal} | {row.judged} |"
              for row in book.rows]
    if book.points:
        lines += ["", "![throughput and p99 against connections](throughput.svg)"]
        plot(book.points, directory / "throughput.svg")
    notes = directory / "NOTES.md"
    if notes.exists():
        lines += ["", notes.read_text().strip()]
    (directory / "RESULTS.md").write_text("\n".join(lines) + "\n")


def plot(points, path):
    import matplotlib
    matplotlib.use("svg")
    from matplotlib import pyplot
    matplotlib.rcParams["svg.hashsalt"] = "rcpt-milter"
    figure, (top, bottom) = pyplot.subplots(2, 1, sharex=True, figsize=(7, 6.5))
    for name, series in points.items():
        connections, per_second, p99_us = zip(*series)
        top.plot(connections, [value / 1000 for value in per_second], marker="o", label=name)
        bottom.plot(connections, [value / 1000 for value in p99_us], marker="o", label=name)
    top.set_ylabel("thousand RCPT per second")
    top.set_ylim(bottom=0)
    top.legend(frameon=False)
    bottom.set_ylabel("p99, ms")
    bottom.set_yscale("log")
    bottom.set_xscale("log")
    ticks = sorted({point[0] for series in points.values() for point in series})
    bottom.set_xticks(ticks, [str(tick) for tick in ticks])
    bottom.minorticks_off()
    bottom.set_xlabel("connections")
    for axes in (top, bottom):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
