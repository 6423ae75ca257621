import asyncio
import itertools
import math
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.clock import Clock, VirtualEventLoop, World, new_event_loop, virtual_clock
from emulator.errors import Deadlock
from tests.tolerance import assert_close

T = TypeVar("T")


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


def virtually(main: Callable[[], Coroutine[Any, Any, T]], world: World | None = None) -> T:
    with asyncio.Runner(loop_factory=VirtualEventLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualEventLoop)
        loop.world = world or loop.world
        return runner.run(main())


def test_virtual_time_jumps_to_the_next_timer() -> None:
    async def main() -> float:
        await asyncio.sleep(1e6)
        return asyncio.get_running_loop().time()

    began = time.monotonic()
    assert virtually(main) == 1e6
    assert time.monotonic() - began < 1000


def test_virtual_time_stands_still_while_anything_can_run() -> None:
    async def main() -> float:
        for _ in range(1000):
            await asyncio.sleep(0)
        return asyncio.get_running_loop().time()

    assert virtually(main) == 0.0


@given(st.lists(st.floats(0, 1e4), min_size=1, max_size=20))
def test_virtual_timers_fire_in_their_order_and_at_their_times(delays: list[float]) -> None:
    async def main() -> list[tuple[float, float]]:
        fired: list[tuple[float, float]] = []
        loop = asyncio.get_running_loop()

        async def wait(delay: float) -> None:
            await asyncio.sleep(delay)
            fired.append((delay, loop.time()))

        await asyncio.gather(*map(wait, delays))
        return fired

    fired = virtually(main)
    assert [delay for delay, _ in fired] == sorted(delays) or len(set(delays)) < len(delays) or _nearly_tied(delays)
    for delay, at in fired:
        assert_close(at, delay, absolute=2e-9, what="when the timer fired")


def _nearly_tied(delays: list[float]) -> bool:
    ordered = sorted(delays)
    return any(after - before <= 2e-9 for before, after in itertools.pairwise(ordered))


def test_a_virtual_deadlock_is_an_error_that_says_who_waits() -> None:
    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    class Told(World):
        def stuck(self) -> str:
            return "client-1 waits for 'downlink' from server"

    with pytest.raises(Deadlock, match="client-1 waits for 'downlink' from server"):
        virtually(main, Told())


def test_virtual_time_jumps_to_what_happens_in_the_world_too() -> None:
    class Bell(World):
        def __init__(self, times: list[float]) -> None:
            self.times = times
            self.heard: list[float] = []

        def next_moment(self, until: float) -> float:
            return self.times[0] if self.times else math.inf

        def pass_moment(self) -> bool:
            self.times.pop(0)
            self.heard.append(asyncio.get_running_loop().time())
            return len(self.heard) % 2 == 0

    async def main() -> float:
        await asyncio.sleep(4.0)
        return asyncio.get_running_loop().time()

    bell = Bell([1.0, 1.0, 3.5, 5.0])
    assert virtually(main, bell) == 4.0
    assert (bell.heard, bell.times) == ([1.0, 1.0, 3.5], [5.0])


def test_what_would_run_in_a_thread_runs_at_once_in_virtual_time() -> None:
    async def main() -> tuple[float, str]:
        name = await asyncio.to_thread(lambda: threading.current_thread().name)
        return asyncio.get_running_loop().time(), name

    assert virtually(main) == (0.0, threading.main_thread().name)


def test_an_exception_of_a_virtual_thread_reaches_whoever_awaits_it() -> None:
    async def main() -> None:
        await asyncio.to_thread(lambda: 1 // 0)

    with pytest.raises(ZeroDivisionError):
        virtually(main)


@pytest.mark.parametrize("scale", [1.0, 2.1, 7.0, 1 / 3])
def test_a_virtual_clock_of_any_scale_shows_the_same_times(scale: float) -> None:
    async def main() -> float:
        clock = virtual_clock(asyncio.get_running_loop(), scale)
        await clock.sleep_until(1.25)
        await clock.sleep_until(3.75)
        return clock.now()

    assert_close(virtually(main), 3.75, what="emulated time")


def test_the_end_of_a_moment_comes_after_all_else_that_happens_at_it() -> None:
    said: list[str] = []

    async def chain(loop: VirtualEventLoop, links: int) -> None:
        await asyncio.sleep(1.0)
        for _ in range(links):
            await asyncio.sleep(0)
        said.append("chain")

    async def last(loop: VirtualEventLoop) -> None:
        await asyncio.sleep(1.0)
        await loop.moment_over()
        said.append(f"over at {loop.time():g}")

    async def everything() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualEventLoop)
        await asyncio.gather(last(loop), chain(loop, 50), asyncio.sleep(1.5))

    with asyncio.Runner(loop_factory=VirtualEventLoop) as runner:
        runner.run(everything())
    assert said == ["chain", "over at 1"]
