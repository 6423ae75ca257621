import pytest

from emulator.event import is_event, placed, title
from emulator.timeline import Span

ROUNDS = {
    1: [Span("psl", 1, "a", "x", 10.0, 11.0)],
    2: [Span("psl", 2, "a", "x", 15.0, 16.0), Span("psl", 2, "b", "y", 15.5, 17.0)],
}
STARTS = {1: 0.0, 2: 1.0}


def event(at: float, *, number: int = 1, end: float | None = None, detail: str = "gone", peer: str = "") -> Span:
    return Span("psl", number, "a", "link_change", at, end or at, off_clock=True, detail=detail, peer=peer)


def test_what_has_words_or_no_length_is_an_event_and_what_nodes_do_is_none() -> None:
    assert is_event(event(1.0))
    assert is_event(event(1.0, end=2.0))
    assert is_event(event(1.0, detail=""))
    assert not is_event(event(1.0, end=2.0, detail=""))
    assert not is_event(event(1.0, detail="", peer="b"))
    assert not is_event(ROUNDS[1][0])
    assert title(event(1.0)) == "a: link change"


@pytest.mark.parametrize(
    ("at", "counts"),
    [(0.0, (1, 0.0)), (10.25, (1, 0.25)), (12.0, (2, 1.0)), (16.5, (2, 2.5)), (30.0, (2, 3.0))],
    ids=["before all", "in a round", "between two", "in the last", "after all"],
)
def test_an_event_counts_from_when_a_round_first_felt_it(at: float, counts: tuple[int, float]) -> None:
    ((_, *found),) = placed([event(at)], ROUNDS, STARTS)
    assert found == [*counts]


def test_what_was_before_the_rounds_that_are_shown_is_left_out() -> None:
    found = list(placed([event(10.5), event(16.0)], {2: ROUNDS[2]}, {2: 0.0}))
    assert [(one.event.start, one.round, one.at) for one in found] == [(16.0, 2, 1.0)]
    assert list(placed([event(16.0)], {}, {})) == []
