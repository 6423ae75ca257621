"""What the self-test's timeline says, figure by figure: what was configured, what achieved, and how far that is off.

Pure. Emulated seconds, bit/s and bytes; CPU shares in cores of the host. When a message was due is what the links'
model makes of it, in a network of the plan's own and by the same draws of jitter (see `replay`); rates and delays are
compared with the profiles' own figures as well, which owe nothing to that model.
"""

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from emulator import quota
from emulator.plan import Plan
from emulator.replay import as_sent, network_of, replay
from emulator.selftest import jitter
from emulator.selftest.program import ALONE, DELAY, MEMORY_IN_FORCE, MEMORY_REFUSED, SPIN, TICK, TOGETHER
from emulator.selftest.ways import Hop, Way, entitled, jain, ways_of
from emulator.timeline import Metric, Span
from emulator.verdict import Limits, Unit

Quantity = Literal["bit/s", "s", "share", "cores", "bytes", ""]


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing that was measured. Without a limit it is for the reader; without a value it was not checked."""

    name: str
    of: str
    """The way, node or link that it is a figure of."""
    configured: float | None
    achieved: float | None
    quantity: Quantity
    error: float | None = None
    """Of the sign of `achieved` less `configured`, as a share of it or in seconds."""
    limit: float | None = None
    """Of the error's size."""
    unit: Unit = "share"
    """Of error and limit."""
    note: str = ""
    """What to know, such as why it was not checked."""

    @property
    def ok(self) -> bool | None:
        """None: not judged."""
        return None if self.error is None or self.limit is None else abs(self.error) <= self.limit


@dataclass(frozen=True, slots=True)
class Sent:
    """A message, and when links of the plan deliver it: with the jitter that was drawn for it, and without."""

    span: Span
    due: float
    still: float

    @property
    def delay(self) -> float:
        """What it took, less what jitter added."""
        return self.span.duration - (self.due - self.still)

    @property
    def ideal(self) -> float:
        """What it should take, jitter left out, by the links' model."""
        return self.still - self.span.start


def sent(spans: Iterable[Span], plan: Plan) -> list[Sent]:
    """All messages on the clock, in the order of their sending."""
    crossed = (span for span in spans if span.is_message and not span.off_clock)
    messages = as_sent(crossed, (node.name for node in plan.nodes))
    dues = replay(messages, network_of(plan))
    stills = replay(messages, network_of(plan, still=True))
    return [Sent(*each) for each in zip(messages, dues, stills, strict=True)]


def of_links(messages: Sequence[Sent], plan: Plan, limits: Limits) -> list[Figure]:
    """Rate, delay, jitter, loss and promises of each way, and lateness and fairness while all are sending."""
    ways = ways_of(plan)
    on_way: defaultdict[tuple[str, str], list[Sent]] = defaultdict(list)
    for message in messages:
        on_way[message.span.node, message.span.peer].append(message)
    found: list[Figure] = []
    for way in ways:
        own = on_way[way.sender, way.receiver]
        alone, to_and_fro, together = ([m for m in own if m.span.stage == stage] for stage in (ALONE, DELAY, TOGETHER))
        if alone:
            largest = float(max(message.span.bytes for message in alone))
            found.append(Figure("largest_message", way.name, None, largest, "bytes"))
            found += [_promise(way, alone, limits), *_rate(way, alone, limits), _delay(way, alone, limits)]
        if to_and_fro:
            found += _jitter(way, to_and_fro, limits, plan.scale)
        if together:
            found += _lateness(way, together, limits)
    for up in (True, False):
        found += _fairness([way for way in ways if (way.sender == way.client) is up], on_way, limits)
    return found


def _promise(way: Way, alone: Sequence[Sent], limits: Limits) -> Figure:
    """How far the hub's word is from that of the plan's links, at most: of one message at a time they say the same."""
    said = [message.span.due - message.due for message in alone if message.span.due is not None]
    if not said:
        return Figure("promise_error", way.name, None, None, "s", note="the profiles promise nothing")
    worst = max(said, key=abs)
    return Figure("promise_error", way.name, 0.0, worst, "s", worst, limits.promise_error, "s")


def _rate(way: Way, alone: Sequence[Sent], limits: Limits) -> list[Figure]:
    """By what the largest message took longer than the smallest, which is free of whatever both of them take."""
    largest, smallest = (pick(message.span.bytes for message in alone) for pick in (max, min))
    seconds = _beyond(alone, largest, smallest, lambda message: message.delay)
    achieved = (largest - smallest) * 8 / seconds if seconds > 0 else None
    if math.isinf(way.goodput):
        return [Figure("rate_error", way.name, math.inf, achieved, "bit/s", note="unlimited: not checked")]
    if largest == smallest or achieved is None:
        return [Figure("rate_error", way.name, way.rate, None, "bit/s", note="too slow for a larger message")]
    # A message may be as late as any, whatever it takes; the longer it takes, the less that is of its rate.
    limit = limits.rate_error + limits.delivery_lateness / seconds
    if way.traced:
        configured = (largest - smallest) * 8 / _beyond(alone, largest, smallest, lambda message: message.ideal)
        note = "follows a trace: its rate at the time"
        return [
            Figure("rate_error", way.name, configured, achieved, "bit/s", achieved / configured - 1, limit, note=note)
        ]
    rate = Figure("rate_error", way.name, way.rate, achieved, "bit/s", achieved / way.goodput - 1, limit)
    if way.goodput == way.rate:
        return [rate]
    kept, expected = achieved / way.rate, way.goodput / way.rate
    return [rate, Figure("loss_effect", way.name, expected, kept, "share", kept / expected - 1, limit)]


def _beyond(alone: Sequence[Sent], largest: int, smallest: int, seconds: Callable[[Sent], float]) -> float:
    """How much longer messages of `largest` bytes take than those of `smallest`: their medians."""
    medians = [statistics.median(seconds(m) for m in alone if m.span.bytes == size) for size in (largest, smallest)]
    return medians[0] - medians[1]


def _delay(way: Way, alone: Sequence[Sent], limits: Limits) -> Figure:
    nbytes = min(message.span.bytes for message in alone)
    small = [message for message in alone if message.span.bytes == nbytes]
    configured = statistics.median(m.ideal for m in small) if way.traced else way.delay + nbytes * 8 / way.goodput
    achieved = statistics.median(message.delay for message in small)
    error = achieved - configured
    return Figure("delay_error", way.name, configured, achieved, "s", error, limits.delivery_lateness, "s")


def _jitter(way: Way, to_and_fro: Sequence[Sent], limits: Limits, scale: float) -> list[Figure]:
    """Mean, standard deviation and distance of the delays from the profiles' normal ones, clipped at 0.

    What the host adds to all of them alike is in `delay_error`; those that met a busy core, one in twenty, are left out
    (lateness has nothing to do with the jitter that was drawn).
    """
    by_lateness = sorted(to_and_fro, key=lambda message: message.span.end - message.due)
    to_and_fro = by_lateness[: max(2, len(by_lateness) * 19 // 20)]
    added = statistics.median(message.span.end - message.due for message in to_and_fro)
    bits = to_and_fro[0].span.bytes * 8
    sending = [message.ideal - way.delay if way.traced else bits / way.goodput for message in to_and_fro]
    delays = [message.span.duration - own - added for message, own in zip(to_and_fro, sending, strict=True)]
    mean, sd = jitter.mean_and_sd(way.normals)
    count = len(delays)
    measured = statistics.stdev(delays)
    found = [Figure("jitter_mean", way.name, mean, statistics.fmean(delays), "s")]
    if sd * scale < limits.jitter_from:
        note = f"finer than this host's timers: not checked ({count} messages)" if sd else f"none ({count} messages)"
        return [*found, Figure("jitter_sd", way.name, sd, measured, "s", note=note)]
    # Four standard errors of a standard deviation.
    limit = limits.jitter_sd + 4 / math.sqrt(2 * count)
    found.append(Figure("jitter_sd", way.name, sd, measured, "s", measured / sd - 1, limit))
    distance = jitter.distance(delays, way.normals)
    limit = limits.jitter_distance + jitter.by_chance(count)
    note = f"Kolmogorov-Smirnov, {count} messages"
    return [*found, Figure("jitter_distance", way.name, 0.0, distance, "", distance, limit, note=note)]


def _lateness(way: Way, together: Sequence[Sent], limits: Limits) -> list[Figure]:
    late = [message.span.end - message.due for message in together]
    median, p95 = statistics.median(late), float(np.percentile(late, 95))
    return [
        Figure("together_lateness", way.name, 0.0, median, "s", median, limits.together_lateness, "s"),
        Figure("together_lateness_p95", way.name, 0.0, p95, "s", p95, limits.delivery_lateness_p95, "s"),
    ]


def _fairness(ways: Sequence[Way], on_way: Mapping[tuple[str, str], Sequence[Sent]], limits: Limits) -> list[Figure]:
    """What all together got of the shared link, and how evenly."""
    busy: dict[str, tuple[Way, list[Sent]]] = {}
    for way in ways:
        own = [message for message in on_way[way.sender, way.receiver] if message.span.stage == TOGETHER]
        if own and math.isfinite(way.goodput):
            busy[way.name] = way, own
    if len(busy) < 2:
        return []
    users: defaultdict[str, int] = defaultdict(int)
    hops: dict[str, Hop] = {}
    for way, _ in busy.values():
        for hop in way.hops:
            users[hop.name] += 1
            hops[hop.name] = hop
    # The tightest of those that most share: the server's own, or a segment's.
    shared = min(users, key=lambda name: (-users[name], hops[name].goodput))
    rates = entitled(way for way, _ in busy.values())
    got: dict[str, float] = {}
    for name, (way, own) in busy.items():
        got[name] = _throughput(way, own, lambda message: message.span.end)
        if way.traced:
            rates[name] = _throughput(way, own, lambda message: message.due)
    wanted = math.fsum(rates.values())
    index = jain(got[name] / rates[name] for name in got)
    tight = wanted >= 0.999 * hops[shared].goodput
    total = _of_all(busy) if tight else math.fsum(got.values())
    how = "shared fairly" if hops[shared].channel.sharing == "fair" else "first come, first served"
    note = f"{len(busy)} senders, {how}" + ("" if tight else ", wide enough for all")
    return [
        Figure("together_rate", shared, wanted, total, "bit/s", note=note),
        Figure("unfairness", shared, 1.0, index, "", index - 1, limits.unfairness, note=note),
    ]


def _throughput(way: Way, own: Sequence[Sent], end: Callable[[Sent], float]) -> float:
    """Bit/s of messages sent one after the other."""
    seconds = max(end(message) for message in own) - min(message.span.start for message in own) - way.delay
    return math.fsum(message.span.bytes for message in own) * 8 / max(seconds, 1e-9)


def _of_all(busy: Mapping[str, tuple[Way, list[Sent]]]) -> float:
    """Bit/s of all that was sent at once, from the first start to the last end."""
    every = [message.span for _, own in busy.values() for message in own]
    seconds = max(span.end for span in every) - min(span.start for span in every)
    return math.fsum(span.bytes for span in every) * 8 / (seconds - min(way.delay for way, _ in busy.values()))


def of_devices(spans: Sequence[Span], metrics: Iterable[Metric], plan: Plan, limits: Limits) -> list[Figure]:
    """CPU share alone and while all compute, timers, and memory, of each node."""
    phases: Sequence[Mapping[str, Any]] = plan.runs[0].config["workload"]["phases"]
    noted = {(metric.node, metric.name): metric.value for metric in metrics}
    found: list[Figure] = []
    for node in plan.nodes:
        configured = 1 / (node.slowdown * plan.scale)
        for number, phase in enumerate(phases, start=1):
            load = phase.get("nodes", {}).get(node.name)
            if load is None:
                continue
            own = [span for span in spans if span.node == node.name and span.round == number]
            seconds = math.fsum(span.duration for span in own if span.stage == SPIN) * plan.scale
            share = load["spins"] * load["spin_cpu"] / seconds
            name = "cpu_share" if len(phase["nodes"]) == 1 else "cpu_share_together"
            error = share / configured - 1
            limit = limits.cpu_share_run
            if plan.compute == "quota":  # two of its periods may be lost, see `loads`
                limit += 2 * quota.bandwidth(configured).period * configured / load["spin_cpu"]
            found.append(Figure(name, node.name, configured, share, "cores", error, limit))
            late = [span.lateness or 0.0 for span in own if span.stage == TICK and span.mode != "quota"]
            if late:
                median = statistics.median(late)
                note = f"at most {1e3 * max(late):.2g} ms"
                limit = limits.timer_overshoot
                found.append(Figure("timer_overshoot", node.name, 0.0, median, "s", median, limit, "s", note))
        found.append(_memory(node.name, node.device.memory, noted, limits))
    return found


def _memory(node: str, limit: float, noted: Mapping[tuple[str, str], float], limits: Limits) -> Figure:
    """The limit in force; its error is 1 where more was given all the same."""
    in_force, refused = noted.get((node, MEMORY_IN_FORCE)), noted.get((node, MEMORY_REFUSED))
    if math.isinf(limit):
        return Figure("memory_limit", node, limit, None, "bytes", note="not limited")
    if in_force is None:
        return Figure("memory_limit", node, limit, None, "bytes", note="not tested alone: not checked")
    error = 1.0 if refused == 0 else in_force / limit - 1
    note = {None: "read: too much to be filled", 0.0: "more given"}.get(refused, "refused")
    return Figure("memory_limit", node, limit, in_force, "bytes", error, limits.memory, note=note)
