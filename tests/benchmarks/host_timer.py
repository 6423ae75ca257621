"""How late this host comes to a timer that nothing on it can hold up: what no emulator on it can be better than."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from subprocess import PIPE, Popen

EVERY = 0.001
"""Seconds."""


@contextlib.contextmanager
def host_timer() -> Iterator[list[float]]:
    """While it lasts, a timer on each core at the highest real-time priority; then the milliseconds that the latest
    was late by. Empty where such a priority is not permitted.

    What is left to hold it up is the kernel itself, and the hypervisor.
    """
    worst: list[float] = []
    cores = sorted(os.sched_getaffinity(0))
    command = [sys.executable, "-m", "tests.benchmarks.host_timer"]
    timers = [Popen([*command, str(core)], stdin=PIPE, stdout=PIPE, text=True) for core in cores]
    try:
        for timer in timers:
            assert timer.stdout is not None
            timer.stdout.readline()  # it is at it
        yield worst
    finally:
        late = [timer.communicate()[0] for timer in timers]  # which ends its input, and with it the timer
        if all(late):
            worst.append(1e3 * max(map(float, late)))


def main() -> None:
    """A core's timer, until the end of standard input: prints the seconds that it was late by at most."""
    try:
        os.sched_setaffinity(0, {int(sys.argv[1])})
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(os.sched_get_priority_max(os.SCHED_FIFO)))
    except PermissionError:
        print(flush=True)
        return
    print("on", flush=True)
    os.set_blocking(0, False)
    worst = 0.0
    while True:
        due = time.monotonic() + EVERY
        time.sleep(EVERY)
        worst = max(worst, time.monotonic() - due)
        try:
            if not os.read(0, 1):
                break
        except BlockingIOError:
            continue
    print(worst)


if __name__ == "__main__":
    main()
