"""A node's emulated device: computes one thing at a time, and holds each result until the device would have it."""

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from emulator.clock import Clock
from emulator.device import stretched
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
    mode: str


class Device:
    """Computes in a thread of its own, which takes `slowdown` seconds for each CPU second of this host."""

    def __init__(self, slowdown: float, clock: Clock) -> None:
        self._slowdown = slowdown
        self._clock = clock
        self.free = asyncio.Lock()
        """Held by whoever computes."""
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="device", initializer=lower_this_thread)
        # Pure-Python work would otherwise keep the event loop from its timers for 5 ms at a time.
        sys.setswitchinterval(0.0005)

    async def compute(self, fn: Callable[[], T], start: float) -> Computed[T]:
        """The result of `fn()`, not before the device would have it that began at `start`."""
        cpu, result = await asyncio.get_running_loop().run_in_executor(self._worker, _timed, fn)
        due = start + stretched(cpu, self._slowdown)
        await self._clock.sleep_until(due)
        return Computed(result, self._clock.now(), due, cpu, "stretched")

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
