"""A link that is shared fairly, alone and in a network."""

import functools
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.link import Link, Transfer
from emulator.network import CHUNK_BYTES
from tests.tolerance import assert_close
from tests.unit.network_world import (
    MB,
    MBIT,
    Action,
    Send,
    Update,
    arrivals,
    by_polling,
    channel,
    departures,
    link,
    network,
)

FAIR = {"sharing": "fair"}
CHUNK_SECONDS = CHUNK_BYTES * 8 / (8 * MBIT)
"""Of a chunk at 8 Mbit/s."""


def served(fair: Link, transfers: list[Transfer]) -> list[Transfer]:
    """All of them, after each had its turn."""
    while (turn := fair.next_turn) is not None:
        fair.serve(turn)
    assert all(math.isfinite(transfer.due) for transfer in transfers)
    return transfers


def jain(shares: list[float]) -> float:
    """Jain's index of fairness: 1 where all are equal."""
    return sum(shares) ** 2 / (len(shares) * sum(share**2 for share in shares))


# -- the link


def test_one_flow_is_served_as_it_is_first_come_first_served() -> None:
    first, fair = Link(channel(8 * MBIT, delay=0.1)), Link(channel(8 * MBIT, delay=0.1, **FAIR))
    arrivals_ = [(0.0, 1000), (0.0, 5000), (0.003, 100), (0.5, 100_000)]
    one, other = ([link.send(now, nbytes, flow="a") for now, nbytes in arrivals_] for link in (first, fair))
    assert [transfer.due for transfer in served(fair, other)] == pytest.approx([transfer.due for transfer in one])


def test_flows_take_turns() -> None:
    fair = Link(channel(8 * MBIT, **FAIR))
    transfers = [fair.send(0.0, 1000, flow=flow) for flow in "aaabb"]
    due = [transfer.due for transfer in served(fair, transfers)]
    assert due == pytest.approx([0.001, 0.003, 0.005, 0.002, 0.004])


def test_what_waits_for_its_turn_has_no_due_time_yet() -> None:
    fair = Link(channel(8 * MBIT, **FAIR))
    first, second = fair.send(0.0, 1000, flow="a"), fair.send(0.0, 1000, flow="a")
    assert (first.due, second.due, fair.next_turn) == (0.001, math.inf, 0.001)
    assert fair.serve(0.0005) == []
    assert fair.serve(0.001) == [second]
    assert_close(second.due, 0.002)


def test_what_waits_for_its_turn_is_backlog() -> None:
    fair = Link(channel(8 * MBIT, **FAIR))
    for flow in "aabb":
        fair.send(0.0, 1000, flow=flow)
    assert_close(fair.backlog(0.0005), 3500)
    assert_close(fair.below(1500), 0.0025)


@given(st.lists(st.tuples(st.floats(0, 0.02), st.sampled_from("abc"), st.integers(1, 5000)), min_size=1, max_size=30))
def test_a_fair_link_is_never_idle_while_something_waits(sent: list[Any]) -> None:
    first, fair, now = Link(channel(8 * MBIT)), Link(channel(8 * MBIT, **FAIR)), 0.0
    one: list[Transfer] = []
    other: list[Transfer] = []
    for gap, flow, nbytes in sent:
        now += gap
        while (turn := fair.next_turn) is not None and turn <= now:
            fair.serve(turn)
        one.append(first.send(now, nbytes, flow=flow))
        other.append(fair.send(now, nbytes, flow=flow))
    served(fair, other)
    assert_close(max(transfer.sent for transfer in other), max(transfer.sent for transfer in one), what="the end")
    for flow in "abc":
        own = [transfer.due for transfer in other if transfer.flow == flow]
        assert own == sorted(own)


@pytest.mark.parametrize("before", ["fifo", "fair"])
def test_the_way_of_sharing_may_change_in_mid_transfer(before: str) -> None:
    changed = Link(channel(8 * MBIT, sharing=before))
    transfers = [changed.send(0.0, 1000, flow=flow) for flow in "aaabbb"]
    changed.update(0.0005, channel(8 * MBIT, sharing="fair" if before == "fifo" else "fifo"))
    due = [transfer.due for transfer in served(changed, transfers)]
    assert_close(max(due), 0.006)
    assert_close(due[0], 0.001)
    assert due[:3] == sorted(due[:3])
    assert due[3:] == sorted(due[3:])


def test_a_new_rate_holds_for_what_waits_for_its_turn() -> None:
    fair = Link(channel(8 * MBIT, **FAIR))
    transfers = [fair.send(0.0, 1000, flow=flow) for flow in "aabb"]
    fair.update(0.0005, channel(4 * MBIT, **FAIR))
    assert_close(max(transfer.due for transfer in served(fair, transfers)), 0.0005 + 3500 * 8 / (4 * MBIT))


# -- the network


@pytest.mark.parametrize("where", ["up", "down"])
def test_eight_equal_flows_get_equal_shares(where: str) -> None:
    shared = channel(8 * MBIT, **FAIR)
    server = link(up=shared) if where == "up" else link(down=shared)
    clients = {name: link() for name in "abcdefgh"}
    ways = [("s", name) if where == "up" else (name, "s") for name in clients]
    due = arrivals(network(clients, s=server), *(Send(0.0, *way, MB) for way in ways))
    assert jain([MB / one for one in due]) > 0.9999
    assert_close(max(due), 8.0, absolute=1e-6, what="the last arrival")
    assert min(due) >= 8.0 - 8.1 * CHUNK_SECONDS


def test_two_flows_that_both_have_traffic_get_the_same_within_a_chunk_of_each() -> None:
    built = network(a=link(), b=link(), s=link(down=channel(8 * MBIT, **FAIR)))
    sends = [Send(0.0, "a", "s", 4 * MB), *(Send(1.0 + number / 5, "b", "s", 100_000) for number in range(10))]
    # From 1.0 s on b brings as much as its share is, in small messages: it gets it, whatever waits of a.
    late = [due - send.at for due, send in zip(arrivals(built, *sends)[1:], sends[1:], strict=True)]
    assert max(late) <= 0.2 + 2 * CHUNK_SECONDS


@pytest.mark.parametrize(("sharing", "least", "most"), [("fifo", 0.99, 1.02), ("fair", 0.0, 0.04)])
def test_a_small_message_is_not_stuck_behind_a_large_one_where_sharing_is_fair(
    sharing: str, least: float, most: float
) -> None:
    built = network(s=link(up=channel(8 * MBIT, sharing=sharing)), a=link(), b=link())
    large, small = arrivals(built, Send(0.0, "s", "a", MB), Send(0.001, "s", "b", 100))
    assert least <= small <= most
    assert_close(large, 1.0, absolute=0.001, what="arrival of the large one")


def test_messages_of_one_sender_to_one_receiver_keep_their_order() -> None:
    built = network(s=link(up=channel(8 * MBIT, **FAIR)), a=link(), b=link())
    sends = [Send(0.0, "s", "a", MB), Send(0.0, "s", "b", MB), Send(0.0, "s", "a", 10), Send(0.0, "s", "b", 10)]
    first, second, third, fourth = arrivals(built, *sends)
    assert first <= third
    assert second <= fourth
    assert_close(max(third, fourth), 2.0, absolute=0.01, what="the end")


def test_a_sender_learns_when_its_message_has_left_a_fair_link() -> None:
    built = network(s=link(up=channel(8 * MBIT, delay=0.5, **FAIR)), a=link(), b=link())
    left = departures(built, Send(0.0, "s", "a", MB), Send(0.0, "s", "b", MB // 4))
    assert_close(left[0], 1.25, absolute=1e-6, what="departure of the large one")
    assert_close(left[1], 0.5, absolute=2 * CHUNK_SECONDS, what="departure of the small one")


def test_an_update_of_a_fair_link_holds_for_all_that_waits() -> None:
    built = network(a=link(), b=link(), s=link(down=channel(8 * MBIT, **FAIR)))
    slower = link(down=channel(4 * MBIT, **FAIR))
    due = arrivals(built, Send(0.0, "a", "s", MB), Send(0.0, "b", "s", MB), Update(1.0, "s", slower))
    assert_close(max(due), 3.0, absolute=1e-6, what="the last arrival")


links = st.builds(
    link,
    *[st.builds(channel, st.floats(1e5, 1e8), delay=st.floats(0, 0.1), sharing=st.sampled_from(["fifo", "fair"]))] * 2,
)
sends = st.lists(
    st.builds(
        lambda at, pair, nbytes: Send(at, *pair, nbytes),
        st.one_of(st.floats(0, 1), st.just(0.0)),
        st.sampled_from([(one, other) for one in "abc" for other in "abc" if one != other]),
        st.integers(0, 300_000),
    ),
    min_size=1,
    max_size=8,
).map(lambda sends: sorted(sends, key=lambda send: send.at))


@given(st.lists(links, min_size=3, max_size=3), sends, st.floats(0.01, 0.5))
def test_it_does_not_matter_when_somebody_looks(profiles: list[Any], actions: list[Action], step: float) -> None:
    nodes = dict(zip("abc", profiles, strict=True))
    woken = arrivals(network(nodes), *actions)
    polled = arrivals(network(nodes), *actions, drive=functools.partial(by_polling, step=step))
    for one, other in zip(polled, woken, strict=True):
        assert_close(one, other, what="arrival when polled, against woken")


@given(st.lists(links, min_size=3, max_size=3), sends)
def test_what_a_node_receives_never_exceeds_its_rate(profiles: list[Any], actions: list[Any]) -> None:
    nodes = dict(zip("abc", profiles, strict=True))
    due = arrivals(network(nodes), *actions)
    for node, profile in nodes.items():
        own = [(send, there) for send, there in zip(actions, due, strict=True) if send.receiver == node]
        for _, there in own:
            by_then = [send for send, when in own if when <= there]
            seconds = sum(send.nbytes for send in by_then) * 8 / profile.down.rate
            assert there >= min(send.at for send in by_then) + seconds + profile.down.delay - 1e-6
