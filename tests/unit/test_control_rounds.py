from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.control.rounds import SETTLE_SECONDS, Rounds
from emulator.timeline import Span
from tests.tolerance import assert_close


class Host:
    """A clock that the test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def span(number: int, start: float, end: float, node: str = "a", stage: str = "work", **more: Any) -> Span:
    return Span("run", number, node, stage, start, end, **more)


def test_nothing_is_known_before_the_first_round_is_over() -> None:
    rounds = Rounds(Host())
    assert (rounds.current, rounds.last, rounds.latency(), rounds.busy()) == (0, None, None, {})
    rounds.note(span(1, 0.0, 1.0))
    assert (rounds.current, rounds.last) == (1, None)


def test_a_round_counts_when_a_later_one_has_been_heard_of_for_long_enough() -> None:
    host = Host()
    rounds = Rounds(host)
    rounds.note(span(1, 0.0, 1.0))
    rounds.note(span(2, 2.0, 2.5))
    assert rounds.last is None
    host.now += SETTLE_SECONDS / 2
    rounds.note(span(1, 0.5, 1.5, "b"))  # a node that hands its spans in later
    rounds.note(span(3, 3.0, 3.5))
    host.now += SETTLE_SECONDS / 2
    assert rounds.last == 1
    assert_close(rounds.latency() or 0.0, 1.5)
    host.now += SETTLE_SECONDS / 2
    assert rounds.last == 2


def test_when_a_run_is_over_its_last_round_counts_at_once() -> None:
    rounds = Rounds(Host())
    rounds.note(span(1, 0.0, 1.0))
    rounds.note(span(2, 2.0, 2.5))
    rounds.finish()
    assert rounds.last == 2


def test_a_node_is_busy_while_it_computes_sends_or_is_sent_to_and_no_time_counts_twice() -> None:
    rounds = Rounds(Host())
    rounds.note(span(1, 0.0, 1.0, "client"))
    rounds.note(span(1, 0.5, 2.0, "client", peer="server"))
    rounds.note(span(1, 2.0, 9.0, "client", stage="wait"))
    rounds.note(span(1, 5.0, 6.0, "server", peer="client"))
    rounds.note(span(1, 0.0, 99.0, "client", off_clock=True))
    rounds.finish()
    busy = rounds.busy()
    assert_close(busy["client"], 3.0)
    assert_close(busy["server"], 2.5)
    assert_close(rounds.latency() or 0.0, 9.0)


def test_what_is_before_the_first_round_or_off_the_clock_is_part_of_none() -> None:
    rounds = Rounds(Host())
    rounds.note(span(0, 0.0, 1.0))
    rounds.note(span(7, 0.0, 1.0, off_clock=True))
    rounds.finish()
    assert (rounds.current, rounds.last) == (0, None)


def test_late_news_of_a_round_long_past_changes_nothing() -> None:
    host = Host()
    rounds = Rounds(host)
    for number in range(1, 50):
        rounds.note(span(number, number, number + 0.5))
        host.now += SETTLE_SECONDS
    last, latency = rounds.last, rounds.latency()
    rounds.note(span(1, 0.0, 1000.0))
    assert (rounds.last, rounds.latency()) == (last, latency) == (48, 0.5)
    assert len(rounds._rounds) < 5, "it remembers only the last ones"


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 10)), min_size=1, max_size=8), st.randoms())
def test_busy_time_is_no_more_than_the_spans_and_no_more_than_the_round(
    spans: list[tuple[float, float]], random: Any
) -> None:
    ordered = [(min(pair), max(pair)) for pair in spans]
    rounds, shuffled = Rounds(Host()), Rounds(Host())
    for start, end in ordered:
        rounds.note(span(1, start, end))
    random.shuffle(ordered)
    for start, end in ordered:
        shuffled.note(span(1, start, end))
    rounds.finish()
    shuffled.finish()
    busy, latency = rounds.busy()["a"], rounds.latency()
    assert latency is not None
    assert max(end - start for start, end in ordered) - 1e-9 <= busy <= latency + 1e-9
    assert busy <= sum(end - start for start, end in ordered) + 1e-9
    assert busy == pytest.approx(shuffled.busy()["a"])


def test_what_a_node_ends_after_it_was_left_out_does_not_lengthen_a_round() -> None:
    rounds = Rounds(Host())
    rounds.note(span(1, 0.0, 1.0))
    rounds.note(span(1, 0.0, 5.0, "late"))
    rounds.note(span(1, 0.5, 6.0, "late", peer="a"))
    rounds.note(span(1, 2.0, 2.0, "late", stage="left_out", off_clock=True))  # the last to be heard of
    rounds.finish()
    assert rounds.latency() == 1.0
    assert rounds.busy() == {"a": 1.0}
