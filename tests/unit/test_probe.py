import math
import time

import pytest

from emulator import probe


def test_an_interruption_adds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of products that take 4 ms but once 9, and of copies that take 1 ms but once 7."""
    taken = [0.0, *(t for n in range(probe.PIECES) for t in (0.009 if n == 0 else 0.004, 0.007 if n == 3 else 0.001))]
    moments = iter([math.fsum(taken[: n + 1]) for n in range(len(taken))])
    monkeypatch.setattr(time, "thread_time", lambda: next(moments))
    assert probe.probe() == pytest.approx(0.002)
    assert next(moments, None) is None


def test_it_takes_time_but_little() -> None:
    before = time.thread_time()
    quickest = probe.probe()
    assert 0 < 2 * quickest * probe.PIECES <= time.thread_time() - before
