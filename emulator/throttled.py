"""The reference workload, step by step: prints under which CPU quota each step was, and what it took.
`runtime.interruption` runs it in a container whose quota it changes."""

import sys
import time
from typing import NamedTuple

from emulator import cgroup
from emulator.reference import WARM_UP, training_step

STEP = "step"
"""Begins the line of each: libraries may have something to say as well."""
LIFE_SECONDS = 120.0
"""It ends by itself: who has started it may have been killed."""


class Step(NamedTuple):
    """One step: the cores of its quota, infinity without one, and the CPU seconds that it took."""

    cores: float
    cpu: float

    @classmethod
    def parse(cls, line: str) -> "Step":
        """What `str` gave."""
        _, cores, cpu = line.split()
        return cls(float(cores), float(cpu))

    def __str__(self) -> str:
        return f"{STEP} {self.cores} {self.cpu}"


def main() -> None:
    """Steps during which the quota has changed are left out."""
    end = time.monotonic() + LIFE_SECONDS
    step, _ = training_step()
    for _ in range(WARM_UP):
        step()
    while time.monotonic() < end:
        cores = _cores()
        before = time.thread_time()
        step()
        cpu = time.thread_time() - before
        if _cores() == cores:
            sys.stdout.write(f"{Step(cores, cpu)}\n")
            sys.stdout.flush()


def _cores() -> float:
    found = cgroup.bandwidth()
    return float("inf") if found is None else found.cores


if __name__ == "__main__":
    main()
