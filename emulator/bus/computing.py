"""A node's emulated device: computes one thing at a time, and holds each result until the device would have it."""

import asyncio
import contextlib
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from emulator import cgroup, quota
from emulator.clock import Clock
from emulator.device import due, since
from emulator.probe import probe
from emulator.system import lower_this_thread

T = TypeVar("T")


@dataclass(frozen=True)
class Computed(Generic[T]):
    """A result, and how it came about. Times are emulated seconds."""

    result: T
    end: float
    due: float
    cpu: float
    """CPU seconds of this host."""
    probe: float
    """Those of the probe, right after it."""
    mode: str
    throttled: int | None = None
    """Periods of this node's CPU quota that were used up; None: it has none."""


class Device:
    """Computes in a thread of its own, which takes `slowdown` seconds for each CPU second of this host.

    With `throttled` the kernel slows it down, by a CPU quota on this process that others see to; a stage too short
    for that is held back, as every stage is without.
    """

    def __init__(self, slowdown: float, clock: Clock, *, throttled: bool = False) -> None:
        self._slowdowns = [(0.0, slowdown)]
        self._changed = asyncio.Event()
        self._clock = clock
        self._throttled = throttled
        self.free = asyncio.Lock()
        """Held by whoever computes."""
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="device", initializer=lower_this_thread)
        # Pure-Python work would otherwise keep the event loop from its timers for 5 ms at a time.
        sys.setswitchinterval(0.0005)

    def update(self, slowdown: float, at: float) -> None:
        """Be another device from the emulated time `at` on, also for what is being computed or held back."""
        self._slowdowns.append((max(at, self._slowdowns[-1][0]), slowdown))
        self._changed.set()

    async def compute(self, fn: Callable[[], T], start: float) -> Computed[T]:
        """The result of `fn()`, not before the device would have it that began at `start`."""
        self._slowdowns = since(self._slowdowns, start)
        before = cgroup.throttling() if self._throttled else None
        loop = asyncio.get_running_loop()
        done: asyncio.Future[tuple[float, T]] = loop.create_future()

        def work() -> float:
            loop.call_soon_threadsafe(done.set_result, _timed(fn))
            # At once, on a core that is still awake: the result goes its way meanwhile.
            return probe()

        probing = loop.run_in_executor(self._worker, work)
        await asyncio.wait((done, probing), return_when=asyncio.FIRST_COMPLETED)
        if not done.done():
            probing.result()  # raises what `fn` has raised
        cpu, result = done.result()
        mode, throttled = "stretched", None
        if self._throttled:
            after = cgroup.throttling()
            throttled = after.throttled - before.throttled if before and after else None
            until, scale = due(start, cpu, self._slowdowns), self._clock.scale
            early = (until - self._clock.now()) * scale
            mode = quota.mode((until - start) * scale, early, throttled, quota.bandwidth(self.cores).period)
        held_until = await self._hold(start, cpu)
        end = self._clock.now()
        return Computed(result, end, held_until, cpu, await probing, mode, throttled)

    async def _hold(self, start: float, cpu: float) -> float:
        """Return when the device would be done, whatever it becomes in the meantime: that time."""
        while (until := due(start, cpu, self._slowdowns)) > self._clock.now():
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(self._clock.host_time(until)):
                    await self._changed.wait()
        return until

    @property
    def cores(self) -> float:
        """The cores of this host that the device takes."""
        return 1.0 / (self._slowdowns[-1][1] * self._clock.scale)

    async def beside(self, fn: Callable[[], T]) -> T:
        """The result of `fn()`, as soon as this host has it."""
        return await asyncio.get_running_loop().run_in_executor(self._worker, fn)

    def close(self) -> None:
        """Begin nothing more; nobody waits for what runs."""
        self._worker.shutdown(wait=False, cancel_futures=True)


def _timed(fn: Callable[[], T]) -> tuple[float, T]:
    """CPU seconds of this thread that `fn` took, and its result."""
    assert threading.current_thread() is not threading.main_thread()
    before = time.thread_time()
    result = fn()
    return time.thread_time() - before, result
