from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from emulator.turns import Turns


@dataclass
class Chunk:
    flow: str
    left: float
    number: int = 0


flows = st.lists(st.lists(st.integers(1, 2000), min_size=1, max_size=12), min_size=2, max_size=4)
"""The sizes of each flow's chunks."""


def filled(sizes: Sequence[Sequence[int]]) -> Turns[Chunk]:
    turns: Turns[Chunk] = Turns()
    for flow, own in zip("abcd", sizes, strict=False):
        for number, size in enumerate(own):
            turns.add(Chunk(flow, size, number))
    return turns


@given(flows)
def test_flows_that_wait_are_never_further_apart_than_a_chunk_of_each(sizes: list[list[int]]) -> None:
    turns, done = filled(sizes), Counter[str]()
    left = {flow: sum(own) for flow, own in zip("abcd", sizes, strict=False)}
    most = {flow: max(own) for flow, own in zip("abcd", sizes, strict=False)}
    while turns:
        chunk = turns.next()
        done[chunk.flow] += int(chunk.left)
        waiting = [flow for flow in left if done[flow] < left[flow]]
        for one in waiting:
            for other in waiting:
                assert done[one] - done[other] <= most[one] + most[other]


@given(flows)
def test_all_have_their_turn_and_each_flow_in_order(sizes: list[list[int]]) -> None:
    turns = filled(sizes)
    assert turns.nbytes == sum(map(sum, sizes))
    order = [turns.next() for _ in range(len(turns))]
    assert turns.nbytes == 0
    for flow, own in zip("abcd", sizes, strict=False):
        assert [(chunk.number, chunk.left) for chunk in order if chunk.flow == flow] == list(enumerate(own))


def test_who_comes_late_is_next_and_has_saved_up_nothing() -> None:
    turns = filled([[100] * 6])
    assert [turns.next().flow for _ in range(3)] == ["a"] * 3
    for number in range(3):
        turns.add(Chunk("late", 100, number))
    assert "".join(turns.next().flow[0] for _ in range(6)) == "lalala"


def test_a_small_chunk_waits_for_no_queue_of_another() -> None:
    turns = filled([[1000] * 50])
    turns.next()
    turns.add(Chunk("small", 10))
    assert turns.next().flow == "small"


@given(flows)
def test_what_is_cleared_comes_in_the_order_of_its_turns(sizes: list[list[int]]) -> None:
    turns, again = filled(sizes), filled(sizes)
    assert turns.clear() == [again.next() for _ in range(len(again))]
    assert len(turns) == turns.nbytes == 0
