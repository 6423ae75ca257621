"""Measures what the stages of an experiment take this host: a short run of it, in processes as in any other.

Nothing less will do: a stage that has its core's caches for itself takes less CPU time than between the waits of a real
run, and more after a longer wait. So links and devices are the emulated ones; where these would take more seconds than
there are, results are not held back, but the links slowed down instead, or if need be made faster. Every run of the
experiment is carried out for some rounds, at its own size where seconds are enough for that, and for a few at two
smaller ones; how long that takes is predicted first, without any calibration. The runs take turns, each with some of
its rounds: a host's speed changes by the second, and no run is to have but one moment of it.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from emulator import timeline
from emulator.calibration import SCHEMA, Calibration, Overheads, subject
from emulator.clock import Clock, new_event_loop
from emulator.cost import CostModel, Hardware
from emulator.errors import EdgebedError
from emulator.host import Host, fingerprint
from emulator.node import Work
from emulator.plan import Plan, RunPlan
from emulator.runtime.program import sizer
from emulator.runtime.virtual import simulate
from emulator.stage_costs import Key, stage_costs
from emulator.timeline import Entry, Span

SECONDS = 40.0
"""Of this host's time, about, for all runs of an experiment; starting its processes, and what they do before their
first round, comes on top."""
MOST_ROUNDS, FEWEST_ROUNDS = 32, 3
TURNS, LEAST_OF_A_TURN = 3, 4
"""How often a run's turn comes, and how many rounds it has in one, if it has several: its first call tells nothing."""
SIZES = 3
UNKNOWN_SECONDS = 1e-3
ASSUMED_EFFICIENCY = 0.9
"""What a call takes on top of its work, and the share of the roofline, before anything is known."""
PACES = ((1.0, None), (3.0, 1.0), (1.0, 1.0), (1 / 4, 1.0), (1 / 16, 1.0))
"""Time scales, and what the devices are slowed down by, None: as emulated. The first at which there is time for every
run at its own size."""
TIMERS, TIMER_SECONDS = 50, 0.003
COPIED = 32 * 2**20


def calibrate(plan: Plan, host: Host, seconds: float = SECONDS) -> Calibration:
    """Measure every run of `plan`, a plan of the local runtime.

    Raises what the run raises, and `EdgebedError` when a stage could not be measured.
    """
    emulated = plan
    for scale, slowdown in PACES:
        plan = _at_pace(emulated, scale, slowdown)
        sizes = [_affordable(plan, host, run, seconds / len(plan.runs)) for run in plan.runs]
        if all(chosen[0].own for chosen in sizes):
            break
    left = seconds - FEWEST_ROUNDS * sum(size.round_seconds for chosen in sizes for size in chosen[1:])
    for chosen, rounds in zip(sizes, rounds_in(left, [chosen[0].round_seconds for chosen in sizes]), strict=True):
        chosen[0].rounds = rounds
    measured = {
        f"{run.name}/{number}": size
        for run, chosen in zip(plan.runs, sizes, strict=True)
        for number, size in enumerate(chosen)
    }
    runs = [
        RunPlan(name=f"{name}/{turn}", config={**size.config, "rounds": rounds})
        for turn in range(TURNS)
        for name, size in measured.items()
        for rounds in turns_of(size.rounds)[turn : turn + 1]
    ]
    spans = _measure(plan.model_copy(update={"runs": runs}))
    bandwidth = copy_bandwidth()
    roles = {node.name: node.role for node in plan.nodes}
    works = {name: size.works for name, size in measured.items()}
    stages = stage_costs(spans, roles, works, host.core_flops, bandwidth, plan.scale)
    missing = {run.name for run in plan.runs} - {stage.run for stage in stages}
    if missing:
        raise EdgebedError(f"{', '.join(sorted(missing))}: nothing was computed, so nothing could be calibrated")
    return Calibration(
        schema=SCHEMA,
        fingerprint=fingerprint(),
        made=time.strftime("%Y-%m-%d %H:%M"),
        awake=plan.awake,
        subject=subject(plan),
        cost=CostModel(core_flops=host.core_flops, bandwidth=bandwidth, stages=tuple(stages)),
        overheads=_overheads(spans, plan.scale),
    )


def _at_pace(plan: Plan, scale: float, slowdown: float | None) -> Plan:
    nodes = [node.model_copy(update={"slowdown": slowdown or node.slowdown}) for node in plan.nodes]
    return plan.model_copy(update={"scale": scale, "nodes": nodes})


def computed(plan: Plan, host: Host) -> set[tuple[str, str, str]]:
    """Run, role and stage of what a calibration for `plan` has to know, as far as its programs can say without it."""
    return {
        (run.name, role, stage)
        for run in plan.runs
        for config in (_configs(plan, run) or [])[:1]
        for role, stage in _Size(plan, host, run, config, own=True).works
    }


class _Tally:
    """Prices computations at about what this host takes, and remembers the work of each stage."""

    def __init__(self, host: Host, scale: float) -> None:
        self.works: dict[Key, Work | None] = {}
        self.total = 0.0
        """Seconds of a core, of all computations."""
        self._flops, self._scale = ASSUMED_EFFICIENCY * host.core_flops, scale

    def seconds(self, node: str, role: str, stage: str, work: Work | None, device: Hardware) -> float:
        self.works[role, stage] = work
        taken = UNKNOWN_SECONDS + (work.flops / self._flops if work else 0.0)
        self.total += taken
        return max(taken / self._scale, taken * device.slowdown)


class _Size:
    """A configuration to be measured: its works, how long its rounds take this host about, and how many to run."""

    def __init__(self, plan: Plan, host: Host, run: RunPlan, config: dict[str, Any], *, own: bool) -> None:
        tally, spans = _Tally(host, plan.scale), list[Span]()
        trial = RunPlan(name=run.name, config={**config, "rounds": 2, "training": False})
        simulate(
            plan.model_copy(update={"runs": [trial]}),
            lambda entry: spans.append(entry) if isinstance(entry, Span) else None,
            pricing=lambda _: tally,
        )
        self.config, self.own = config, own
        self.works = tally.works
        # What waits for one another, had it a core each; or all of it, on as many cores as there are.
        longest = max(plan.scale * timeline.emulated_time(spans), tally.total / host.cores)
        self.round_seconds = longest / len(timeline.rounds(spans))
        self.rounds = FEWEST_ROUNDS


def _configs(plan: Plan, run: RunPlan) -> list[dict[str, Any]] | None:
    """What the programs say of their sizes, the run's own first. None: nothing."""
    make = next((found for node in plan.nodes if (found := sizer(node.program)) is not None), None)
    return make(run.config) if make else None


def _affordable(plan: Plan, host: Host, run: RunPlan, seconds: float) -> list[_Size]:
    """The largest size that fits into `seconds`, and up to two smaller ones."""
    configs = _configs(plan, run) or [run.config]
    measured: dict[int, _Size] = {}
    for start, more in ((start, more) for start in range(len(configs)) for more in reversed(range(SIZES))):
        for place in range(start, min(start + more + 1, len(configs))):
            if place not in measured:
                measured[place] = _Size(plan, host, run, configs[place], own=place == 0)
        chosen = [measured[place] for place in sorted(measured) if start <= place <= start + more]
        # What has to be extrapolated from needs two sizes.
        enough = start == 0 or len(chosen) > 1 or len(configs) == 1
        if enough and FEWEST_ROUNDS * sum(size.round_seconds for size in chosen) <= seconds:
            break
    else:  # nothing fits: what comes nearest
        chosen = [measured[place] for place in sorted(measured)[-2:]]
    return chosen


def rounds_in(seconds: float, round_seconds: Sequence[float]) -> list[int]:
    """How many rounds there is time for of runs whose rounds take `round_seconds`, all in `seconds` together.

    As many of each: the longer a round, the longer what is seldom done in it has to be watched to be known as well. But
    where the longest have only the fewest there can be, there may be time for more of the others.
    """
    rounds = [0] * len(round_seconds)
    together = sum(round_seconds)
    for run in sorted(range(len(rounds)), key=lambda run: round_seconds[run], reverse=True):
        rounds[run] = min(MOST_ROUNDS, max(FEWEST_ROUNDS, int(seconds / together)))
        seconds -= rounds[run] * round_seconds[run]
        together -= round_seconds[run]
    return rounds


def turns_of(rounds: int) -> list[int]:
    """How many of a run's `rounds` there are in each of its turns."""
    turns = min(TURNS, max(1, rounds // LEAST_OF_A_TURN))
    return [rounds // turns + (turn < rounds % turns) for turn in range(turns)]


def _measure(plan: Plan) -> list[Span]:
    from emulator.runtime import local  # and with it the control API: seldom needed, slow to import

    spans: list[Span] = []

    class Collect:
        def entry(self, entry: Entry) -> None:
            if isinstance(entry, Span):
                spans.append(entry)

        def finished(self, run: str, wall_s: float) -> None:
            """The spans are all that is wanted."""

    with tempfile.TemporaryDirectory() as folder, asyncio.Runner(loop_factory=new_event_loop) as loop:
        # It is nobody's testbed: no command is to find it, or to change it.
        loop.run(local.run(plan, Path(folder) / "logs", Collect(), control_host=None))
    return spans


def _overheads(spans: Iterable[Span], scale: float) -> Overheads:
    late = [span.lateness * scale for span in spans if span.is_message and span.lateness is not None]
    with asyncio.Runner(loop_factory=new_event_loop) as loop:
        timer = loop.run(_timer_overshoot())
    return Overheads(timer=timer, delivery=statistics.median(late) if late else 0.0)


async def _timer_overshoot() -> float:
    """Median seconds by which an event loop's timer fires too late."""
    clock, late = Clock(), []
    for step in range(1, TIMERS + 1):
        await clock.sleep_until(step * TIMER_SECONDS)
        late.append(clock.now() - step * TIMER_SECONDS)
    return statistics.median(late)


def copy_bandwidth(clock: Callable[[], float] = time.thread_time) -> float:
    """Bytes a second that one core reads and writes, copying what no cache holds: the best of a few copies."""
    source, target = np.ones(COPIED, np.uint8), np.empty(COPIED, np.uint8)
    moments = [clock()]
    for _ in range(6):
        np.copyto(target, source)
        moments.append(clock())
    return 2 * COPIED / min(after - before for before, after in pairwise(moments))
