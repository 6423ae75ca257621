"""What the stages of a host's calibration cost, in CPU seconds: from what each call was measured to take.

The same work in several runs, such as the clients' in most algorithms, is measured by all of them, the more often; but
only by those in which it comes about as often, where it is short: the longer a node waits, the less its caches still
hold of what it needs next. What each call took is told as at one speed of the cores, whatever it was at the moment (see
`probe`).
"""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from emulator.cost import Point, StageCost, fit, roofline
from emulator.node import Work
from emulator.speeds import Call, sensed, usual
from emulator.timeline import Span, runs

Key = tuple[str, str]
"""A role and a stage."""

AS_OFTEN = 2.0
"""Short calls count as the same if the ones come at most so many times as often as the others."""
LONG = 0.02
"""CPU seconds from which on calls count as the same however often they come: to fill a core's caches again takes one or
two tenths of a millisecond (4 % of the demo's few)."""
TRIMMED = 0.1
"""The share of the measured times left out at either end, and one of three at least: what else the host did shows
there, and that what is seldom done takes its time for a second time, too."""
FACTORS, FEWEST_FACTORS = 9, 3
"""By how many a stage's spread is told, where it was measured as often."""


def stage_costs(
    spans: Iterable[Span],
    roles: Mapping[str, str],
    works: Mapping[str, Mapping[Key, Work | None]],
    core_flops: float,
    bandwidth: float,
    scale: float = 1.0,
) -> list[StageCost]:
    """What each stage of each run costs a core of `core_flops` FLOP/s that moves `bandwidth` bytes/s.

    `spans`: of runs named `RUN/SIZE/TURN`, after the experiment's, its own size first; `roles`: of the nodes; `works`:
    what is computed, by `RUN/SIZE`; `scale`: of the time. `ValueError` for a stage that took no time.
    """
    measured: defaultdict[tuple[str, str, str], _Measured] = defaultdict(_Measured)
    for name, noted in runs(spans).items():
        size, _, turn = name.rpartition("/")
        for span, call in sensed(noted, scale):
            measured[size, roles[span.node], span.stage].add((turn, span.node), span.start, call)
    same: defaultdict[tuple[str, str, Work | str], list[_Measured]] = defaultdict(list)
    for (size, role, stage), calls in measured.items():
        same[role, stage, works[size].get((role, stage)) or size].append(calls)
    probe = usual(call for calls in measured.values() for call in calls.later())
    stages: defaultdict[tuple[str, str, str], list[_Told]] = defaultdict(list)
    for (size, role, stage), calls in measured.items():
        work = works[size].get((role, stage))
        later = _later(calls, same[role, stage, work or size]) or calls.firsts()
        taken = [call.where(probe) for call in later]
        mean = statistics.fmean(_trimmed(taken))
        least = roofline(work, core_flops, bandwidth) if work else 0.0
        extra = max(0.0, statistics.fmean(call.where(probe) for call in calls.firsts_of_the_first_turn()) - mean)
        stages[size.rpartition("/")[0], role, stage].append(
            _Told(Point(least, mean, len(taken)), extra, _spread(taken))
        )
    cold: dict[Key, float] = {}
    costs = []
    for (run, role, stage), sizes in stages.items():
        overhead, efficiency = fit([size.point for size in sizes])
        own = sizes[0]
        costs.append(
            StageCost(
                run=run, role=role, stage=stage, overhead=overhead, efficiency=efficiency, first=own.first,
                cold=cold.setdefault((role, stage), own.first), spread=own.spread, probe=probe,
            )
        )  # fmt: skip
    return costs


class _Told(NamedTuple):
    """What the calls of a stage tell of it, of one size."""

    point: Point
    first: float
    """By how much a node's first call takes longer."""
    spread: tuple[float, ...]


class _Measured:
    """The calls of one stage of one size of a run."""

    def __init__(self) -> None:
        self._calls: defaultdict[tuple[str, str], list[tuple[float, Call]]] = defaultdict(list)
        """Those of each turn and node, in order, with the emulated second at which each began."""

    def add(self, where: tuple[str, str], start: float, call: Call) -> None:
        """`where`: its turn and node."""
        self._calls[where].append((start, call))

    def firsts(self) -> list[Call]:
        return [calls[0][1] for calls in self._calls.values()]

    def firsts_of_the_first_turn(self) -> list[Call]:
        first, _ = next(iter(self._calls))
        return [calls[0][1] for (turn, _), calls in self._calls.items() if turn == first]

    def later(self) -> list[Call]:
        return [call for calls in self._calls.values() for _, call in calls[1:]]

    def interval(self) -> float | None:
        """Emulated seconds from the start of a node's call to that of its next, their median; None where none has a
        next one."""
        waits = [after - before for calls in self._calls.values() for (before, _), (after, _) in pairwise(calls)]
        return statistics.median(waits) if waits else None


def _later(own: _Measured, same: Iterable[_Measured]) -> list[Call]:
    """Calls like those of `own`, all but the first: of those of the `same` work that come about as often, or of all
    where that makes no difference."""
    interval = own.interval()
    if interval is not None and statistics.median(call.cpu for call in own.later()) >= LONG:
        interval = None
    return [
        call
        for other in same
        if (wait := other.interval()) is not None
        and (interval is None or max(wait, interval) <= AS_OFTEN * min(wait, interval))
        for call in other.later()
    ]


def _trimmed(values: Iterable[float]) -> list[float]:
    """In order, without the TRIMMED share at either end."""
    ordered = sorted(values)
    cut = max(int(TRIMMED * len(ordered)), 1 if len(ordered) >= 3 else 0)
    return ordered[cut : len(ordered) - cut]


def _spread(values: Iterable[float]) -> tuple[float, ...]:
    """What `values` are beside their mean (see `StageCost.spread`); of fewer than FEWEST_FACTORS, nothing is known."""
    kept = _trimmed(values)
    count = min(FACTORS, len(kept))
    if count < FEWEST_FACTORS:
        return ()
    factors = np.quantile(kept, (np.arange(count) + 0.5) / count, method="hazen")  # of as many values, themselves
    return tuple((factors / factors.mean()).tolist())
