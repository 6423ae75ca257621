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
from emulator.causes import HostFacts as HostFacts  # whoever asks for a verdict gives them
from emulator.causes import clock_cause, likely_cause, promise_cause, saturated
from emulator.measures import (
    compute_overrun,
    latency_error,
    message_lateness,
    rate_stretch,
    share_error,
    timer_overshoot,
)
from emulator.replay import Promise
from emulator.timeline import Span

Unit = Literal["share", "s"]


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
    # A timer and the thread that it wakes are some tenths of a millisecond late.
    timer_overshoot: float = 0.002
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
    # What the hub promises is what ideal links of the profiles make of the same messages, jitter aside: no time is lost
    # there. Messages that share a link may come to the hub in another order than they were sent.
    promise_error: float = 0.001
    # The self-test alone: of a standard deviation and of a distribution, on top of what chance explains; how much
    # jitter (seconds of the host) is more than the timers'; and how far Jain's index may be from 1.
    jitter_sd: float = 0.05
    jitter_distance: float = 0.05
    jitter_from: float = 0.001
    unfairness: float = 0.01
    # While all are sending, each message wakes its receiver in between others.
    together_lateness: float = 0.004
    # A limit is set in whole pages.
    memory: float = 0.01
    # Where the kernel limits the links, its bursts are 1 %, and TCP takes its time to find the rate.
    kernel_rate_error: float = 0.10
    # There the host's own way adds to that of a short message, instead of hiding in it.
    kernel_lateness: float = 0.005
    # Of the times between two hosts each is off by as much; a delivery may be as late, see above.
    clock_error: float = 0.002


DEFAULT_LIMITS = Limits()


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
    promised: Sequence[Promise] = (),
) -> Verdict:
    """The verdict on one run. A check without data is left out; `ValueError` if there is no timing at all.

    `ideal` has the messages whose links were the kernel's, and when they should have come (see `kernel_fidelity`);
    `promised` those whose links were the hub's, and what the profiles make of them (see `replay`).
    """
    by_round = timeline.rounds(spans)
    counted = [span for of_round in by_round.values() for span in of_round]
    cause, of_computing = likely_cause(facts), likely_cause(replace(facts, hub=None))  # which needs no hub
    checks = [check("latency_error", latency_error(by_round), limits.latency_error, "share", cause)]

    overrun = compute_overrun(counted, limits.overrun_from)
    if overrun is not None:
        checks.append(check("compute_overrun", overrun, limits.compute_overrun, "share", of_computing))

    overshoot = timer_overshoot(counted)
    if overshoot:
        median = max(0.0, statistics.median(overshoot))
        checks.append(check("timer_overshoot", median, limits.timer_overshoot, "s", of_computing))

    checks += _cpu_shares(counted, limits, of_computing)

    lateness = message_lateness(counted)
    if lateness:
        median, p95 = statistics.median(lateness), float(np.percentile(lateness, 95))
        checks.append(check("delivery_lateness", median, limits.delivery_lateness, "s", cause))
        checks.append(check("delivery_lateness_p95", p95, limits.delivery_lateness_p95, "s", cause))

    stretch = rate_stretch(counted, limits.rate_from)
    if stretch is not None:
        why = cause if stretch > 1 else "messages arrive before they are due: their times do not fit together"
        checks.append(check("rate_error", abs(stretch - 1), limits.rate_error, "share", why))
    checks += _promises(promised, limits, facts)
    checks += _kernel_links(ideal, limits, cause)
    if facts.hosts > 1 or facts.clock_error > 0:
        why = clock_cause(facts)
        checks.append(check("clock_error", facts.clock_error / facts.time_scale, limits.clock_error, "s", why))
    return verdict_of(checks)


def combine(verdicts: Mapping[str, Verdict]) -> Verdict:
    """One verdict on several runs: of each check the worst value, its reason naming the run."""
    if not verdicts:
        raise ValueError("no verdict to combine")
    worst: dict[str, Check] = {}
    for run, verdict in verdicts.items():
        for check in verdict.checks:
            if check.name not in worst or check.value > worst[check.name].value:
                worst[check.name] = replace(check, reason="" if check.ok else f"{run}: {check.reason}")
    return verdict_of(worst.values())


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
            lambda stages: statistics.median(share_error([span]) for span in stages),
        ),
        ("cpu_share_run", limits.cpu_share_run, of_node, share_error),
    ):
        errors = {node: error(stages) for node, stages in stages_of.items() if stages}
        if errors:
            worst = max(errors, key=lambda node: errors[node])
            checks.append(check(name, errors[worst], limit, "share", f"{worst}: {cause}"))
    return checks


def _promises(promised: Sequence[Promise], limits: Limits, facts: HostFacts) -> list[Check]:
    """How far what the hub promised is from what the profiles make of the same messages, over the way from one node to
    another on which that is furthest: the median, as far as jitter does not explain it. Empty without any message.
    """
    of_way: dict[tuple[str, str], list[Promise]] = {}
    for promise in promised:
        of_way.setdefault((promise.span.node, promise.span.peer), []).append(promise)
    errors: dict[tuple[str, str], float] = {}
    for way, own in of_way.items():
        later = statistics.median((promise.span.due or 0.0) - promise.due for promise in own)
        # Five standard errors of a median (that of n normal draws is 1.2533 times that of their mean).
        chance = 5 * 1.2533 * max(promise.jitter for promise in own) / math.sqrt(len(own))
        errors[way] = math.copysign(max(0.0, abs(later) - chance), later)
    if not errors:
        return []
    worst = max(errors, key=lambda way: abs(errors[way]))
    later, (sender, receiver) = errors[worst], worst
    why = likely_cause(facts) if saturated(facts) else f"from {sender} to {receiver} {promise_cause(later)}"
    return [check("promise_error", abs(later), limits.promise_error, "s", why)]


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
        checks.append(check("kernel_rate_error", abs(ratio - 1), limits.kernel_rate_error, "share", why))
    if late:
        lateness = max(0.0, statistics.median(late))
        checks.append(check("kernel_lateness", lateness, limits.kernel_lateness, "s", cause))
    return checks


def check(name: str, value: float, limit: float, unit: Unit, cause: str) -> Check:
    """The check of a `value` against its `limit`; `cause` is the reason should it fail."""
    ok = value <= limit
    return Check(name, value, limit, unit, ok, "" if ok else cause)


def verdict_of(checks: Iterable[Check]) -> Verdict:
    """What `checks` say together."""
    kept = tuple(checks)
    return Verdict(all(check.ok for check in kept), kept)


def _shown(value: float, unit: Unit) -> str:
    if unit == "share":
        return f"{100 * value:.3g} %"
    return f"{1000 * value:.3g} ms" if value < 1 else f"{value:.3g} s"
