"""Nodes that cannot reach each other: disconnected ones, and the sides of a partition."""

import functools
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.link import Link
from emulator.network import Arrival, Departure
from emulator.profiles import LinkProfile
from tests.tolerance import assert_close
from tests.unit.network_world import (
    MB,
    MBIT,
    Action,
    Connect,
    Part,
    Send,
    Update,
    arrivals,
    by_polling,
    by_wakeups,
    channel,
    departures,
    link,
    network,
)

EVERYBODY, NOBODY = (lambda flow: True), (lambda flow: False)


def outage(node: str, since: float, until: float) -> tuple[Action, Action]:
    return Connect(since, node, False), Connect(until, node, True)


# -- the link


@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, MB), st.floats(-3, 3)), min_size=1, max_size=8),
    st.floats(0, 8),
    st.floats(0, 5),
    st.sampled_from(["fifo", "fair"]),
)
def test_an_outage_delays_all_that_is_in_transit_by_itself(
    sent: list[Any], at: float, seconds: float, sharing: str
) -> None:
    profile = channel(8 * MBIT, delay=0.3, jitter=0.05, sharing=sharing)
    whole, broken, now = Link(profile), Link(profile), 0.0
    ways: list[list[Any]] = [[], []]
    for gap, nbytes, draw in sent:
        now += gap
        for one, transfers in zip((whole, broken), ways, strict=True):
            transfers.append(one.send(now, nbytes, jitter=draw, flow="a"))
    at += now  # all of it has been sent
    for one in (whole, broken):
        while (turn := one.next_turn) is not None and turn <= at:
            one.serve(turn)
    broken.hold(at, EVERYBODY)
    broken.hold(at + seconds, NOBODY)
    for one in (whole, broken):
        while (turn := one.next_turn) is not None:
            one.serve(turn)
    for left_alone, delayed in zip(*ways, strict=True):
        later = seconds if left_alone.due > at else 0.0
        assert_close(delayed.due, left_alone.due + later, what="due")


def test_what_stands_still_is_in_nobody_s_way_and_not_in_the_queue() -> None:
    link = Link(channel(8 * MBIT))
    first, second = link.send(0.0, MB, flow="a"), link.send(0.0, MB, flow="b")
    link.hold(0.5, lambda flow: flow == "a")
    assert first.due == float("inf")
    assert_close(second.due, 1.5)
    assert_close(link.backlog(0.5), MB)
    link.hold(1.0, NOBODY)  # what is left of the first is behind the second
    assert_close(second.due, 1.5)
    assert_close(first.due, 2.0)


def test_what_stands_still_gets_the_rate_and_delay_that_are_in_force_when_it_moves() -> None:
    link = Link(channel(8 * MBIT, delay=0.5))
    transfer = link.send(0.0, MB, flow="a")
    link.hold(0.5, EVERYBODY)
    link.update(1.0, channel(4 * MBIT, delay=0.1))
    link.hold(2.0, NOBODY)
    assert_close(transfer.due, 3.1)


def test_what_is_sent_while_all_else_stands_still_goes_through() -> None:
    link = Link(channel(8 * MBIT))
    link.send(0.0, MB, flow="a")
    link.hold(0.5, lambda flow: flow == "a")
    assert_close(link.send(3.0, MB, flow="b").due, 4.0)


# -- the network


@pytest.mark.parametrize("away", ["a", "s"])
@pytest.mark.parametrize(("up", "down"), [(8, 80), (80, 8), (8, 8)])
def test_a_message_comes_later_by_the_outage_of_its_sender_or_receiver(away: str, up: float, down: float) -> None:
    def due(*more: Action) -> float:
        nodes = {"a": link(up=channel(up * MBIT, delay=0.2)), "s": link(down=channel(down * MBIT, delay=0.1))}
        return arrivals(network(nodes), Send(0.0, "a", "s", MB), *more)[0]

    assert_close(due(*outage(away, 0.6, 3.1)), due() + 2.5, absolute=1e-6, what="arrival")
    assert_close(due(*outage(away, 0.6, 0.7), *outage(away, 0.8, 1.0)), due() + 0.3, absolute=1e-6, what="arrival")


def test_others_go_on_meanwhile_and_faster() -> None:
    nodes = {name: link(up=channel(80 * MBIT)) for name in "ab"} | {"s": link(down=channel(8 * MBIT))}
    first, second = arrivals(network(nodes), Send(0.0, "a", "s", MB), Send(0.0, "b", "s", MB), *outage("a", 1.0, 5.0))
    assert_close(second, 1.5, absolute=0.02, what="arrival from who stays")  # half of it was left, for it alone
    assert_close(first, 5.5, absolute=0.02, what="arrival from who was away")


def test_what_is_sent_to_or_by_who_is_away_waits_at_its_sender_in_order() -> None:
    nodes = {name: link(up=channel(8 * MBIT)) for name in "ab"}
    actions = [Send(1.0, "a", "b", MB), Send(1.1, "b", "a", MB), Send(1.2, "a", "b", 0), Connect(4.0, "b", True)]
    built = network(nodes)
    left = departures(built, Connect(0.5, "b", False), *actions)
    assert left == pytest.approx([5.0, 5.0, 5.0])
    built = network(nodes)
    tokens = [news.token for _, news in by_wakeups(built, [Connect(0.5, "b", False), *actions])]
    assert tokens.index(1) < tokens.index(3)


def test_a_sender_that_is_away_has_sent_in_the_order_of_sending() -> None:
    nodes = {"s": link(up=channel(8 * MBIT))} | {name: link() for name in "ab"}
    sends = [Send(1.0, "s", "a", MB), Send(1.1, "s", "b", MB), Send(1.2, "s", "a", MB)]
    due = arrivals(network(nodes), Connect(0.5, "s", False), *sends, Connect(3.0, "s", True))
    assert due == pytest.approx([4.0, 5.0, 6.0])


def test_a_network_with_nothing_but_standstill_needs_no_look() -> None:
    built = network(a=link(up=channel(8 * MBIT)), b=link())
    built.send(0.0, "a", "b", MB, 0)
    built.connect(0.5, "a", False)
    assert built.wakeup() is None
    assert built.advance(100.0) == []
    built.connect(100.0, "a", True)
    assert_close(built.wakeup() or 0.0, 100.5)


def test_a_way_to_who_is_away_promises_something() -> None:
    built = network(a=link(), b=link(), c=link())
    built.connect(1.0, "b", False)
    assert not built.promises_nothing("a", "b")
    assert built.promises_nothing("a", "c")
    built.send(2.0, "a", "b", MB, 0)
    built.connect(3.0, "b", True)
    assert [(type(news), news[1]) for news in built.advance(3.0)] == [(Departure, 3.0), (Arrival, 3.0)]


def test_an_outage_returns_what_had_happened_by_then() -> None:
    built = network(a=link(up=channel(8 * MBIT)), b=link())
    built.send(0.0, "a", "b", MB, 7)
    assert [type(news) for news in built.connect(1.5, "a", False)] == [Departure, Arrival]


def test_who_waits_for_room_and_then_is_cut_off_waits_on() -> None:
    nodes = {name: link(up=channel(80 * MBIT)) for name in "ab"} | {"s": link(down=channel(8 * MBIT, queue=250_000))}
    sends = [Send(0.0, "a", "s", MB), Send(0.5, "b", "s", MB)]
    due = arrivals(network(nodes), *sends, *outage("b", 0.6, 0.9))
    assert_close(due[0], 1.0, absolute=0.02, what="arrival of who was there")
    assert_close(due[1], 2.0, absolute=0.02, what="arrival of who waited")
    due = arrivals(network(nodes), *sends, *outage("b", 0.6, 3.0))
    assert_close(due[1], 4.0, absolute=0.02, what="arrival of who waited")


# -- partitions


def test_a_partition_holds_back_what_is_between_its_sides_alone() -> None:
    nodes = {name: link(up=channel(8 * MBIT)) for name in "abcd"}
    sends = [Send(0.0, "a", "c", MB), Send(0.0, "b", "a", MB), Send(0.0, "d", "c", MB), Send(0.0, "c", "d", MB)]
    cut = [Part(0.5, [{"a", "b"}, {"c"}]), Part(2.5, [])]
    assert arrivals(network(nodes), *sends, *cut) == pytest.approx([3.0, 1.0, 1.0, 1.0])


def test_another_partition_takes_the_place_of_the_first() -> None:
    nodes = {name: link(up=channel(8 * MBIT)) for name in "abc"}
    sends = [Send(0.0, "a", "b", MB), Send(0.0, "b", "c", MB)]
    cuts = [Part(0.5, [["a"], ["b"]]), Part(1.5, [["b"], ["c"]]), Part(2.0, [])]
    assert arrivals(network(nodes), *sends, *cuts) == pytest.approx([2.0, 1.0])


def test_a_node_on_two_sides_is_refused() -> None:
    with pytest.raises(ValueError, match="a is in two groups"):
        network(a=link(), b=link()).partition(0.0, [["a"], ["a", "b"]])


def test_who_is_away_stays_away_when_a_partition_heals() -> None:
    nodes = {name: link(up=channel(8 * MBIT)) for name in "ab"}
    cuts = [Connect(0.2, "a", False), Part(0.5, [["a"], ["b"]]), Part(1.0, []), Connect(2.2, "a", True)]
    assert_close(arrivals(network(nodes), Send(0.0, "a", "b", MB), *cuts)[0], 3.0, what="arrival")


# -- laws

rates = st.floats(1e5, 1e8)
profiles = st.builds(
    link,
    *[
        st.builds(
            channel,
            rates,
            delay=st.floats(0, 0.1),
            jitter=st.sampled_from([0.0, 0.01]),
            queue=st.sampled_from([1.0, 64 * 1024.0, 64 * 2.0**20]),
            sharing=st.sampled_from(["fifo", "fair"]),
        )
    ]
    * 2,
)
times = st.one_of(st.floats(0, 2), st.sampled_from([0.0, 1.0]))
pairs = st.sampled_from([(one, other) for one in "abc" for other in "abc" if one != other])
sends = st.builds(lambda at, pair, nbytes: Send(at, *pair, nbytes), times, pairs, st.integers(0, 200_000))
cuts = st.one_of(
    st.builds(Connect, times, st.sampled_from("abc"), st.booleans()),
    st.builds(Part, times, st.sampled_from([[], ["a", "b"], ["a", "bc"], ["c", "a"]])),
    st.builds(Update, times, st.sampled_from("abc"), profiles),
)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[dict[str, LinkProfile], list[Action]]:
    """Links, and traffic over them, with nodes that come and go; in the end all are there."""
    nodes = {node: draw(profiles) for node in "abc"}
    actions: list[Action] = [*draw(st.lists(sends, min_size=1, max_size=6)), *draw(st.lists(cuts, max_size=5))]
    healed: list[Action] = [Part(3.0, []), *(Connect(3.0, node, True) for node in nodes)]
    return nodes, [*sorted(actions, key=lambda action: action.at), *healed]


def sent(actions: Sequence[Action]) -> dict[int, Send]:
    return {token: action for token, action in enumerate(actions) if isinstance(action, Send)}


@given(worlds())
def test_nothing_is_lost_and_each_pair_s_order_is_kept(world: tuple[dict[str, LinkProfile], list[Action]]) -> None:
    nodes, actions = world
    news = [news for _, news in by_wakeups(network(nodes), actions)]
    there = [one.token for one in news if isinstance(one, Arrival)]
    left = [one.token for one in news if isinstance(one, Departure)]
    assert sorted(there) == sorted(left) == sorted(sent(actions))
    for pair in {(send.sender, send.receiver) for send in sent(actions).values()}:
        own = [token for token in there if (sent(actions)[token].sender, sent(actions)[token].receiver) == pair]
        assert own == sorted(own)


@given(worlds())
def test_news_come_in_order_of_time(world: tuple[dict[str, LinkProfile], list[Action]]) -> None:
    nodes, actions = world
    looks = list(by_wakeups(network(nodes), actions))
    assert all(before[0] <= after[0] for before, after in pairwise(looks))
    for now, news in looks:
        if isinstance(news, Arrival):
            assert_close(news.due, now, what="arrival, against the time of the look")


@given(worlds(), st.floats(0.01, 0.5))
def test_it_does_not_matter_when_somebody_looks(
    world: tuple[dict[str, LinkProfile], list[Action]], step: float
) -> None:
    nodes, actions = world
    woken = arrivals(network(nodes), *actions)
    polled = arrivals(network(nodes), *actions, drive=functools.partial(by_polling, step=step))
    for one, other in zip(polled, woken, strict=True):
        assert_close(one, other, what="arrival when polled, against woken")


@given(worlds(), times)
def test_what_is_so_already_changes_nothing(world: tuple[dict[str, LinkProfile], list[Action]], at: float) -> None:
    nodes, actions = world
    sends = list(sent(actions).values())
    again: list[Action] = [Connect(at, "a", True), Part(at, [])]
    left_alone = arrivals(network(nodes), *sends)
    repeated = arrivals(network(nodes), *sorted([*sends, *again], key=lambda action: action.at))
    assert repeated == left_alone


@given(st.lists(sends, min_size=1, max_size=6), st.dictionaries(st.sampled_from("abc"), rates, min_size=3))
def test_nobody_is_faster_while_a_node_is_away_than_its_own_links(sends: list[Send], speeds: dict[str, float]) -> None:
    nodes = {node: link(up=channel(speeds[node]), down=channel(speeds[node] / 2)) for node in "abc"}
    sends = sorted(sends, key=lambda send: send.at)
    actions: list[Action] = sorted([*sends, *outage("a", 0.5, 2.5)], key=lambda action: action.at)
    for send, due in zip(sends, arrivals(network(nodes), *actions), strict=True):
        own = send.nbytes * 8 / min(speeds[send.sender], speeds[send.receiver] / 2)
        away = 2.0 if "a" in (send.sender, send.receiver) and due > 2.5 else 0.0
        assert due >= send.at + own + max(0.0, away - max(0.0, send.at - 0.5)) - 1e-6
