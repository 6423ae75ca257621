"""One computation after another: prints under which CPU quota each was, what it took, and how often it was interrupted.
`runtime.interruption` runs it in a container whose quota it changes.

`python -m emulator.throttled [PROGRAM CONFIG]`: what a node of that program computes, with that JSON object as its
config; without, the reference workload.
"""

import json
import resource
import sys
import time
from collections.abc import Callable

from emulator import cgroup
from emulator.errors import EdgebedError
from emulator.interruption import Step
from emulator.reference import WARM_UP, training_step
from emulator.runtime.program import computation, sizer
from emulator.system import keep_memory

STEP = "step"
"""Begins the line of each: libraries may have something to say as well."""
LONGEST_STEP = 0.15
"""CPU seconds: of a computation's sizes, the largest that takes no more is chosen, its own if it can be: interrupting a
batch of half the size costs half as much again. Under a quota a step takes ten times that."""
PAUSE = 0.05
"""Seconds before each, for a node waits between its computations, too: they begin with a core that has slept."""
LIFE_SECONDS = 180.0
"""It ends by itself: who has started it may have been killed."""


def line(step: Step) -> str:
    """What is printed of it, `parse` reads."""
    return f"{STEP} {step.cores} {step.cpu} {step.interruptions}"


def parse(line: str) -> Step:
    """What `line` gave."""
    _, cores, cpu, interruptions = line.split()
    return Step(float(cores), float(cpu), int(interruptions))


def main(arguments: list[str]) -> int:
    """Those during which the quota has changed are left out."""
    end = time.monotonic() + LIFE_SECONDS
    try:
        step = _of_program(*arguments) if arguments else _warm(training_step()[0])
    except EdgebedError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    while time.monotonic() < end:
        time.sleep(PAUSE)
        cores, before = _cores(), _interruptions()
        cpu = _timed(step)
        if _cores() == cores:
            sys.stdout.write(line(Step(cores, cpu, _interruptions() - before)) + "\n")
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


def _interruptions() -> int:
    """How often something else than itself had this thread wait."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw


def _cores() -> float:
    found = cgroup.bandwidth()
    return float("inf") if found is None else found.cores


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
