"""How fast the host's cores were while each computation of a run went on, by the probes that were taken about then.

One probe tells of its core at one moment, and who computes for a second under a CPU quota moves from core to core. All
probes that were taken on the host tell more, the nearer the more: each counts as

    1 / (seconds from it to the computation + NEAR times the computation's)

and ELSEWHERE of that where another node took it, for a node stays on its core for a while. So a computation of
milliseconds is told by its own probe for the most part, and a long one by those of all nodes meanwhile. By how much
what the same work took differs from call to call (root mean square), as it is, beside that, beside its own probe alone:

    four demos, milliseconds            13 to 17 %    9 to 11    10 to 13
    VGG-16, 40 ms to a second           19            15         18
    VGG-16 under quotas, a second       12            11         21
"""

import math
import statistics
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from emulator.timeline import Span

NEAR = 0.25
"""A probe that is no further away counts half as much as one during the computation, at least."""
SHORTEST = 1e-3
"""Seconds that a computation is taken to last at least: a probe takes some time, too."""
ELSEWHERE = 1 / 3
"""How much the probe of another node counts beside one's own of the same moment."""
NEAREST = 64
"""As many before a computation and after it are counted; those beyond count for little."""


class Call(NamedTuple):
    """A computation, in CPU seconds."""

    cpu: float
    probe: float | None
    """What the probe took the host meanwhile; None: nothing is known of it."""

    def where(self, probe: float | None) -> float:
        """CPU seconds that it would have taken where the probe takes `probe`; those that it took, unless both are
        known."""
        return self.cpu if self.probe is None or probe is None else self.cpu * probe / self.probe


def usual(calls: Iterable[Call]) -> float | None:
    """CPU seconds that the probe took next to most of them, about; None where it is not known of any."""
    probes = [call.probe for call in calls if call.probe is not None]
    return statistics.median(probes) if probes else None


def times_as_long(calls: Iterable[Call], probe: float) -> float | None:
    """How many times as long `calls` took, all together, as they would have where the probe takes `probe` CPU seconds;
    None where nothing is known."""
    known = [call for call in calls if call.probe is not None]
    at_that = math.fsum(call.where(probe) for call in known)
    return math.fsum(call.cpu for call in known) / at_that if at_that > 0 else None


def sensed(spans: Iterable[Span], scale: float) -> list[tuple[Span, Call]]:
    """The computations of one run at a time scale of `scale`, in the order of their rounds and starts, with what probes
    told of them."""
    computed = sorted((span for span in spans if span.cpu is not None), key=lambda span: (span.round, span.start))
    known = sorted((_computed_until(span, scale), span.node, span.probe) for span in computed if span.probe is not None)
    moments = np.array([moment for moment, *_ in known])
    nodes = np.array([node for _, node, _ in known])
    probes = np.log([probe for *_, probe in known])

    def beside(node: str, start: float, end: float) -> float | None:
        near = slice(
            max(int(np.searchsorted(moments, start)) - NEAREST, 0),
            int(np.searchsorted(moments, end, side="right")) + NEAREST,
        )
        if not moments[near].size:
            return None
        away = np.maximum(np.maximum(start - moments[near], moments[near] - end), 0.0)
        weights = np.where(nodes[near] == node, 1.0, ELSEWHERE) / (away + NEAR * max(end - start, SHORTEST / scale))
        return float(np.exp(np.average(probes[near], weights=weights)))

    found: list[tuple[Span, Call]] = []
    for span in computed:
        assert span.cpu is not None
        found.append((span, Call(span.cpu, beside(span.node, span.start, _computed_until(span, scale)))))
    return found


def _computed_until(span: Span, scale: float) -> float:
    """When the host had the result, which is then held back unless a quota was what took the time."""
    assert span.cpu is not None
    return span.end if span.mode == "quota" else min(span.end, span.start + span.cpu / scale)
