"""What the dashboard and the alerts ask Prometheus."""

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DASHBOARD = ROOT / "packaging/grafana/rcpt-milter.json"
RULES = ROOT / "packaging/prometheus/rcpt-milter.rules.yml"


def dashboard():
    return json.loads(DASHBOARD.read_text(encoding="utf-8"))


def dashboard_expressions():
    board = dashboard()
    panels = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    variables = [variable["definition"] for variable in board["templating"]["list"] if "definition" in variable]
    return panels + variables + [note["expr"] for note in board["annotations"]["list"]]


def rule_expressions():
    """The expr of each alert: on its own line, or folded below it, further in."""
    expressions, folded = [], None
    for line in RULES.read_text(encoding="utf-8").splitlines():
        text, depth = line.strip(), len(line) - len(line.lstrip())
        if text.startswith("expr:"):
            rest = text.removeprefix("expr:").strip()
            expressions.append("" if rest == ">-" else rest)
            folded = depth if rest == ">-" else None
        elif folded is not None and depth > folded:
            expressions[-1] += " " + text
        else:
            folded = None
    return expressions
