"""One computation after another: prints under which CPU quota each was, and what it took. `runtime.interruption` runs
it in a container whose quota it changes.

`python -m emulator.throttled [PROGRAM CONFIG]`: what a node of that program computes, with that JSON object as its
config; without, the reference workload.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

from emulator import cgroup
from emulator.errors import EdgebedError
from emulator.reference import WARM_UP, training_step
from emulator.runtime.program import computation, sizer
from emulator.system import keep_memory

STEP = "step"
"""Begins the line of each: libraries may have something to say as well."""
LONGEST_STEP = 0.15
"""CPU seconds: of a computation's sizes, the largest that takes no more is chosen, its own if it can be: interrupting a
batch of half the size costs half as much again. Under a quota a step takes ten times that."""
LIFE_SECONDS = 180.0
"""It ends by itself: who has started it may have been killed."""


class Step(NamedTuple):
    """One computation: the cores of its quota, infinity without one, and the CPU seconds that it took."""

    cores: float
    cpu: float

    @classmethod
    def parse(cls, line: str) -> "Step":
        """What `str` gave."""
        _, cores, cpu = line.split()
        return cls(float(cores), float(cpu))

    def __str__(self) -> str:
        return f"{STEP} {self.cores} {self.cpu}"


def main(arguments: list[str]) -> int:
    """Those during which the quota has changed are left out."""
    end = time.monotonic() + LIFE_SECONDS
    try:
        step = _of_program(*arguments) if arguments else _warm(training_step()[0])
    except EdgebedError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    while time.monotonic() < end:
        cores = _cores()
        cpu = _timed(step)
        if _cores() == cores:
            sys.stdout.write(f"{Step(cores, cpu)}\n")
            sys.stdout.flush()
    return 0


def _of_program(program: str, config: str) -> Callable[[], object]:
    keep_memory()
    make, sizes = computation(program), sizer(program)
    assert make is not None, f"{program} was asked before"
    own = json.loads(config)
    for one in sizes(own) if sizes else [own]:
        step = make(one)
        # Of two: the first has memory to ask for as well.
        if min(_timed(step), _timed(step)) <= LONGEST_STEP:
            break
    return _warm(step)


def _warm(step: Callable[[], object]) -> Callable[[], object]:
    for _ in range(WARM_UP):
        step()
    return step


def _timed(step: Callable[[], object]) -> float:
    before = time.thread_time()
    step()
    return time.thread_time() - before


def _cores() -> float:
    found = cgroup.bandwidth()
    return float("inf") if found is None else found.cores


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
