"""Whether a run's latencies can be trusted: what the emulation itself added to them, against limits.

The programs of an emulated testbed share one host, whose scheduler and timers add time that no emulated device or
link would have taken. Every run is judged on the same rounds that its latencies are taken from, and a run outside
the limits is INVALID, with the likely cause and what to do.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from emulator import timeline
from emulator.critical_path import critical_path
from emulator.timeline import Span

Unit = Literal["share", "s"]

SATURATED = 0.9
"""The share of a core from which on the hub has nothing left: all that it does is done by one thread."""
STARVED_SECONDS = 0.010
"""A timer of an idle host is late by tenths of milliseconds."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How far a run may be off and still be VALID. Shares are fractions of 1, times are in seconds."""

    # Differences between algorithms of under 5 % are not reported as differences; the emulation may not make any.
    latency_error: float = 0.05
    # Stretched compute is within 1 to 4 % on a host with cores to spare; more means that stages wait for a core.
    compute_overrun: float = 0.05
    # Below this promised duration (seconds) a timer's tenths of milliseconds would pass for an overrun; what they
    # add to the latency is in latency_error.
    overrun_from: float = 0.010
    # A hub of raised priority delivers 0.7 to 1.5 ms late: timers, and the threads a message wakes on its way.
    delivery_lateness: float = 0.002
    # One in twenty may meet a busy core; 58 ms were seen where the hub had no priority over the nodes.
    delivery_lateness_p95: float = 0.010
    # A CPU quota is refilled some ten times in a stage of `share_from` seconds, and shared with the node's event loop.
    cpu_share: float = 0.10
    share_from: float = 0.050
    cpu_share_run: float = 0.05
    # A message of 50 ms is 1 ms late, which is 2 %; over many the rate keeps within 0.1 % to 100 Mbit/s.
    rate_error: float = 0.02
    # Below this promised duration (seconds) a delivery's lateness would pass for an error of the rate.
    rate_from: float = 0.050
    # Where the kernel limits the links, its bursts are 1 %, and TCP takes its time to find the rate.
    kernel_rate_error: float = 0.10
    # There the host's own way adds to that of a short message, instead of hiding in it.
    kernel_lateness: float = 0.005
    # Of the times between two hosts each is off by as much; a delivery may be as late, see above.
    clock_error: float = 0.002


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What the host could give, and what the run asked of it."""

    cores: int
    cores_wanted: float  # sum over nodes of the share of a core that the device needs at the run's time scale
    time_scale: float = 1.0
    hub_priority: str | None = None  # None: raised; else why not
    notes: Sequence[str] = ()  # for the reader of the result; they decide nothing
    hosts: int = 1  # that the nodes were on
    clock_error: float = 0.0  # seconds of the hosts' time by which a node's clock may have been off the hub's
    disturbances: Sequence[str] = ()  # what was done to the nodes from outside, such as a pause of a container
    hub_busy: float = 0.0  # the share of a core that the hub took in its busiest second
    hub_lag: float = 0.0  # seconds of the host by which one of the hub's timers in twenty was late, or later


@dataclass(frozen=True, slots=True)
class Check:
    """One measure of the emulation's error: the smaller, the better."""

    name: str
    value: float
    limit: float
    unit: Unit
    ok: bool
    reason: str = ""  # the likely cause and the remedy, in one line; empty where ok

    def __str__(self) -> str:
        return f"{self.name} {_shown(self.value, self.unit)} (limit {_shown(self.limit, self.unit)})"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the checks say together."""

    valid: bool
    checks: tuple[Check, ...]

    @property
    def word(self) -> str:
        """VALID, INVALID, or that nobody judged."""
        if not self.checks:
            return "not judged"
        return "VALID" if self.valid else "INVALID"

    def summary(self, reasons: int = 2) -> str:
        """One line: VALID, or INVALID with the first reasons and the checks that failed for them."""
        if self.valid or not self.checks:
            return self.word
        failed: dict[str, list[str]] = {}
        for check in self.checks:
            if not check.ok:
                failed.setdefault(check.reason, []).append(str(check))
        shown = [f"{', '.join(checks)}: {reason}" for reason, checks in list(failed.items())[:reasons]]
        more = len(failed) - len(shown)
        return f"INVALID: {'; '.join(shown)}" + (f"; and {more} more" if more else "")


UNJUDGED = Verdict(False, ())
"""Of a run that did not come to its end."""


def judge(
    spans: Sequence[Span],
    facts: HostFacts,
    limits: Limits = DEFAULT_LIMITS,
    ideal: Sequence[tuple[Span, float]] = (),
) -> Verdict:
    """The verdict on one run. A check without data is left out; `ValueError` if there is no timing at all.

    `ideal` has the messages whose links were the kernel's, and when they should have come (see `kernel_fidelity`).
    """
    by_round = timeline.rounds(spans)
    counted = [span for of_round in by_round.values() for span in of_round]
    cause = _cause(facts)
    checks = [_check("latency_error", _latency_error(by_round), limits.latency_error, "share", cause)]

    overrun = _compute_overrun(counted, limits.overrun_from)
    if overrun is not None:
        checks.append(_check("compute_overrun", overrun, limits.compute_overrun, "share", cause))

    checks += _cpu_shares(counted, limits, cause)

    lateness = [span.lateness for span in counted if span.is_message and span.lateness is not None]
    if lateness:
        median, p95 = statistics.median(lateness), float(np.percentile(lateness, 95))
        checks.append(_check("delivery_lateness", median, limits.delivery_lateness, "s", cause))
        checks.append(_check("delivery_lateness_p95", p95, limits.delivery_lateness_p95, "s", cause))

    stretch = _rate_stretch(counted, limits.rate_from)
    if stretch is not None:
        why = cause if stretch > 1 else "messages arrive before they are due: their times do not fit together"
        checks.append(_check("rate_error", abs(stretch - 1), limits.rate_error, "share", why))
    checks += _kernel_links(ideal, limits, cause)
    if facts.hosts > 1:
        why = f"the clocks of {facts.hosts} hosts are known no better: join them by a faster network, or use one host"
        checks.append(_check("clock_error", facts.clock_error / facts.time_scale, limits.clock_error, "s", why))
    return _verdict(checks)


def combine(verdicts: Mapping[str, Verdict]) -> Verdict:
    """One verdict on several runs: of each check the worst value, its reason naming the run."""
    if not verdicts:
        raise ValueError("no verdict to combine")
    worst: dict[str, Check] = {}
    for run, verdict in verdicts.items():
        for check in verdict.checks:
            if check.name not in worst or check.value > worst[check.name].value:
                worst[check.name] = replace(check, reason="" if check.ok else f"{run}: {check.reason}")
    return _verdict(worst.values())


def _latency_error(by_round: Mapping[int, Sequence[Span]]) -> float:
    """The share of the latencies that is a gap in a critical path, or lateness at its end.

    Lateness before the end is not lost: the next step has made up for it, or a gap or its own lateness shows it.
    """
    added: list[float] = []
    for of_round in by_round.values():
        path = critical_path(of_round)
        added += [step.gap for step in path]
        added.append(max(0.0, path[-1].lateness or 0.0))
    total = math.fsum(timeline.round_latency(of_round) for of_round in by_round.values())
    return math.fsum(added) / total if total > 0 else 0.0


def _compute_overrun(spans: Iterable[Span], shortest: float) -> float | None:
    """How much longer than promised stretched stages of at least `shortest` seconds took, as a share of the promise.

    None without any.
    """
    stretched = [
        span
        for span in spans
        if span.mode == "stretched" and span.due is not None and span.due - span.start >= shortest
    ]
    promised = math.fsum(span.due - span.start for span in stretched if span.due is not None)
    return math.fsum(max(0.0, span.lateness or 0.0) for span in stretched) / promised if promised > 0 else None


def _cpu_shares(spans: Iterable[Span], limits: Limits, cause: str) -> list[Check]:
    """How far the share of a core that computing under a quota achieved is from the device's: of the node that is
    furthest off the median of its stages of some length, and all its stages together. Empty without any such stage.
    """
    of_node: dict[str, list[Span]] = {}
    for span in spans:
        if span.mode == "quota" and span.due is not None:
            of_node.setdefault(span.node, []).append(span)
    long = {
        node: [span for span in stages if span.due is not None and span.due - span.start >= limits.share_from]
        for node, stages in of_node.items()
    }
    checks = []
    for name, limit, stages_of, error in (
        (
            "cpu_share",
            limits.cpu_share,
            long,
            lambda stages: statistics.median(_share_error([span]) for span in stages),
        ),
        ("cpu_share_run", limits.cpu_share_run, of_node, _share_error),
    ):
        errors = {node: error(stages) for node, stages in stages_of.items() if stages}
        if errors:
            worst = max(errors, key=lambda node: errors[node])
            checks.append(_check(name, errors[worst], limit, "share", f"{worst}: {cause}"))
    return checks


def _share_error(stages: Sequence[Span]) -> float:
    """How far the CPU time per time of `stages` is from what the device has, as a share of that."""
    promised = math.fsum(span.due - span.start for span in stages if span.due is not None)
    taken = math.fsum(span.duration for span in stages)
    return abs(promised / taken - 1) if taken > 0 else 0.0


def _rate_stretch(spans: Iterable[Span], shortest: float) -> float | None:
    """The median of actual over promised duration, of messages promised to take over `shortest` seconds."""
    ratios = [
        span.duration / (span.due - span.start)
        for span in spans
        if span.is_message and span.due is not None and span.due - span.start > shortest
    ]
    return statistics.median(ratios) if ratios else None


def _kernel_links(ideal: Sequence[tuple[Span, float]], limits: Limits, cause: str) -> list[Check]:
    """How far the kernel's links are from those of the profiles: by rate for messages that take long, else by time."""
    messages = [(span, due) for span, due in ideal if span.round >= 1]
    ratios = [span.duration / (due - span.start) for span, due in messages if due - span.start > limits.rate_from]
    late = [span.end - due for span, due in messages if due - span.start <= limits.rate_from]
    checks: list[Check] = []
    if ratios:
        ratio = statistics.median(ratios)
        why = f"TCP does not reach the links' rate: use links: bus for these profiles; or {cause}"
        if ratio < 1:
            why = "the kernel lets messages through faster than the profiles say: see tc -s qdisc in the containers"
        checks.append(_check("kernel_rate_error", abs(ratio - 1), limits.kernel_rate_error, "share", why))
    if late:
        lateness = max(0.0, statistics.median(late))
        checks.append(_check("kernel_lateness", lateness, limits.kernel_lateness, "s", cause))
    return checks


def _cause(facts: HostFacts) -> str:
    """The likeliest reason for lateness on this host, and the remedy."""
    if facts.disturbances:
        return "; ".join(facts.disturbances)
    lag = f"one in twenty of its timers over {1000 * facts.hub_lag:.2g} ms late"
    if facts.hub_busy >= SATURATED:
        return (
            f"hub saturated: {facts.hub_busy:.2f} of a core busy in its busiest second, {lag}: run with fewer nodes, "
            f"slower links or time_scale: {_rounded_up(2 * facts.time_scale):g}"
        )
    if facts.cores_wanted > facts.cores:
        scale = _rounded_up(facts.time_scale * facts.cores_wanted / facts.cores)
        return (
            f"host oversubscribed: {facts.cores_wanted:.3g} cores wanted, {facts.cores} there: "
            f"run with time_scale: auto or {scale:g}"
        )
    if facts.hub_priority is not None:
        return f"hub without raised priority ({facts.hub_priority})"
    busy = "the host was busy with other work"
    return f"{busy}, and the hub starved: {lag}" if facts.hub_lag > STARVED_SECONDS else busy


def _rounded_up(value: float) -> float:
    """`value`, up to the next number of two digits, so that what it is advised for fits."""
    digits = 1 - math.floor(math.log10(value))
    return round(math.ceil(round(value * 10.0**digits, 6)) / 10.0**digits, max(digits, 0))


def _check(name: str, value: float, limit: float, unit: Unit, cause: str) -> Check:
    ok = value <= limit
    return Check(name, value, limit, unit, ok, "" if ok else cause)


def _verdict(checks: Iterable[Check]) -> Verdict:
    kept = tuple(checks)
    return Verdict(all(check.ok for check in kept), kept)


def _shown(value: float, unit: Unit) -> str:
    return f"{100 * value:.3g} %" if unit == "share" else f"{1000 * value:.3g} ms"
