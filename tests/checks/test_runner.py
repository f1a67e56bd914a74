"""tests/run must see what went wrong: a runner that counts too kindly is worse than none."""

import importlib.machinery
import importlib.util
import os
import select
import subprocess
import sys

import pytest
from sources import ROOT, plant


@pytest.fixture(name="runner", scope="module")
def load_runner():
    loader = importlib.machinery.SourceFileLoader("runner", str(ROOT / "tests/run"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("runner", loader))
    sys.modules["runner"] = module
    loader.exec_module(module)
    return module


def counts(tally):
    return tally.passed, tally.failed, tally.skipped


@pytest.mark.parametrize("claim, text, status, expected", [
    ("all well", "1..2\nok 1 - a\nok 2 - b\n", 0, (2, 0, 0)),
    ("two groups", "1..1\nok 1 - a\n1..1\nok 1 - b\n", 0, (2, 0, 0)),
    ("a failure", "1..2\nok 1 - a\nnot ok 2 - b\n# x\n# not ok - group\n", 1, (1, 1, 0)),
    ("a skip as cmocka 1.1 writes it", "1..1\nnot ok 1 # SKIP a\n", 0, (0, 0, 1)),
    ("a skip as TAP wants it", "1..1\nok 1 # SKIP a\n", 0, (0, 0, 1)),
    ("died in the second of three", "1..3\nok 1 - a\n", -6, (1, 2, 0)),
    ("died before the plan", "", -11, (0, 1, 0)),
    ("no tests", "1..0\n", 0, (0, 1, 0)),
    ("no output", "", 0, (0, 1, 0)),
    ("every test well, and a leak at the end", "1..1\nok 1 - a\n", 23, (1, 1, 0)),
])
def test_tap_counts(runner, claim, text, status, expected):
    assert counts(runner.tally_of_tap(text, status)) == expected, claim


@pytest.mark.parametrize("claim, body, expected", [
    ("passes", "", (2, 0, 0)),
    ("fails", "assert_true(0);", (1, 1, 0)),
    ("skips", "skip();", (1, 0, 1)),
    ("dies of a signal", "raise(SIGSEGV);", (1, 1, 0)),
    ("aborts", "abort();", (1, 1, 0)),
    ("leaves early", "_exit(0);", (1, 1, 0)),
])
def test_a_real_cmocka_program_that(runner, tmp_path, claim, body, expected):
    source = plant(tmp_path, "test_it.c", f"""
        #include <stdarg.h>
        #include <stddef.h>
        #include <setjmp.h>
        #include <stdint.h>
        #include <signal.h>
        #include <stdlib.h>
        #include <unistd.h>
        #include <cmocka.h>
        static void first(void **state) {{ (void)state; }}
        static void second(void **state) {{ (void)state; {body} }}
        int main(void)
        {{
            const struct CMUnitTest tests[] = {{cmocka_unit_test(first), cmocka_unit_test(second)}};
            return cmocka_run_group_tests_name("it", tests, NULL, NULL);
        }}""")
    subprocess.run(["cc", source, "-o", tmp_path / "it", "-lcmocka"], check=True)
    status = runner.run([tmp_path / "it"], tmp_path / "tap", 20, {"CMOCKA_MESSAGE_OUTPUT": "TAP"})
    tally = runner.tally_of_tap((tmp_path / "tap").read_text(), status)
    assert counts(tally) == expected, claim


def ends_within(seconds, pid):
    """A pidfd is readable once its process is dead, reaped or not."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    with os.fdopen(fd):
        return bool(select.select([fd], [], [], seconds)[0])


def test_a_program_that_hangs_is_stopped_with_its_children_and_counts_as_failed(runner, tmp_path):
    script = plant(tmp_path, "hang", "#!/bin/sh\necho 1..1\ntail -f /dev/null &\n"
                   f"echo $! > {tmp_path}/pid\nwait\n")
    script.chmod(0o755)
    status = runner.run([script], tmp_path / "tap", 1)
    assert status == 124
    assert counts(runner.tally_of_tap((tmp_path / "tap").read_text(), status)) == (0, 1, 0)
    assert ends_within(5, int((tmp_path / "pid").read_text()))


@pytest.mark.parametrize("claim, text, expected", [
    ("passes", "def test_a(): pass", (1, 0, 0)),
    ("fails", "def test_a(): pass\ndef test_b(): assert False", (1, 1, 0)),
    ("skips", "import pytest\ndef test_a(): pytest.skip('no')", (0, 0, 1)),
    ("breaks in a fixture", "import pytest\n@pytest.fixture\ndef f(): raise OSError\n"
     "def test_a(f): pass", (0, 1, 0)),
    ("cannot be read", "def test_a(:", (0, 1, 0)),
    ("holds no test", "", (0, 1, 0)),
    ("dies", "import os\ndef test_a(): os._exit(0)", (0, 1, 0)),
])
def test_a_real_pytest_file_that(runner, tmp_path, claim, text, expected):
    plant(tmp_path, "test_it.py", text)
    junit = tmp_path / "junit.xml"
    status = runner.run(["/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider",
                         f"--junit-xml={junit}", tmp_path / "test_it.py"], tmp_path / "log", 60)
    assert counts(runner.tally_of_junit(junit, status)) == expected, claim


@pytest.fixture(name="project")
def make_project(runner, tmp_path, monkeypatch):
    """A project of one unit test, for UnitStep."""
    monkeypatch.setattr(runner, "ROOT", tmp_path)
    monkeypatch.setattr(runner, "LOGS", tmp_path)
    plant(tmp_path, "tests/unit/test_it.c", '#include "helper.h"\n')
    return tmp_path


def run_units(runner):
    report = runner.Report()
    runner.UnitStep("build/plain", {}).do(report)
    return counts(report.sum)


def plant_program(path, name, text):
    plant(path, name, "#!/bin/sh\n" + text).chmod(0o755)


def test_a_unit_test_that_was_not_built_counts_as_failed(runner, project, capsys):
    assert run_units(runner) == (0, 1, 0)
    assert "it was not built" in capsys.readouterr().out


def test_no_unit_tests_at_all_count_as_a_failure(runner, project):
    (project / "tests/unit/test_it.c").unlink()
    assert run_units(runner) == (0, 1, 0)


def test_a_unit_test_gets_the_server_it_reads_of(runner, project):
    plant(project, "tests/unit/helper.h", 'getenv("MYSQL_TEST_SOCKET")')
    plant_program(project, "tests/with-mariadb", 'SERVER=here exec "$@"')
    plant_program(project, "build/plain/tests/unit/test_it",
                  'echo 1..1; [ "$SERVER" = here ] && echo "ok 1 - it"')
    assert run_units(runner) == (1, 0, 0)


def test_a_failing_unit_test_is_shown(runner, project, capsys):
    plant_program(project, "build/plain/tests/unit/test_it", 'echo 1..1; echo "not ok 1 - it"')
    assert run_units(runner) == (0, 1, 0)
    assert "not ok 1 - it" in capsys.readouterr().out
