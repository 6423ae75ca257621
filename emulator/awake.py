"""Keeps this host's cores awake while something is measured on them.

A core without work goes to sleep, and its processor slows down. Work that wakes it up again takes up to twice the CPU
time, until a few milliseconds later it is at its full speed. An emulated client computes for a millisecond between two
waits: how long that takes would depend on how long the core has slept before, and so on everything else that goes on.

So a process for each core computes whenever nobody else wants to. Linux's idle policy (SCHED_IDLE) has it make way at
once, but only for processes of its own session and control group, and takes no privileges. It multiplies matrices: an
empty loop would leave the vector units asleep.

Whether that helps is measured once for a host (see `waking`): where two threads share a core, say, a busy one takes
from the other.
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
    if not (wanted and _POSSIBLE):
        yield False
        return
    spinning = subprocess.Popen(
        [sys.executable, "-m", "emulator.awake"],
        env={**os.environ, **single_threaded()},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        process_group=0,
    )
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
    if not _POSSIBLE:
        return None
    woken, kept = list[float](), list[float]()
    for _ in range(COMPARISONS):
        woken += _after_rests()
        with awake():
            kept += _after_rests()
    return statistics.median(woken) / statistics.median(kept)


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


def main() -> NoReturn:
    """Keeps all cores awake until it is killed, a process for each; says so by an empty line."""
    die_with_parent()
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    first, *others = sorted(os.sched_getaffinity(0))
    me = os.getpid()
    for core in others:
        os.sched_setaffinity(0, {core})
        if os.fork() == 0:
            die_with_parent(me)
            _spin()
    os.sched_setaffinity(0, {first})
    sys.stdout.write("\n")
    sys.stdout.flush()
    _spin()


if __name__ == "__main__":
    main()
