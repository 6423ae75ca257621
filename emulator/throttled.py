"""One computation after another: prints how often the kernel looks at CPU quotas, then under which quota each
computation was and what it took. `runtime.interruption` runs it in a container whose quota it changes.

`python -m emulator.throttled [PROGRAM CONFIG]`: what a node of that program computes, with that JSON object as its
config; without, the reference workload.
"""

import json
import sys
import time
from collections.abc import Callable

from emulator import cgroup
from emulator.errors import EdgebedError
from emulator.interruption import Step
from emulator.probe import probe
from emulator.reference import WARM_UP, training_step
from emulator.runtime.program import computation, sizer
from emulator.system import keep_memory

TICK, STEP = "tick", "step"
"""Begin the lines of these: libraries may have something to say as well."""
CLOCK_MONOTONIC_COARSE = 6
"""Linux's clock that moves on at the kernel's ticks. Python has no name for it."""
LONGEST_STEP = 0.10
"""CPU seconds: of a computation's sizes, the largest that takes no more is chosen, its own if it can be: interrupting a
batch of half the size costs half as much again. Under a quota a step takes up to thirty times that."""
PAUSE = 0.05
"""Seconds before each, for a node waits between its computations, too: they begin with a core that has slept."""
LIFE_SECONDS = 180.0
"""It ends by itself: who has started it may have been killed."""


def line(step: Step) -> str:
    """What is printed of it, `parse` reads."""
    return f"{STEP} {step.cores} {step.cpu} {step.probe}"


def parse(said: str) -> tuple[float, list[Step]]:
    """The seconds between two looks of the kernel at quotas, and the steps, of all that was printed."""
    told = [line.split(" ") for line in said.splitlines()]
    tick = next(float(figures[0]) for kind, *figures in told if kind == TICK)
    return tick, [Step(*map(float, figures)) for kind, *figures in told if kind == STEP]


def main(arguments: list[str]) -> int:
    """Those during which the quota has changed are left out."""
    end = time.monotonic() + LIFE_SECONDS
    try:
        step = _of_program(*arguments) if arguments else _warm(training_step()[0])
    except EdgebedError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{TICK} {time.clock_getres(CLOCK_MONOTONIC_COARSE)}\n")
    while time.monotonic() < end:
        time.sleep(PAUSE)
        cores = _cores()
        cpu = _timed(step)
        if _cores() == cores:
            sys.stdout.write(line(Step(cores, cpu, probe())) + "\n")
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
