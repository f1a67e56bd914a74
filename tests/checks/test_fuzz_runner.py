"""tests/fuzz/run must see what went wrong, and every target must have inputs to begin with."""

import importlib.machinery
import importlib.util

import pytest
from sources import ROOT, plant


@pytest.fixture(name="runner")
def load_runner(tmp_path, monkeypatch):
    """With a project of one target, fuzz_it, that has one input and was not built."""
    loader = importlib.machinery.SourceFileLoader("fuzz_runner", str(ROOT / "tests/fuzz/run"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("fuzz_runner", loader))
    loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "BUILD", tmp_path / "build")
    monkeypatch.setattr(module, "borrowed", dict)
    plant(tmp_path, "tests/fuzz/fuzz_it.c", "")
    plant(tmp_path, "tests/fuzz/corpus/it/one", "an input")
    return module


def plant_target(root, text):
    plant(root, "build/tests/fuzz/fuzz_it", "#!/bin/sh\n" + text).chmod(0o755)


STATS = """echo "stat::number_of_executed_units: 42"
echo "stat::average_exec_per_sec:     7"
echo "stat::new_units_added:          3"
"""


def test_a_target_that_is_well_is_told_in_one_line(runner, tmp_path, capsys):
    plant_target(tmp_path, STATS)
    assert runner.main(1) == 0
    assert capsys.readouterr().out == "1..1\nok 1 - it: 42 runs, 7/s, 3 new inputs, ok\n"


@pytest.mark.parametrize("claim, text, told", [
    ("dies", STATS + "echo gone wrong; exit 77", "FAILED exit status 77\n# "),
    ("dies at once", "kill -SEGV $$", "FAILED exit status -11"),
    ("ran nothing", STATS.replace("42", "0"), "FAILED exit status 0"),
    ("left an input that shows it", STATS + """
        for argument; do case $argument in -artifact_prefix=*) echo x >"${argument#*=}crash-1" ;; esac; done
        exit 77""", "CRASH build/found/it/crash-1"),
])
def test_a_target_is_not_ok_that(runner, tmp_path, capsys, claim, text, told):
    plant_target(tmp_path, text)
    assert runner.main(1) == 1, claim
    assert f"not ok 1 - it: {told}" in capsys.readouterr().out


def test_a_target_that_was_not_built_is_not_ok(runner, capsys):
    assert runner.main(1) == 1
    assert "not ok 1 - it: FAILED it was not built" in capsys.readouterr().out


def test_a_target_without_inputs_is_not_ok(runner, tmp_path, capsys):
    plant_target(tmp_path, STATS)
    (tmp_path / "tests/fuzz/corpus/it/one").unlink()
    assert runner.main(1) == 1
    assert "not ok 1 - it: FAILED it has no inputs" in capsys.readouterr().out


def test_no_targets_at_all_are_not_well(runner, tmp_path):
    (tmp_path / "tests/fuzz/fuzz_it.c").unlink()
    assert runner.main(1) == 1


def test_every_corpus_belongs_to_a_target():
    folders = {path.name for path in (ROOT / "tests/fuzz/corpus").iterdir()}
    assert folders == {path.stem.removeprefix("fuzz_") for path in ROOT.glob("tests/fuzz/fuzz_*.c")}
