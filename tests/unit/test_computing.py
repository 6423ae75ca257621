"""A device whose speed changes while a result is held back, and one that the kernel throttles."""

import asyncio
import time
from collections.abc import Iterator

import pytest

from emulator.bus import computing
from emulator.bus.computing import Computed, Device
from emulator.cgroup import Throttling
from emulator.clock import Clock
from tests.tolerance import assert_close

CPU = 0.02


def burn() -> None:
    end = time.thread_time() + CPU
    while time.thread_time() < end:
        pass


async def changed_while_held(slowdown: float, change: float) -> tuple[Computed[None], float]:
    """A stage of a device that becomes another when its result has been there for a while; also when that was."""
    clock = Clock()
    device = Device(slowdown, clock)
    stage = asyncio.create_task(device.compute(burn, 0.0))
    await asyncio.sleep(5 * CPU)
    at = clock.now()
    device.update(change, at)
    done = await stage
    device.close()
    return done, at


@pytest.mark.parametrize("change", [1.0, 60.0])
def test_what_is_held_back_is_timed_anew(change: float) -> None:
    slowdown = 40.0
    done, at = asyncio.run(changed_while_held(slowdown, change))
    expected = at + change * (done.cpu - at / slowdown)
    assert_close(done.due, expected, absolute=0.001, what="when the new device is done")
    assert done.end >= done.due
    assert 0 < done.probe < CPU


def test_a_change_that_finishes_a_stage_at_once_does_not_turn_back_time() -> None:
    done, at = asyncio.run(changed_while_held(40.0, 1e-6))
    assert_close(done.due, at, absolute=0.001, what="when the new device is done")


@pytest.fixture
def throttlings(monkeypatch: pytest.MonkeyPatch) -> list[Throttling]:
    counts: list[Throttling] = []

    def read() -> Iterator[Throttling]:
        yield from counts

    reading = read()
    monkeypatch.setattr(computing.cgroup, "throttling", lambda: next(reading, None))
    return counts


async def throttled_stage(slowdown: float) -> Computed[None]:
    device = Device(slowdown, Clock(), throttled=True)
    done = await device.compute(burn, 0.0)
    device.close()
    return done


def test_a_stage_that_no_quota_has_slowed_down_is_held_back(throttlings: list[Throttling]) -> None:
    throttlings += [Throttling(9, 3, 0.1), Throttling(12, 3, 0.1)]
    done = asyncio.run(throttled_stage(40.0))
    assert (done.mode, done.throttled) == ("stretched", 0)
    assert done.end >= done.due >= 40 * CPU


def test_a_stage_that_took_its_time_is_the_quotas(throttlings: list[Throttling]) -> None:
    throttlings += [Throttling(9, 3, 0.1), Throttling(12, 5, 0.1)]
    done = asyncio.run(throttled_stage(1.001))
    assert (done.mode, done.throttled) == ("quota", 2)


def test_throttling_that_cannot_be_read_is_not_made_up(throttlings: list[Throttling]) -> None:
    done = asyncio.run(throttled_stage(40.0))
    assert (done.mode, done.throttled) == ("stretched", None)
