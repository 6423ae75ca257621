import time

import pytest

from emulator import probe


def test_an_interruption_adds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([0.0, 0.007, 0.0075, 0.009, 0.0094, 0.1])
    monkeypatch.setattr(time, "thread_time", lambda: next(moments))
    assert probe.probe() == pytest.approx(0.0004)
    assert next(moments, None) is None


def test_it_takes_time_but_little() -> None:
    before = time.thread_time()
    quickest = probe.probe()
    assert 0 < quickest * probe.PIECES <= time.thread_time() - before
