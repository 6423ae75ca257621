"""How fast the host's cores were while each computation of a run went on, by all the probes that were taken then.

One probe tells of its core at one moment, and computations move from core to core. The mean of those that were taken on
the host while a computation went on, and half as long before and after, tells more. Of what the same work took in one
algorithm more than in another (medians, root mean square), the next probe alone left 1.2, 2.9 and 4.5 % unexplained in
three demos, that mean 1.0, 1.9 and 2.5 %; 4.0 and 3.6 % where CPU quotas made computations take a second. A longer
while did worse in the demos, and better under quotas.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from itertools import accumulate

from emulator.response import Call
from emulator.timeline import Span

BESIDE = 0.5
"""Of a computation's time, before and after it, in which probes count."""
NEARBY = 1.0
"""Seconds of the host before and after it, in which the probes of others tell of about the same moment."""


def sensed(spans: Iterable[Span], scale: float) -> list[tuple[Span, Call]]:
    """The computations of one run at a time scale of `scale`, in the order of their rounds and starts, with what probes
    told of them, geometric means."""
    computed = sorted((span for span in spans if span.cpu is not None), key=lambda span: (span.round, span.start))
    probes = sorted((_computed_until(span, scale), span.probe) for span in computed if span.probe is not None)
    moments = [moment for moment, _ in probes]
    sums = [0.0, *accumulate(math.log(probe) for _, probe in probes)]

    def between(first: float, last: float, but: float | None = None) -> float | None:
        """The mean of the probes from `first` to `last`, without the one of `but` seconds, which is one of them."""
        begin, end = bisect_left(moments, first), bisect_right(moments, last)
        total, count = sums[end] - sums[begin], end - begin
        if but is not None:
            total, count = total - math.log(but), count - 1
        return math.exp(total / count) if count > 0 else None

    found: list[tuple[Span, Call]] = []
    for span in computed:
        assert span.cpu is not None
        end = _computed_until(span, scale)
        beside, nearby = BESIDE * (end - span.start), NEARBY / scale
        others = between(span.start - nearby, end + nearby, span.probe)
        found.append((span, Call(span.cpu, between(span.start - beside, end + beside), span.probe, others)))
    return found


def _computed_until(span: Span, scale: float) -> float:
    """When the host had the result, which is then held back unless a quota was what took the time."""
    assert span.cpu is not None
    return span.end if span.mode == "quota" else min(span.end, span.start + span.cpu / scale)
