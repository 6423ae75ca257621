import asyncio
import math
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.clock import Clock, new_event_loop
from tests.tolerance import assert_close


class FakeHost:
    """A host's monotonic clock that only sleeping moves, each time a little further than was asked for."""

    def __init__(self, now: float = 0.0, overshoot: float = 0.0) -> None:
        self.now = now
        self.overshoot = overshoot
        self.slept: list[float] = []

    def time(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds + self.overshoot


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHost]:
    fake = FakeHost(now=1000.0)
    with monkeypatch.context() as patched:
        patched.setattr(asyncio, "sleep", fake.sleep)
        yield fake


def test_emulated_time_begins_with_the_clock() -> None:
    host = FakeHost(now=500.0)
    clock = Clock(host=host.time)
    assert clock.now() == 0
    host.now = 502.5
    assert clock.now() == 2.5


def test_a_scale_makes_emulated_time_pass_as_much_slower() -> None:
    host = FakeHost(now=100.0)
    clock = Clock(scale=4.0, epoch=100.0, host=host.time)
    host.now = 110.0
    assert clock.now() == 2.5
    assert clock.host_time(2.5) == 110.0


def test_clocks_of_one_epoch_agree_whenever_they_were_made() -> None:
    host = FakeHost(now=100.0)
    first = Clock(scale=2.0, host=host.time)
    host.now = 107.0
    assert Clock(scale=2.0, epoch=first.epoch, host=host.time).now() == first.now() == 3.5


def test_the_host_may_be_before_the_epoch() -> None:
    assert Clock(epoch=100.0, host=FakeHost(now=99.0).time).now() == -1.0


@given(st.floats(1e-3, 1e3), st.floats(0, 1e6), st.floats(0, 1e6))
def test_host_time_is_the_inverse_of_now(scale: float, epoch: float, emulated: float) -> None:
    host = FakeHost()
    clock = Clock(scale, epoch, host.time)
    host.now = clock.host_time(emulated)
    assert_close(clock.now() * scale, emulated * scale, absolute=1e-6, what="host seconds since the epoch")


def test_sleeping_ends_at_the_deadline(host: FakeHost) -> None:
    clock = Clock(scale=2.0, host=host.time)
    asyncio.run(clock.sleep_until(3.0))
    assert host.slept == [6.0]
    assert clock.now() == 3.0


@pytest.mark.parametrize("deadline", [-1.0, 0.0])
def test_a_deadline_that_is_past_is_not_waited_for(host: FakeHost, deadline: float) -> None:
    asyncio.run(Clock(host=host.time).sleep_until(deadline))
    assert host.slept == []


def test_the_errors_of_timers_do_not_add_up(host: FakeHost) -> None:
    host.overshoot = 0.003
    clock = Clock(scale=2.0, host=host.time)

    async def pace() -> None:
        for step in range(1, 101):
            await clock.sleep_until(step * 0.05)

    asyncio.run(pace())
    assert_close(clock.now(), 5.0, absolute=0.003, what="emulated time after 100 steps")


def test_the_default_host_is_the_monotonic_clock() -> None:
    before = time.monotonic()
    clock = Clock()
    assert before <= clock.epoch <= time.monotonic()
    assert 0 <= clock.now() < math.inf


def test_a_real_sleep_does_not_end_early() -> None:
    clock = Clock(scale=2.0)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(clock.sleep_until(0.005))
    assert clock.now() >= 0.005
