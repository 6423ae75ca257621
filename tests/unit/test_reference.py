import os
import time

import psutil
import pytest

from emulator import reference
from emulator.reference import Step, _Child, _let_compute, _mean_cpu, _Phase

SPIN = 0.002
"""CPU seconds of a step."""


def spin() -> None:
    until = time.thread_time() + SPIN
    while time.thread_time() < until:
        pass


LINUX = pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="this system has no idle policy")


@LINUX
@pytest.mark.alone
def test_it_computes_only_while_it_is_left_the_core() -> None:
    usual = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(usual)})
    try:
        child = _Child(spin)
        phases = [_let_compute(0.2, 1), _let_compute(reference.TURN, 100)]
        done = child.end()
    finally:
        os.sched_setaffinity(0, usual)
    for phase, left in zip(phases, (0.2, 100 * phases[1].turn), strict=True):
        took = sum(step.cpu for step in done if phase.began <= step.began and step.ended <= phase.ended)
        assert 0 < took <= left * 1.1, (took, left)
    assert phases[1].turn >= reference.TURN


@LINUX
@pytest.mark.alone
def test_whoever_measures_may_use_all_cores_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "COMPARISONS", 1)
    before = os.sched_getaffinity(0)
    assert 0 <= reference._interruption(spin, 0.05) < reference.TURN
    assert os.sched_getaffinity(0) == before


def test_only_whole_steps_count_and_each_phase_the_same() -> None:
    steps = [Step(0.0, 1.0, 4.0), Step(1.0, 2.0, 2.0), Step(2.5, 3.5, 9.0), Step(5.0, 6.0, 8.0)]
    assert _mean_cpu(steps, [_Phase(0.0, 3.0, 0.1), _Phase(4.0, 7.0, 0.1), _Phase(8.0, 9.0, 0.1)]) == 5.5


def test_where_no_process_can_be_interrupted_the_speed_is_measured_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reference, "training_step", lambda: (spin, 1e6))
    monkeypatch.delattr(os, "fork")
    monkeypatch.setattr(reference, "waking", lambda: None)
    found = reference.measure()
    assert found.core_flops <= 1e6 / SPIN
    assert found.interruption is None


@LINUX
def test_a_process_that_may_not_make_way_is_an_error_and_none_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError

    before = set(psutil.Process().children())
    monkeypatch.setattr(os, "sched_setscheduler", refused)
    with pytest.raises(OSError, match="make way"):
        _Child(spin)
    assert set(psutil.Process().children()) == before
