import functools
import math
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.network import CHUNK_BYTES, Arrival, Departure, Network
from emulator.profiles import LinkProfile
from tests.tolerance import assert_close
from tests.unit.network_world import (
    MB,
    MBIT,
    Action,
    Send,
    Update,
    arrivals,
    by_foresight,
    by_polling,
    by_wakeups,
    channel,
    departures,
    link,
    network,
)

# -- one message


@pytest.mark.parametrize(
    ("up", "down", "nbytes"), [(8, 80, MB), (80, 8, MB), (8, 8, MB), (8, 8, 100), (100, math.inf, MB), (8, 80, 20_000)]
)
def test_a_message_crosses_both_links_at_the_rate_of_the_slower(up: float, down: float, nbytes: int) -> None:
    built = network(a=link(up=channel(up * MBIT, delay=0.03)), b=link(down=channel(down * MBIT, delay=0.02)))
    expected = 1.0 + nbytes * 8 / (min(up, down) * MBIT) + 0.05
    assert_close(arrivals(built, Send(1.0, "a", "b", nbytes))[0], expected, absolute=1e-6, what="arrival")


@given(st.floats(1e4, 1e9), st.floats(1e4, 1e9), st.floats(0, 1), st.floats(0, 1), st.integers(0, 20 * MB))
def test_no_message_is_stored_and_forwarded(up: float, down: float, out: float, home: float, nbytes: int) -> None:
    built = network(a=link(up=channel(up, delay=out)), b=link(down=channel(down, delay=home)))
    chunk = max(CHUNK_BYTES, nbytes / 4096) * 8 / min(up, down) + 0.002
    expected = nbytes * 8 / min(up, down) + out + home
    assert_close(arrivals(built, Send(0.0, "a", "b", nbytes))[0], expected, absolute=chunk, what="arrival")


def test_where_no_link_promises_anything_a_message_arrives_at_once() -> None:
    built = network(a=link(), b=link())
    assert built.promises_nothing("a", "b")
    assert arrivals(built, Send(1.0, "a", "b", 100 * MB)) == [1.0]


def test_only_the_two_links_on_the_way_make_a_promise() -> None:
    built = network(a=link(down=channel(MBIT)), b=link(up=channel(MBIT)), c=link())
    assert built.promises_nothing("a", "c")
    assert not built.promises_nothing("b", "c")
    assert not built.promises_nothing("c", "a")


def test_an_idle_network_needs_no_look() -> None:
    built = network(a=link(), b=link())
    assert built.wakeup() is None
    assert built.advance(1e6) == []


def test_a_message_has_left_when_the_up_link_is_through_with_it() -> None:
    built = network(a=link(up=channel(8 * MBIT, delay=0.5)), b=link(down=channel(MBIT)))
    assert_close(departures(built, Send(0.0, "a", "b", MB))[0], 1.0)


def test_nobody_wakes_for_a_chunk() -> None:
    built = network(a=link(up=channel(8 * MBIT, delay=0.5)), b=link(down=channel(4 * MBIT)))
    built.send(0.0, "a", "b", 10 * MB, 0)
    looks: list[float] = []
    while (wakeup := built.wakeup()) is not None:
        built.advance(wakeup)
        looks.append(wakeup)
    # It has left a, it is through to b's link, it is there.
    assert looks == pytest.approx([10.0, 10.5, 20.5])


def test_the_past_is_made_up_for() -> None:
    built = network(a=link(up=channel(8 * MBIT)), b=link())
    built.advance(1.2)
    built.send(1.0, "a", "b", MB, 0)
    assert_close(built.wakeup() or 0.0, 2.0)


# -- messages that share a link


def test_two_senders_share_a_slow_link_to_the_receiver() -> None:
    built = network(a=link(up=channel(100 * MBIT)), b=link(up=channel(100 * MBIT)), s=link(down=channel(8 * MBIT)))
    first, second = arrivals(built, Send(0.0, "a", "s", MB), Send(0.0, "b", "s", MB))
    chunk = CHUNK_BYTES * 8 / (8 * MBIT)
    assert_close(first, 2.0, absolute=1.1 * chunk, what="arrival of the first")
    assert_close(second, 2.0, absolute=1.1 * chunk, what="arrival of the second")


def test_one_sender_sends_one_message_after_the_other() -> None:
    built = network(a=link(up=channel(8 * MBIT)), b=link(), c=link())
    first, second = arrivals(built, Send(0.0, "a", "b", MB), Send(0.0, "a", "c", MB))
    assert_close(first, 1.0)
    assert_close(second, 2.0)


def test_a_slow_sender_does_not_block_a_fast_one() -> None:
    built = network(a=link(up=channel(MBIT)), b=link(up=channel(100 * MBIT)), s=link(down=channel(100 * MBIT)))
    slow, fast = arrivals(built, Send(0.0, "a", "s", MB), Send(1.0, "b", "s", MB))
    chunk = CHUNK_BYTES * 8 / (100 * MBIT)
    assert_close(slow, 8.0, absolute=2 * chunk, what="arrival of the slow one")
    assert_close(fast, 1.08, absolute=2 * chunk, what="arrival of the fast one")


def test_opposite_directions_do_not_share() -> None:
    both = link(channel(8 * MBIT), channel(8 * MBIT))
    there, back = arrivals(network(a=both, b=both), Send(0.0, "a", "b", MB), Send(0.0, "b", "a", MB))
    assert_close(there, 1.0)
    assert_close(back, 1.0)


# -- the queue


def queued(queue: float) -> Network:
    fast = link(up=channel(80 * MBIT))
    return network(a=fast, b=fast, s=link(down=channel(8 * MBIT, queue=queue)))


def test_past_the_queue_limit_a_message_waits_at_its_sender() -> None:
    # At 0.5 s 1 MB has reached the link to s, which has passed on 0.5 MB: b waits until 0.25 MB are left, at 0.75 s.
    sends = [Send(0.0, "a", "s", MB), Send(0.5, "b", "s", MB)]
    assert_close(departures(queued(250_000), *sends)[1], 0.75 + 0.1, absolute=1e-6, what="departure")
    assert_close(departures(queued(10 * MB), *sends)[1], 0.5 + 0.1, absolute=1e-6, what="departure")
    assert_close(arrivals(queued(250_000), *sends)[1], 2.0, absolute=1e-6, what="arrival")


def test_the_queue_is_as_full_as_it_is_whoever_looked() -> None:
    # Nothing happens that one would wake for before b sends, while the link to s has filled with half of a's message.
    sends = [Send(0.0, "a", "s", 10 * MB), Send(0.5, "b", "s", MB)]
    assert_close(departures(queued(MB), *sends)[1], 9.0 + 0.1, absolute=1e-6, what="departure")


def test_what_happened_before_a_send_is_told_at_the_next_look() -> None:
    built = network(a=link(up=channel(8 * MBIT)), b=link())
    built.send(0.0, "a", "b", MB, 0)
    built.send(5.0, "a", "b", MB, 1)
    assert built.wakeup() == 5.0
    departure, arrival = built.advance(5.0)
    assert isinstance(departure, Departure)
    assert departure.token == 0
    assert isinstance(arrival, Arrival)
    assert_close(arrival.due, 1.0)
    assert built.wakeup() == pytest.approx(6.0)


def test_a_message_behind_one_that_waits_keeps_its_place() -> None:
    sends = [Send(0.0, "a", "s", MB), Send(0.5, "b", "s", MB), Send(0.6, "b", "s", 0), Send(0.7, "a", "b", 0)]
    left = departures(queued(250_000), *sends)
    assert left[2] >= left[1]
    assert_close(left[3], 0.7, what="departure to a receiver with room")


def test_an_update_lets_in_what_waits() -> None:
    roomy = link(down=channel(8 * MBIT, queue=10 * MB))
    sends: list[Action] = [Send(0.0, "a", "s", MB), Send(0.5, "b", "s", MB), Update(0.6, "s", roomy)]
    assert_close(departures(queued(250_000), *sends)[1], 0.6 + 0.1, absolute=1e-6, what="departure")


# -- changes


@pytest.mark.parametrize("slow", ["up", "down"])
def test_a_change_holds_for_what_is_under_way(slow: str) -> None:
    def at(rate: float) -> tuple[str, LinkProfile]:
        one = channel(rate * MBIT, delay=0.1)
        return ("a", link(up=one)) if slow == "up" else ("b", link(down=one))

    built = network({"a": link(), "b": link(), **dict([at(8)])})
    due = arrivals(built, Send(0.0, "a", "b", 4 * MB), Update(2.0, *at(4)))
    assert_close(due[0], 6.1, relative=0.01, what="arrival")


@given(st.booleans(), st.floats(1e6, 1e8), st.floats(0.01, 50), st.floats(0.05, 0.95), st.integers(4 * MB, 16 * MB))
def test_a_change_in_mid_message_ends_it_when_the_two_rates_say(
    up: bool, rate: float, factor: float, share: float, nbytes: int
) -> None:
    def profile(rate: float) -> LinkProfile:
        return link(up=channel(rate)) if up else link(down=channel(rate))

    built = network({"a": link(), "b": link(), "a" if up else "b": profile(rate)})
    now = share * nbytes * 8 / rate
    expected = now + (1 - share) * nbytes * 8 / (rate * factor)
    due = arrivals(built, Send(0.0, "a", "b", nbytes), Update(now, "a" if up else "b", profile(rate * factor)))
    assert_close(due[0], expected, relative=0.01, what="arrival")


def test_a_change_returns_what_had_happened_by_then() -> None:
    built = network(a=link(up=channel(8 * MBIT)), b=link())
    built.send(0.0, "a", "b", MB, 7)
    assert [type(news) for news in built.update(1.5, "b", link(down=channel(MBIT)))] == [Departure, Arrival]
    assert built.wakeup() is None


# -- jitter


def jittered(seed: int) -> list[float]:
    shaky = link(channel(MBIT, delay=0.5, jitter=0.1), channel(MBIT, delay=0.5, jitter=0.1))
    return arrivals(network(seed=seed, a=shaky, b=shaky), *(Send(2.0 * n, "a", "b", 1000) for n in range(8)))


def test_jitter_comes_from_the_seed_alone() -> None:
    assert jittered(1) == jittered(1)
    assert jittered(1) != jittered(2)


def test_every_message_has_its_own_jitter() -> None:
    assert len({round(due - 2.0 * n, 9) for n, due in enumerate(jittered(1))}) == 8


def test_the_jitter_of_a_node_is_its_own() -> None:
    def due(others: int) -> float:
        shaky = link(up=channel(MBIT, delay=0.5, jitter=0.1))
        built = network(a=shaky, b=shaky, s=link())
        sends = [Send(0.0, "b", "s", 1000)] * others
        return arrivals(built, *sends, Send(0.0, "a", "s", 1000))[-1]

    assert due(0) == due(3)


# -- laws, over any network and any traffic

rates = st.one_of(st.floats(1e5, 1e9), st.just(math.inf))
queues = st.sampled_from([1e-3, 1.0, 64 * 1024.0, 64 * 2.0**20])
channels = st.builds(channel, rates, delay=st.floats(0, 0.2), jitter=st.sampled_from([0.0, 0.01]), queue=queues)
profiles = st.builds(link, channels, channels)
steady = st.builds(link, *[st.builds(channel, rates, delay=st.floats(0, 0.2), queue=queues)] * 2)


@dataclass(frozen=True)
class Traffic:
    links: dict[str, LinkProfile]
    actions: list[Action]

    def network(self) -> Network:
        return network(self.links)

    @property
    def sends(self) -> dict[int, Send]:
        return {token: action for token, action in enumerate(self.actions) if isinstance(action, Send)}

    def with_updates(self, times: list[float]) -> "Traffic":
        """The same traffic, and updates of each node to the profile that it has."""
        updates: list[Action] = [Update(now, node, profile) for now in times for node, profile in self.links.items()]
        return Traffic(self.links, sorted([*self.actions, *updates], key=lambda action: action.at))


@st.composite
def traffic(draw: st.DrawFn, links: st.SearchStrategy[LinkProfile], updated: bool = False) -> Traffic:
    nodes = "abcd"[: draw(st.integers(2, 4))]
    pairs = st.sampled_from([(sender, receiver) for sender in nodes for receiver in nodes if sender != receiver])
    times = st.one_of(st.floats(0, 2), st.sampled_from([0.0, 1.0]))
    sends = st.builds(
        lambda at, pair, nbytes: Send(at, pair[0], pair[1], nbytes),
        times,
        pairs,
        st.one_of(st.integers(0, 200_000), st.just(0)),
    )
    actions: list[Action] = [*draw(st.lists(sends, min_size=1, max_size=8))]
    if updated:
        actions += draw(st.lists(st.builds(Update, times, st.sampled_from(nodes), links), max_size=3))
    return Traffic({node: draw(links) for node in nodes}, sorted(actions, key=lambda action: action.at))


@given(traffic(profiles, updated=True))
def test_every_message_leaves_once_and_then_arrives_once(world: Traffic) -> None:
    news = [news for _, news in by_wakeups(world.network(), world.actions)]
    left = [one.token for one in news if isinstance(one, Departure)]
    there = [one.token for one in news if isinstance(one, Arrival)]
    assert sorted(left) == sorted(there) == sorted(world.sends)
    left = {one.token: (place, one.time) for place, one in enumerate(news) if isinstance(one, Departure)}
    assert all(left[one.token] < (place, one.due + 1e-9) for place, one in enumerate(news) if isinstance(one, Arrival))


@given(traffic(profiles, updated=True))
def test_messages_of_a_pair_arrive_in_order(world: Traffic) -> None:
    there = [news.token for _, news in by_wakeups(world.network(), world.actions) if isinstance(news, Arrival)]
    pairs: dict[tuple[str, str], list[int]] = {}
    for token in there:
        pairs.setdefault((world.sends[token].sender, world.sends[token].receiver), []).append(token)
    assert all(tokens == sorted(tokens) for tokens in pairs.values())


@given(traffic(profiles, updated=True))
def test_news_come_in_order_of_time_and_when_they_are_due(world: Traffic) -> None:
    looks = list(by_wakeups(world.network(), world.actions))
    assert all(before[0] <= after[0] for before, after in pairwise(looks))
    for now, news in looks:
        if isinstance(news, Arrival):
            assert_close(news.due, now, what="arrival, against the time of the look")


@given(traffic(steady))
def test_no_message_is_faster_than_its_links(world: Traffic) -> None:
    for send, due in zip(world.sends.values(), arrivals(world.network(), *world.actions), strict=True):
        up, down = world.links[send.sender].up, world.links[send.receiver].down
        assert due >= send.at + send.nbytes * 8 / min(up.rate, down.rate) + up.delay + down.delay - 1e-9


@given(traffic(steady))
def test_what_a_node_receives_never_exceeds_its_rate(world: Traffic) -> None:
    due = dict(zip(world.sends, arrivals(world.network(), *world.actions), strict=True))
    for node, profile in world.links.items():
        received = {token: send for token, send in world.sends.items() if send.receiver == node}
        for token in received:
            by_then = [other for other in received if due[other] <= due[token]]
            first = min(received[other].at for other in by_then)
            seconds = sum(received[other].nbytes for other in by_then) * 8 / profile.down.rate
            assert due[token] >= first + seconds + profile.down.delay - 1e-6


@given(traffic(profiles), st.floats(0.01, 0.7))
def test_it_does_not_matter_when_somebody_looks(world: Traffic, step: float) -> None:
    woken = arrivals(world.network(), *world.actions)
    polled = arrivals(world.network(), *world.actions, drive=functools.partial(by_polling, step=step))
    for one, other in zip(polled, woken, strict=True):
        assert_close(one, other, what="arrival when polled, against woken")


@given(traffic(profiles, updated=True), st.booleans())
def test_going_from_one_arrival_to_the_next_finds_all_of_them_at_their_times(world: Traffic, departures: bool) -> None:
    foreseen = list(by_foresight(world.network(), world.actions, departures=departures))
    woken = [news for _, news in by_wakeups(world.network(), world.actions)]
    for kind in (Arrival, Departure) if departures else (Arrival,):
        assert [news for _, news in foreseen if type(news) is kind] == [news for news in woken if type(news) is kind]
    for moment, news in foreseen:
        if isinstance(news, Arrival):
            assert news.due <= moment
            assert_close(news.due, moment, what="arrival, against the moment foreseen")


@given(traffic(profiles), st.lists(st.floats(0, 3), min_size=1, max_size=3))
def test_an_update_to_the_same_profile_changes_no_arrival(world: Traffic, times: list[float]) -> None:
    left_alone = arrivals(world.network(), *world.actions)
    updated = arrivals(world.network(), *world.with_updates(times).actions)
    for one, other in zip(updated, left_alone, strict=True):
        assert_close(one, other, absolute=1e-6, what="arrival when updated, against left alone")
