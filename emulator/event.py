"""What happened to a testbed while it ran: in its timeline a span off the clock that is no work of a node's."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

from emulator.timeline import Span, round_latency


def is_event(span: Span) -> bool:
    """Whether a span says what happened, such as a change of a link: it has words for the reader, or no length."""
    return span.off_clock and not span.is_message and (bool(span.detail) or span.end == span.start)


def title(event: Span) -> str:
    """What it was, in a word or two, and of whom."""
    return f"{event.node}: {event.stage.replace('_', ' ')}"


class Placed(NamedTuple):
    """An event among rounds that stand one after the other: the round from which it counts, and when that is."""

    event: Span
    round: int
    at: float  # seconds


def placed(
    events: Iterable[Span], rounds: Mapping[int, Sequence[Span]], starts: Mapping[int, float]
) -> Iterator[Placed]:
    """The events, by the rounds that began before them; each round's place is its entry in `starts` (seconds).

    Between two rounds one counts from the next; before the first of a run from that; after the last as at its end.
    Where the `rounds` do not begin with the first, what was before them is left out.
    """
    numbers = sorted(rounds)
    began = list(accumulate((min(span.start for span in rounds[number]) for number in numbers), max))
    for event in events:
        place = bisect_right(began, event.start)
        if not numbers or (place == 0 and numbers[0] > 1):
            continue
        number, since = numbers[max(0, place - 1)], max(0.0, event.start - began[max(0, place - 1)])
        latency = round_latency(rounds[number])
        if since >= latency and place < len(numbers):
            yield Placed(event, numbers[place], starts[numbers[place]])
        else:
            yield Placed(event, number, starts[number] + min(since, latency))
