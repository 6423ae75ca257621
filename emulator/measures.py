"""What the emulation itself added to a timeline: figures from spans alone, for verdicts and for the self-test.

Times are emulated seconds. Where a figure has no data it is None: nothing measured is not 0.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

from emulator import timeline
from emulator.critical_path import critical_path
from emulator.timeline import Span


def latency_error(by_round: Mapping[int, Sequence[Span]]) -> float:
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


def compute_overrun(spans: Iterable[Span], shortest: float) -> float | None:
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


def share_error(stages: Sequence[Span]) -> float:
    """How far the CPU time per time of `stages` is from what the device has, as a share of that."""
    promised = math.fsum(span.due - span.start for span in stages if span.due is not None)
    taken = math.fsum(span.duration for span in stages)
    return abs(promised / taken - 1) if taken > 0 else 0.0


def rate_stretch(spans: Iterable[Span], shortest: float) -> float | None:
    """The median of actual over promised duration, of messages promised to take over `shortest` seconds."""
    ratios = [
        span.duration / (span.due - span.start)
        for span in spans
        if span.is_message and span.due is not None and span.due - span.start > shortest
    ]
    return statistics.median(ratios) if ratios else None


def timer_overshoot(spans: Iterable[Span]) -> list[float]:
    """How much later than due each stretched computation was let go."""
    return [span.lateness for span in spans if span.mode == "stretched" and span.lateness is not None]


def message_lateness(spans: Iterable[Span]) -> list[float]:
    """How much later than due each message arrived."""
    return [span.lateness for span in spans if span.is_message and span.lateness is not None]
