import time

import pytest

from emulator import reference

SPIN = 0.002
"""CPU seconds of a step."""


def spin() -> None:
    until = time.thread_time() + SPIN
    while time.thread_time() < until:
        pass


def test_a_hosts_speed_is_that_of_its_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "training_step", lambda: (spin, 1e6))
    monkeypatch.setattr(reference, "waking", lambda: None)
    found = reference.measure()
    assert 0 < found.core_flops <= 1e6 / SPIN
    assert found.waking is None
