"""Faults x roles x warmth: what is answered, how soon, and whether it is right again after the
repair. The faults are in faults.py, the recipients in node_world.py."""

import pytest

from faults import FAULTS
from matrix import BACK_S, CELLS
from node_world import COLD, ROLES, UNKNOWN

EVERY_FAULT = pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace(" ", "-"))


@pytest.fixture
def run(runs, fault):
    if fault.name not in runs:
        pytest.skip("this machine does not let us do that")
    return runs[fault.name].result()


@EVERY_FAULT
@pytest.mark.parametrize("role, who", CELLS, ids=["-".join(cell).replace(" ", "-") for cell in CELLS])
def test_while_it_lasts(fault, role, who, run):
    answers = run.cells[role, who]
    assert answers
    bounces = [answer for answer in answers if answer.words.startswith("5")]
    without_evidence = {COLD, UNKNOWN} | fault.breaks | fault.may_break
    if role == "primary" or fault.held and who != UNKNOWN or who not in without_evidence:
        assert not bounces, [*map(str, bounces)]
    late = [answer for answer in answers if answer.seconds > run.late_s()]
    assert not late, [*map(str, late)]
    wrong = [answer for answer in answers if answer.words not in answer.right]
    assert not wrong, [*map(str, wrong)]


@EVERY_FAULT
@pytest.mark.parametrize("role", ROLES)
def test_everything_is_right_soon_after_the_repair(fault, role, run):
    assert not run.wrong_after[role], f"still so after {BACK_S} s"


@EVERY_FAULT
def test_every_server_of_ours_survives_it_and_stops_cleanly(fault, run):
    assert not run.stopped
