"""`make check-faults`. Each fault has a world of its own; a few worlds live side by side, since
mostly they wait. The cases of a fault wait for its world to be done."""

import concurrent.futures
import os
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e")]

import matrix  # noqa: E402
from faults import FAULTS  # noqa: E402
from harness import build_directory  # noqa: E402
from node_world import Template, is_possible  # noqa: E402

WORLDS_AT_A_TIME = int(os.environ.get("FAULTS_WORLDS", "4"))
ROUNDS = 8 if os.environ.get("FAULTS_LONG") else 3


def pytest_sessionstart(session):
    for program in ("rcpt-milter", "rcptctl"):
        if not (build_directory() / program).exists():
            pytest.exit(f"{build_directory() / program} is not built", returncode=2)


@pytest.fixture(scope="session")
def template():
    template = Template()
    yield template
    template.remove()


@pytest.fixture(scope="session")
def runs(request, template):
    """fault's name -> the future of its Run, of those faults this session has cases for."""
    parameters = (getattr(item, "callspec", Nothing).params for item in request.session.items)
    wanted = {those["fault"].name: those["fault"] for those in parameters if "fault" in those}
    possible = {name: fault for name, fault in wanted.items() if fault_is_possible(fault)}
    with concurrent.futures.ThreadPoolExecutor(WORLDS_AT_A_TIME) as pool:
        futures = {name: pool.submit(matrix.conduct, fault, template, ROUNDS)
                   for name, fault in possible.items()}  # fmt: skip
        try:
            yield futures
        finally:
            for future in futures.values():
                future.cancel()
    report(request.config, futures, [fault.name for fault in FAULTS])


def fault_is_possible(fault):
    return all(is_possible(need) for need in fault.needs.values() if isinstance(need, str))


class Nothing:
    params = ()


def report(config, futures, names):
    ended = {name: futures[name] for name in names if name in futures}
    done = {name: future.result() for name, future in ended.items()
            if not future.cancelled() and not future.exception()}  # fmt: skip
    config.fault_table = matrix.table(done)
    if len(done) == len(names) and not os.environ.get("FAULTS_LONG"):
        matrix.write(done)


def pytest_terminal_summary(terminalreporter, config):
    if getattr(config, "fault_table", None):
        terminalreporter.write("\n" + config.fault_table)
