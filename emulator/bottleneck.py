"""Which link a message waited for: of those on its way the one that most time went by on.

Pure. A link may be shared, so what counts is not the message alone but all that the link had to carry while it was on
its way: from the timeline, each message's bytes spread evenly over its own time. That, at what losses leave of the
link's rate, and the link's delay are its seconds. Links are as a plan has them at the beginning of a run; of a rate
that follows a trace, the mean counts.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from emulator.profiles import Channel
from emulator.rate import mean_rate
from emulator.timeline import Span
from emulator.transport import payload, repair_delay

Way = Callable[[str, str], Sequence[tuple[str, Channel]]]
"""From a sender to a receiver: the links on the way, in order, each with its name (see `Plan.way`)."""


class Carried:
    """How much of some messages had come by any time."""

    def __init__(self, messages: Sequence[Span]) -> None:
        taking = [span for span in messages if span.duration > 0]  # what takes no time holds nobody up
        starts, ends = (np.array([getattr(span, name) for span in taking], float) for name in ("start", "end"))
        rates = np.array([span.bytes for span in taking], float) / (ends - starts)
        times = np.concatenate([starts, ends])
        order = np.argsort(times)
        self._times = times[order]
        slopes = np.cumsum(np.concatenate([rates, -rates])[order])
        self._bytes = np.concatenate([[0.0], np.cumsum(slopes[:-1] * np.diff(self._times))])

    def between(self, start: float, end: float) -> float:
        """The bytes that came from `start` to `end` (seconds)."""
        if not self._times.size:
            return 0.0
        before, after = np.interp([start, end], self._times, self._bytes)
        return float(after - before)


class Bottlenecks:
    """What each of a run's `messages` on the clock waited for."""

    def __init__(self, messages: Iterable[Span], way: Way) -> None:
        self._way = way
        self._ways: dict[tuple[str, str], Sequence[tuple[str, Channel]]] = {}
        self._over: defaultdict[str, list[Span]] = defaultdict(list)
        self._carried: dict[str, Carried] = {}
        for span in messages:
            for link, _ in self._links(span):
                self._over[link].append(span)

    def of(self, message: Span) -> str:
        """The name of the link that one of the messages waited for; of equal ones, the first on its way."""
        links = self._links(message)
        return max(links, key=lambda link: self._seconds(message, *link))[0]

    def _seconds(self, message: Span, link: str, channel: Channel) -> float:
        """Seconds of `message` that go by on a link on its way."""
        if link not in self._carried:
            self._carried[link] = Carried(self._over[link])
        nbytes = self._carried[link].between(message.start, message.end)
        delay = channel.delay + repair_delay(channel.delay, channel.loss, channel.burst)
        return 8 * nbytes / payload(channel, mean_rate(channel)) + delay

    def _links(self, message: Span) -> Sequence[tuple[str, Channel]]:
        pair = message.node, message.peer
        if pair not in self._ways:
            self._ways[pair] = self._way(*pair)
        return self._ways[pair]
