"""What happened to a testbed while it ran: in its timeline a span off the clock, with words for the reader."""

from collections.abc import Mapping, Sequence

from emulator.timeline import Span, round_latency


def is_event(span: Span) -> bool:
    """Whether a span is there to be read, such as a change of a link, and no part of what was measured."""
    return span.off_clock and bool(span.detail)


def title(event: Span) -> str:
    """What it was, in a word or two, and of whom."""
    return f"{event.node}: {event.stage.replace('_', ' ')}"


def moment(event: Span, rounds: Mapping[int, Sequence[Span]], starts: Mapping[int, float]) -> float | None:
    """When it took effect, in seconds of rounds that stand one after the other, each from its entry in `starts` on.

    One after the end of its round counts as at that end. None: its round is not among the `rounds`.
    """
    of_round = rounds.get(event.round)
    if not of_round:
        return None
    since = event.start - min(span.start for span in of_round)
    return starts[event.round] + min(max(0.0, since), round_latency(of_round))
