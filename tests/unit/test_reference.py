import os
import time

import pytest

from emulator import reference
from emulator.reference import Step, _Child, _mean_cpu, _Phase, _taking_turns

SPIN = 0.002
"""CPU seconds of a step."""


def spin() -> None:
    until = time.thread_time() + SPIN
    while time.thread_time() < until:
        pass


def test_processes_that_take_turns_never_compute_at_once() -> None:
    children = [_Child(spin) for _ in range(3)]
    try:
        phase = _taking_turns(children, 0.3)
    finally:
        done = [child.end() for child in children]
    assert all(done), "each has had turns"
    took = sum(step.cpu for steps in done for step in steps if step.began >= phase.began)
    assert took <= (phase.ended - phase.began) * 1.02, (took, phase)
    assert phase.turn >= 0.001


def test_one_that_is_stopped_does_nothing() -> None:
    child = _Child(spin)
    time.sleep(0.05)
    assert len(child.end()) <= 2


def test_only_whole_steps_count_and_each_phase_the_same() -> None:
    steps = [Step(0.0, 1.0, 4.0), Step(1.0, 2.0, 2.0), Step(2.5, 3.5, 9.0), Step(5.0, 6.0, 8.0)]
    assert _mean_cpu(steps, [_Phase(0.0, 3.0, 0.1), _Phase(4.0, 7.0, 0.1), _Phase(8.0, 9.0, 0.1)]) == 5.5


def test_where_processes_cannot_take_turns_the_speed_is_measured_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "training_step", lambda: (spin, 1e6))
    monkeypatch.delattr(os, "fork")
    found = reference.measure()
    assert found.core_flops <= 1e6 / SPIN
    assert found.interruption is None
