"""The reference workload: how fast a core of this host trains, and what it costs to be interrupted, or asleep before.

A CPU quota lets a computation run for a millisecond or a few and then has it wait, and what its core's caches held of
it may be gone. What that costs is measured on a process of the idle policy, which only computes while another lets it
have the core: that needs neither privileges nor a quota. (Signals would not do: to be stopped by one took several times
what being throttled did.) The other keeps the core awake, and little else: to one that trains more of the caches would
be lost.
"""

import contextlib
import itertools
import json
import os
import signal
import statistics
import struct
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple, NoReturn

from emulator.awake import multiply, waking
from emulator.cost import interruption
from emulator.system import die_with_parent, keep_memory

WARM_UP = 3
"""The first steps fill caches and choose kernels."""
REPEATS = 15
TURN = 0.001
"""Seconds: the least quota of a kernel."""
REST = 0.009
"""Seconds: with a turn, the shortest period of a quota."""
STEPS = 3
"""At a time: undisturbed, and then interrupted, about."""
COMPARISONS = 12
LEAST_COMPARISONS, LONG = 3, 30.0
"""How many there are at least, however long (seconds) they take."""
_STEP = struct.Struct("3d")


@dataclass(frozen=True)
class Reference:
    """What a host was measured to do of it."""

    core_flops: float
    """FLOP/s of one core."""
    interruption: float | None
    """CPU seconds that it costs to be interrupted once; None: it cannot be measured here."""
    waking: float | None = None
    """By which factor work takes longer that wakes a core up (see `awake`); None: it cannot be measured here."""


class Step(NamedTuple):
    """One step of a process: when it began and ended, and the CPU seconds that it took."""

    began: float
    ended: float
    cpu: float


def training_step() -> tuple[Callable[[], None], float]:
    """A step of training two 3x3 convolutions, forward and backward, in one thread; and its FLOPs.

    A convolution of N images, C channels in, K out and HxW positions takes 2 N C K 9 H W FLOPs forward and twice that
    backward.
    """
    import torch

    keep_memory()
    torch.set_num_threads(1)
    images, channels, size = 16, (16, 32, 32), 32
    layers = [torch.nn.Conv2d(into, out, 3, padding=1) for into, out in itertools.pairwise(channels)]
    flops = sum(3 * 2 * images * into * out * 9 * size**2 for into, out in itertools.pairwise(channels))
    batch = torch.rand(images, channels[0], size, size, requires_grad=True)
    model = torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1])
    return lambda: model(batch).square().mean().backward(), float(flops)


def measure() -> Reference:
    """All of it, in some seconds."""
    step, flops = training_step()
    speeds = []
    for repeat in range(REPEATS + WARM_UP):
        before = time.thread_time()
        step()
        if repeat >= WARM_UP:
            speeds.append(flops / (time.thread_time() - before))
    speed = statistics.median(speeds)
    slower = waking()
    cost = None
    # There may be no forks here, no idle policy, or none of it that computes.
    with contextlib.suppress(AttributeError, OSError, statistics.StatisticsError):
        cost = _interruption(step, STEPS * flops / speed)
    return Reference(speed, cost if cost is not None and cost < TURN else None, slower)


def _interruption(step: Callable[[], None], seconds: float) -> float:
    """By many short comparisons side by side, for a host's speed changes by the second; in each, a process computes for
    `seconds` at a stretch, and then for as long in turns. This thread has the same core for itself in between."""
    usual = os.sched_getaffinity(0)
    undisturbed, in_turns = list[_Phase](), list[_Phase]()
    os.sched_setaffinity(0, {max(usual)})
    try:
        child = _Child(step)
        try:
            began = time.monotonic()
            for number in range(COMPARISONS):
                if number >= LEAST_COMPARISONS and time.monotonic() > began + LONG:
                    break
                undisturbed.append(_let_compute(seconds, 1))
                in_turns.append(_let_compute(TURN, round(seconds / TURN)))
        finally:
            steps = child.end()
    finally:
        os.sched_setaffinity(0, usual)
    turn = statistics.fmean(phase.turn for phase in in_turns)
    return interruption(_mean_cpu(steps, undisturbed), _mean_cpu(steps, in_turns), turn)


class _Phase(NamedTuple):
    """A stretch of time, and how long a turn was in it."""

    began: float
    ended: float
    turn: float


def _mean_cpu(steps: Sequence[Step], phases: Iterable[_Phase]) -> float:
    """Of the steps that lie within a phase; each phase counts the same."""
    within = (
        [step.cpu for step in steps if phase.began <= step.began and step.ended <= phase.ended] for phase in phases
    )
    return statistics.fmean(statistics.fmean(found) for found in within if found)


def _let_compute(seconds: float, turns: int) -> _Phase:
    """Leave the core to who waits for it, for so many turns of `seconds` each, and take it after each for a rest."""
    began, left = time.monotonic(), 0.0
    for _ in range(turns):
        at = time.monotonic()
        time.sleep(seconds)
        now = time.monotonic()
        left += now - at
        while time.monotonic() < now + REST:
            multiply()
    return _Phase(began, time.monotonic(), left / turns)


class _Child:
    """A process that does one step after the other, whenever nobody else wants this thread's core. `OSError` where it
    cannot be one that makes way."""

    def __init__(self, step: Callable[[], None]) -> None:
        self._steps, out = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                os.close(self._steps)
                os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
                _compute(step, out)
            finally:
                os._exit(1)
        os.close(out)
        if not os.read(self._steps, 1):
            self.end()
            raise OSError("no process can be made to make way")

    def end(self) -> list[Step]:
        """The steps that it has done."""
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        with os.fdopen(self._steps, "rb") as steps:
            return [Step(*values) for values in _STEP.iter_unpack(steps.read())]


def _compute(step: Callable[[], None], out: int) -> NoReturn:
    """Do steps for ever, and write each to `out`: until this process is killed, they are fewer than a pipe holds."""
    die_with_parent()
    os.write(out, b".")
    while True:
        began, cpu = time.monotonic(), time.thread_time()
        step()
        os.write(out, _STEP.pack(began, time.monotonic(), time.thread_time() - cpu))


def main() -> None:
    """Prints a `Reference` as JSON."""
    sys.stdout.write(json.dumps(asdict(measure())) + "\n")


if __name__ == "__main__":
    main()
