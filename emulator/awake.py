"""Keeps this host's cores awake while something is measured on them.

A core without work goes to sleep, and its processor slows down. Work that wakes it up again takes half as much CPU time
more, or nearly twice as much, until a few milliseconds later it is at its full speed. An emulated client computes for a
millisecond between two waits: how long that takes would depend on how long the core has slept before, and so on
everything else that goes on.

So a process for each core computes whenever nobody else wants to. Linux's idle policy (SCHED_IDLE) has it make way at
once, but only for processes of its own session and control group, and takes no privileges. It multiplies matrices: an
empty loop would leave the vector units asleep.

Whether that helps is measured once for a host (see `waking`): where two threads share a core, say, a busy one takes
from the other. In a container with a CPU quota it never does: whoever spins there uses the quota up. Nor beside nodes
in containers of their own, to which it would make way by weight alone: messages that come all at once were late by it,
and devices under quotas short of their shares.
"""

import contextlib
import os
import select
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import NoReturn

import numpy as np

from emulator import cgroup
from emulator.system import die_with_parent, single_threaded

SIZE = 32
"""Of the matrices: they are to leave the caches to others."""
START_SECONDS = 10.0
WORTH = 1.05
"""From which factor on cores are kept awake (see `waking`)."""
COMPARISONS = 4
RESTS = 15
REST = 0.030
"""Seconds."""
PRODUCTS = 300
"""Half a millisecond's."""
_MATRIX = np.ones((SIZE, SIZE), np.float32)
_PRODUCT = np.empty_like(_MATRIX)
_POSSIBLE = hasattr(os, "SCHED_IDLE")


@contextlib.contextmanager
def awake(wanted: bool = True) -> Iterator[bool]:
    """Keep the cores that this process may use awake meanwhile, if `wanted`; gives whether they are."""
    if not (wanted and possible()):
        yield False
        return
    try:
        spinning = subprocess.Popen(
            [sys.executable, "-m", "emulator.awake"],
            env={**os.environ, **single_threaded()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )
    except OSError:
        yield False
        return
    assert spinning.stdout is not None
    try:
        said, _, _ = select.select([spinning.stdout], [], [], START_SECONDS)
        yield bool(said and spinning.stdout.readline())
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(spinning.pid, signal.SIGKILL)
        spinning.communicate()


def waking() -> float | None:
    """CPU time of work for which a core wakes up, over that of the same where it is kept awake; None: no core can be.

    Some seconds.
    """
    woken, kept = list[float](), list[float]()
    for _ in range(COMPARISONS):
        with awake() as are_awake:
            if not are_awake:
                return None
            kept += _after_rests()
        woken += _after_rests()
    return statistics.median(woken) / statistics.median(kept)


def possible() -> bool:
    """Whether this system has what it takes, and this process may use its cores as it likes."""
    return _POSSIBLE and cgroup.bandwidth() is None


def worth(factor: float | None) -> bool:
    """Whether it helps to keep cores awake on a host of that factor (see `waking`)."""
    return factor is not None and factor >= WORTH


def _after_rests() -> list[float]:
    """CPU seconds of the same work, each time after a rest."""
    taken = []
    for _ in range(RESTS):
        time.sleep(REST)
        before = time.thread_time()
        multiply(PRODUCTS)
        taken.append(time.thread_time() - before)
    return taken


def _spin() -> NoReturn:
    while True:
        multiply(PRODUCTS)


def multiply(times: int = 1) -> None:
    """Small matrices: what keeps a core awake, its vector units included, and leaves its caches to others."""
    for _ in range(times):
        np.matmul(_MATRIX, _MATRIX, out=_PRODUCT)


def main() -> None:
    """Keeps all cores awake, a process for each, until it is killed, and says so by an empty line."""
    die_with_parent()
    me = os.getpid()
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    usual = os.sched_getaffinity(0)
    for core in usual:
        os.sched_setaffinity(0, {core})
        if os.fork() == 0:
            die_with_parent(me)
            _spin()
    os.sched_setaffinity(0, usual)
    sys.stdout.write("\n")
    sys.stdout.flush()
    signal.pause()


if __name__ == "__main__":
    main()
