"""The dashboard and the alert rules by themselves. That they name only metrics there are is in
tests/e2e/test_metrics.py, which asks a daemon."""

import re
import shutil
import subprocess
import sys

import pytest
from sources import ROOT

sys.path.insert(0, str(ROOT / "tests"))

from observation import DASHBOARD, RULES, dashboard, dashboard_expressions, rule_expressions  # noqa: E402

RULES_TEST = ROOT / "tests/prometheus/rules.test.yml"


def promtool(*arguments):
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def alerts(text):
    """name -> all of its lines."""
    parts = re.split(r"^\s*- alert: (\w+)$", text, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_promtool_finds_no_fault_with_the_rules():
    status, said = promtool("check", "rules", RULES)
    assert status == 0 and "FAILED" not in said, said


def test_alerts_fire_when_they_should_and_only_then():
    status, said = promtool("test", "rules", RULES_TEST)
    assert status == 0, said


def copy_with(tmp_path, text):
    """The rules and their test, side by side as here; returns what promtool says of them."""
    for path, content in [(RULES, text), (RULES_TEST, RULES_TEST.read_text())]:
        target = tmp_path / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
    return promtool("test", "rules", tmp_path / RULES_TEST.relative_to(ROOT))


@pytest.mark.parametrize("name", alerts(RULES.read_text()))
def test_an_alert_that_never_fires_is_noticed(tmp_path, name):
    text = RULES.read_text()
    crippled = re.sub(rf"(- alert: {name}\n\s+expr: )(?:>-\n(?:\s+.*\n)+?(?=\s+(?:for|labels):)|.*\n)",
                      r"\1vector(0) > 1" + "\n", text)
    assert crippled != text
    assert copy_with(tmp_path, crippled)[0] != 0


def test_each_alert_says_what_to_do():
    found = alerts(RULES.read_text())
    assert len(found) >= 12
    for name, text in found.items():
        assert re.search(r"severity: (page|ticket)\b", text), name
        assert "summary:" in text and "description:" in text, name


def test_what_the_alerts_tell_to_run_exists():
    rows = set(re.findall(r'^\s*\{"([a-z]+)",', (ROOT / "milter/command.c").read_text(), re.M))
    named = set(re.findall(r"`rcptctl ([a-z]+)", RULES.read_text()))
    assert named and named <= rows


# ---- the dashboard ----

def test_the_dashboard_is_one_that_can_be_imported():
    board = dashboard()
    assert board["title"] and board["uid"] and board["schemaVersion"] >= 36
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids)) > 10
    for panel in board["panels"]:
        assert panel["type"] in ("stat", "timeseries", "state-timeline"), panel["title"]
        assert panel["title"] and panel["description"] and panel["targets"]
        assert panel["datasource"]["uid"] == "${datasource}"


def test_its_first_row_is_who_waits_and_who_bounced():
    first = [panel for panel in dashboard()["panels"] if panel["gridPos"]["y"] == 0]
    asked = " ".join(target["expr"] for panel in first for target in panel["targets"])
    for name in ("waiting_recipients", "oldest_waiting_seconds", "bounces_total", "false_bounces_total"):
        assert name in asked


def test_no_two_panels_overlap_and_none_sticks_out():
    taken = {}
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]


def test_prometheus_understands_every_expression(tmp_path):
    """promtool has no parser for a single one: they become rules."""
    expressions = [expression for expression in dashboard_expressions() + rule_expressions()
                   if not expression.startswith("label_values(")]
    rules = "groups:\n- name: x\n  rules:\n"
    for number, expression in enumerate(expressions):
        expression = re.sub(r"\$__(rate_interval|range)", "5m", expression).replace("'", "''")
        rules += f"  - record: x{number}\n    expr: '{expression}'\n"
    (tmp_path / "rules.yml").write_text(rules)
    status, said = promtool("check", "rules", tmp_path / "rules.yml")
    assert status == 0, said
    assert f"{len(expressions)} rules found" in said


def test_its_picture_is_small_enough_for_a_readme():
    picture = DASHBOARD.parent / "dashboard.png"
    assert picture.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert picture.stat().st_size < 200_000


def test_promtool_is_here():
    assert shutil.which("promtool")
