"""The cost model: what a stage takes a device, from its counted work. Times are in seconds, throughputs in FLOP/s.

A computation of F floating-point operations that moves M bytes takes a processor of P FLOP/s and B bytes/s at least

    x = max(F / P, M / B)        the roofline (Williams, Waterman, Patterson, CACM 52(4), 2009)

and a stage takes a core of the calibrated host

    c = a + x / e                a: overhead of a call, e: the stage's efficiency

CPU seconds, `a` and `e` fitted to what the host was measured to take (see `calibrate`). An emulated device of training
throughput D takes `c * P / D`: exactly the ratio by which stretched compute holds results back (see `device`). Without
a calibration `a` is 0, `e` is 1 and memory no limit: every device reaches its profile's throughput, `F / D`.

A CPU quota interrupts a computation, which makes it longer (see `interruption`).

What was carried out is predicted at the speed that its cores had meanwhile: each call takes as many times as long as
the probe then took (see `probe` and `speeds`).

No two calls of a stage take the same: each takes `c` times a factor, one of those that were measured. Their mean is 1,
or under a quota, where some calls take half as long again, their median. A round waits for the slowest of its clients,
so that its mean would come out too short without. A node takes each factor once before it takes one again, so that few
calls have nearly the measured mean and median too; in which order depends on the seed, the run, the node, the stage and
the number of the call, and on nothing else.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict, Field

from emulator.cgroup import Bandwidth
from emulator.errors import InputError
from emulator.interruption import Interruption
from emulator.node import Work
from emulator.units import SIZE, show

NEARLY = 1e-6
"""By what share sizes differ that are one."""
MOST_EFFICIENT = 2.0
"""Of the throughput that a core reaches in the reference training: where a stage is nearly all overhead, noise would
make more work cost nothing."""


class StageCost(BaseModel):
    """What one stage of one run takes a core of the host."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: str
    role: str
    stage: str
    overhead: float = Field(ge=0)
    """CPU seconds of a call, whatever its size; all of it where no work was counted."""
    efficiency: float | None = Field(default=None, gt=0)
    """The share of the roofline that is reached; None: no work was counted."""
    first: float = Field(default=0.0, ge=0)
    """CPU seconds by which a node's first call in a run takes longer."""
    cold: float = Field(default=0.0, ge=0)
    """The same of the first call in the life of a node, which is in the first run."""
    spread: tuple[float, ...] = ()
    """What calls take beside their mean: equally likely factors of mean 1, rising; empty: all take the same."""
    probe: float | None = Field(default=None, gt=0)
    """CPU seconds of the probe where a call takes what is said here; None: not measured."""


class CostModel(BaseModel):
    """What one host was measured to take for one workload."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    core_flops: float = Field(gt=0)
    """Of one core, in training."""
    bandwidth: float = Field(gt=0)
    """Bytes a second that one core moves."""
    stages: tuple[StageCost, ...]
    interruption: Interruption | None = None
    """What CPU quotas cost; None: not measured."""

    def probe(self, run: str) -> float | None:
        """CPU seconds of the probe where that run's stages take what is said of them; None: not measured."""
        return next((stage.probe for stage in self.stages if stage.run == run), None)


class Hardware(NamedTuple):
    """What the model needs to know of a device."""

    training: float
    """FLOP/s."""
    memory: float
    """Bytes."""
    slowdown: float
    """Its seconds for each CPU second of the host (see `device.slowdown`)."""
    quota: Bandwidth | None = None
    """Under which it computes; None: none."""


class Point(NamedTuple):
    """What a stage was measured to take: its roofline and CPU seconds, and how often it was measured."""

    roofline: float
    cpu: float
    weight: float


def roofline(work: Work, flops: float, bandwidth: float) -> float:
    """Seconds that `work` takes at least at `flops` FLOP/s and `bandwidth` bytes/s."""
    return max(work.flops / flops, work.bytes_moved / bandwidth)


class Pricing(Protocol):
    """What decides how long computations take: `Charges`, or whatever else watches them."""

    def seconds(self, node: str, role: str, stage: str, work: Work | None, device: Hardware) -> float:
        """Emulated seconds of this call."""


def fit(points: Sequence[Point]) -> tuple[float, float | None]:
    """Overhead (s) and efficiency of `c = a + x / e`: the line through the largest size, which is the run's own or the
    nearest to it, that comes nearest to the smaller ones, by weighted least squares of the relative errors.

    The overhead is never negative, the efficiency of a line with one never above MOST_EFFICIENT. One size alone tells
    nothing of the overhead: it is then 0. `ValueError` without points, or for one of no time.
    """
    if not points or any(point.cpu <= 0 for point in points):
        raise ValueError("no timing: a stage took no CPU time")
    x = max(point.roofline for point in points)
    largest = [point for point in points if point.roofline >= x * (1 - NEARLY)]
    y = math.fsum(p.weight * p.cpu for p in largest) / math.fsum(p.weight for p in largest)
    if x == 0:
        return y, None
    smaller = [(x - p.roofline, y - p.cpu, p.weight / p.cpu**2) for p in points if p.roofline < x * (1 - NEARLY)]
    if not smaller:
        return 0.0, x / y
    slope = math.fsum(w * dx * dy for dx, dy, w in smaller) / math.fsum(w * dx**2 for dx, _, w in smaller)
    slope = max(slope, 1 / MOST_EFFICIENT)
    overhead = y - slope * x
    return (overhead, 1 / slope) if overhead > 0 else (0.0, x / y)


def host_seconds(cost: StageCost, work: Work | None, model: CostModel) -> float:
    """CPU seconds of a core of the calibrated host for one call, the first left out."""
    if cost.efficiency is None or work is None:
        return cost.overhead
    return cost.overhead + roofline(work, model.core_flops, model.bandwidth) / cost.efficiency


class Charges:
    """What the computations of one run take its nodes. `model` None: without a calibration."""

    def __init__(
        self,
        model: CostModel | None,
        run: str,
        *,
        first_run: bool = True,
        seed: int = 0,
        probes: Mapping[tuple[str, str], Sequence[float]] | None = None,
    ) -> None:
        """`probes`: what the probe took at the calls of each node's stage, in order, where the run was carried out."""
        self._model = model
        self._probes = probes or {}
        self._stages = {(c.role, c.stage): c for c in model.stages if c.run == run} if model else {}
        self._first_run = first_run
        self._drawn_for = f"{seed}/{run}"
        self._calls: Counter[tuple[str, str]] = Counter()
        self._places: dict[tuple[str, str], list[int]] = {}
        """Of each node's stage: which factors it has yet to take, from the last to the next."""

    def seconds(self, node: str, role: str, stage: str, work: Work | None, device: Hardware) -> float:
        """Emulated seconds that this call takes the node's device.

        Raises `InputError`, with what to do, where nothing is known of the stage or it does not fit the memory.
        """
        if work is not None and work.peak_memory > device.memory:
            raise InputError(
                f"{node}: '{stage}' needs {show(work.peak_memory, SIZE, 4)} of memory, its device has "
                f"{show(device.memory, SIZE, 4)}: choose another device, a smaller batch or another cut"
            )
        if self._model is None:
            return self._nominal(node, stage, work, device.training)
        cost = self._stages.get((role, stage))
        if cost is None:
            raise InputError(
                f"{node}: the calibration of this host has no stage '{stage}': run edgebed calibrate on this experiment"
            )
        if cost.efficiency is not None and work is None:
            raise InputError(f"{node}: '{stage}' was calibrated with its work: pass work= to node.compute")
        call = self._calls[node, stage]
        self._calls[node, stage] += 1
        interruption = None if device.quota is None else self._interruption(node)
        spread = (interruption.spread if interruption else ()) or cost.spread
        taken = host_seconds(cost, work, self._model)
        if spread:
            taken *= self._factor(node, stage, call, spread)
        if call == 0:
            taken += cost.cold if self._first_run else cost.first
        if cost.probe and (probes := self._probes.get((node, stage))):
            # Where nodes may be late, there may have been fewer calls than are predicted.
            taken *= probes[min(call, len(probes) - 1)] / cost.probe
        if interruption:
            taken = interruption.lengthened(taken, device.quota)
        return taken * device.slowdown

    def _interruption(self, node: str) -> Interruption:
        assert self._model is not None
        if self._model.interruption is None:
            raise InputError(
                f"{node}: the calibration of this host does not say what a CPU quota's interruptions cost: run "
                f"edgebed calibrate on this experiment, or leave out compute: quota"
            )
        return self._model.interruption

    def _factor(self, node: str, stage: str, call: int, spread: Sequence[float]) -> float:
        left = self._places.get((node, stage))
        if not left:
            of = f"{self._drawn_for}/{node}/{stage}/{call}"
            left = sorted(range(len(spread)), key=lambda place: _draw(f"{of}/{place}"))
            self._places[node, stage] = left
        return spread[left.pop()]

    def _nominal(self, node: str, stage: str, work: Work | None, training: float) -> float:
        if math.isinf(training):
            raise InputError(
                f"{node}: its device has no throughput of its own: name another, or predict with calibration: auto"
            )
        if work is None:
            raise InputError(
                f"{node}: nothing is known of how long '{stage}' takes: pass work= to node.compute, or predict with "
                f"calibration: auto"
            )
        return work.flops / training


def _draw(of: str) -> float:
    """A number in [0, 1) that is the same wherever and whenever it is drawn of the same words."""
    return int.from_bytes(hashlib.blake2b(of.encode(), digest_size=6).digest()) / 2**48
