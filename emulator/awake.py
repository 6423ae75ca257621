"""Keeps this host's cores awake while something is measured on them.

A core without work goes to sleep, and its processor slows down. Work that wakes it up again takes up to twice the CPU
time, until a few milliseconds later it is at its full speed. An emulated client computes for a millisecond between two
waits: how long that takes would depend on how long the core has slept before, and so on everything else that goes on.

So a process for each core computes whenever nobody else wants to. Linux's idle policy (SCHED_IDLE) has it make way at
once, but only for processes of its own session and control group, and takes no privileges. It multiplies matrices: an
empty loop would leave the vector units asleep.

Whether that helps is measured once for a host (see `waking`). It does not where two threads share a core: a busy one
takes from the other more than it is to have.
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
COMPARISONS = 4
RESTS = 15
REST = 0.030
"""Seconds."""
PRODUCTS = 300
"""Half a millisecond's."""
_POSSIBLE = hasattr(os, "SCHED_IDLE")


@contextlib.contextmanager
def awake(wanted: bool = True) -> Iterator[None]:
    """Keep the cores that this process may use awake meanwhile, if `wanted` and where the system can."""
    if not (wanted and _POSSIBLE):
        yield
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
        select.select([spinning.stdout], [], [], START_SECONDS)
        yield
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


def _after_rests() -> list[float]:
    """CPU seconds of the same work, each time after a rest."""
    taken = []
    matrix = np.ones((SIZE, SIZE), np.float32)
    product = matrix.copy()
    for _ in range(RESTS):
        time.sleep(REST)
        before = time.thread_time()
        for _ in range(PRODUCTS):
            np.matmul(matrix, matrix, out=product)
        taken.append(time.thread_time() - before)
    return taken


def _spin(core: int) -> NoReturn:
    os.sched_setaffinity(0, {core})
    matrix = np.ones((SIZE, SIZE), np.float32)
    product = matrix.copy()
    while True:
        np.matmul(matrix, matrix, out=product)


def main() -> NoReturn:
    """Keeps all cores awake until it is killed, a process for each; says so by an empty line."""
    die_with_parent()
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    first, *others = sorted(os.sched_getaffinity(0))
    for core in others:
        if os.fork() == 0:
            die_with_parent()
            _spin(core)
    sys.stdout.write("\n")
    sys.stdout.flush()
    _spin(first)


if __name__ == "__main__":
    main()
