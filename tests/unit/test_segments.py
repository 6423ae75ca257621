"""Networks with segments: links that several nodes share."""

import functools
from typing import Any

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
    Connect,
    Part,
    Segment,
    Send,
    UpdateSegment,
    arrivals,
    by_polling,
    by_wakeups,
    channel,
    departures,
    link,
    network,
)

FAST = {name: link(up=channel(80 * MBIT), down=channel(80 * MBIT)) for name in "abcs"}
CELL = link(up=channel(8 * MBIT, delay=0.1), down=channel(16 * MBIT, delay=0.05))
CHUNK_SECONDS = CHUNK_BYTES * 8 / (8 * MBIT)


def cell(profile: LinkProfile = CELL, inside: str = "ab") -> Network:
    return network(FAST, segments={"C": Segment(profile, inside)})


def test_what_leaves_a_segment_crosses_its_link_and_what_comes_in_too() -> None:
    out, home = arrivals(cell(), Send(0.0, "a", "s", MB), Send(5.0, "s", "a", MB))
    assert_close(out, 1.1, absolute=CHUNK_SECONDS, what="arrival outside")
    assert_close(home, 5.55, absolute=CHUNK_SECONDS, what="arrival inside")


def test_what_stays_within_a_segment_does_not_cross_its_link() -> None:
    first, second = arrivals(cell(), Send(0.0, "a", "b", MB), Send(5.0, "s", "c", MB))
    assert_close(first, 0.1, absolute=CHUNK_SECONDS, what="arrival inside")
    assert_close(second, 5.1, absolute=CHUNK_SECONDS, what="arrival of who has nothing to do with it")


def test_the_nodes_of_a_segment_share_its_link() -> None:
    both = arrivals(cell(), Send(0.0, "a", "s", MB), Send(0.0, "b", "s", MB), Send(0.0, "c", "s", MB))
    assert both[:2] == pytest.approx([2.1, 2.1], abs=2 * CHUNK_SECONDS)
    assert_close(both[2], 0.1, absolute=2 * CHUNK_SECONDS, what="arrival of who is not in it")


@pytest.mark.parametrize(("receiver", "crossed"), [("b", 0.0), ("c", 0.1), ("d", 0.3), ("s", 0.3)])
def test_segments_within_segments_are_crossed_as_far_as_needed(receiver: str, crossed: float) -> None:
    inner, outer = (link(up=channel(80 * MBIT, delay=delay), down=channel(80 * MBIT)) for delay in (0.1, 0.2))
    nodes = {**FAST, "d": FAST["a"]}
    built = network(nodes, segments={"O": Segment(outer, "Ic"), "I": Segment(inner, "ab")})
    due = arrivals(built, Send(0.0, "a", receiver, 1000))[0]
    assert_close(due, crossed, absolute=0.001, what="arrival")


def test_a_message_between_two_segments_goes_up_the_one_and_down_the_other() -> None:
    other = link(up=channel(80 * MBIT), down=channel(4 * MBIT, delay=0.3))
    built = network(FAST, segments={"C": Segment(CELL, "a"), "D": Segment(other, "b")})
    assert_close(arrivals(built, Send(0.0, "a", "b", MB))[0], 2.4, absolute=2 * CHUNK_SECONDS, what="arrival")


def test_a_sender_is_through_when_its_own_link_is() -> None:
    assert_close(departures(cell(), Send(0.0, "a", "s", MB))[0], 0.1)


def test_a_full_segment_holds_messages_back_at_their_senders() -> None:
    small = link(up=channel(8 * MBIT, queue=250_000), down=channel(8 * MBIT))
    sends = [Send(0.0, "a", "s", MB), Send(0.2, "b", "s", MB), Send(0.2, "b", "a", 0)]
    left = departures(cell(small), *sends)
    # At 0.2 s 0.8 MB of a's wait for the segment's link, which are 250 kB at 0.75 s.
    assert_close(left[1], 0.75 + 0.1, absolute=0.001, what="departure of what has to wait")
    assert_close(left[2], 0.2, what="departure of what stays within")


def test_a_segment_s_link_may_change_in_mid_message() -> None:
    slower = link(up=channel(4 * MBIT, delay=0.1), down=channel(MBIT))
    due = arrivals(cell(), Send(0.0, "a", "s", MB), UpdateSegment(0.5, "C", slower))
    assert_close(due[0], 1.6, absolute=2 * CHUNK_SECONDS, what="arrival")


def test_a_way_through_a_segment_that_promises_something_does() -> None:
    unlimited = network(a=link(), b=link(), s=link(), segments={"C": Segment(link(up=channel(MBIT)), "ab")})
    assert not unlimited.promises_nothing("a", "s")
    assert unlimited.promises_nothing("a", "b")
    assert unlimited.promises_nothing("s", "a")


def test_who_is_away_is_not_in_the_way_of_others_at_the_segment() -> None:
    actions: list[Action] = [Send(0.0, "a", "s", MB), Send(0.0, "b", "s", MB)]
    away: list[Action] = [Connect(1.0, "a", False), Connect(6.0, "a", True)]
    first, second = arrivals(cell(), *actions, *away)
    assert_close(second, 1.6, absolute=2 * CHUNK_SECONDS, what="arrival of who stays")
    assert_close(first, 6.6, absolute=2 * CHUNK_SECONDS, what="arrival of who was away")


def test_a_segment_that_is_cut_off_goes_on_by_itself() -> None:
    actions: list[Action] = [Send(0.0, "a", "s", MB), Send(0.0, "b", "a", MB)]
    first, second = arrivals(cell(), *actions, Part(0.05, ["ab", "sc"]), Part(4.05, []))
    assert_close(first, 5.1, absolute=2 * CHUNK_SECONDS, what="arrival outside")
    assert_close(second, 0.1, absolute=CHUNK_SECONDS, what="arrival inside")


@pytest.mark.parametrize("parent", ["none", "C"])
def test_a_segment_comes_after_the_one_that_it_is_in(parent: str) -> None:
    with pytest.raises(ValueError, match="which there is not"):
        Network().add_segment("C", CELL, parent)
    with pytest.raises(ValueError, match="which there is not"):
        Network().add("a", CELL, "C")


def test_jitter_of_a_segment_is_each_message_s_own() -> None:
    shaky = link(up=channel(80 * MBIT, delay=0.5, jitter=0.1), down=channel(80 * MBIT))
    sends = [Send(2.0 * number, "a", "s", 1000) for number in range(8)]
    due = arrivals(cell(shaky), *sends)
    assert due == arrivals(cell(shaky), *sends)
    assert len({round(one - send.at, 9) for one, send in zip(due, sends, strict=True)}) == 8


# -- laws, with a segment within a segment

speeds = st.floats(1e5, 1e8)
profiles = st.builds(
    link,
    *[
        st.builds(
            channel,
            speeds,
            delay=st.floats(0, 0.1),
            queue=st.sampled_from([1.0, 64 * 1024.0, 64 * 2.0**20]),
            sharing=st.sampled_from(["fifo", "fair"]),
        )
    ]
    * 2,
)
sends = st.builds(
    lambda at, pair, nbytes: Send(at, *pair, nbytes),
    st.one_of(st.floats(0, 1), st.just(0.0)),
    st.sampled_from([(one, other) for one in "abcs" for other in "abcs" if one != other]),
    st.integers(0, 200_000),
)
traffics = st.lists(sends, min_size=1, max_size=8).map(lambda sends: sorted(sends, key=lambda send: send.at))
worlds = st.lists(profiles, min_size=6, max_size=6)


def built(drawn: list[LinkProfile], slower: float = 1.0) -> Network:
    """Nodes a and b in a segment that is in another, with c; s is in none. Rates by `slower`, delays times it."""

    def at(profile: LinkProfile) -> LinkProfile:
        ways = (profile.up, profile.down)
        up, down = (one.model_copy(update={"rate": one.rate / slower, "delay": one.delay * slower}) for one in ways)
        return link(up, down)

    nodes = dict(zip("abcs", map(at, drawn[:4]), strict=True))
    return network(nodes, segments={"O": Segment(at(drawn[4]), "Ic"), "I": Segment(at(drawn[5]), "ab")})


@given(worlds, traffics)
def test_every_message_leaves_once_and_then_arrives_once(drawn: list[LinkProfile], actions: list[Action]) -> None:
    news = [news for _, news in by_wakeups(built(drawn), actions)]
    left = [one.token for one in news if isinstance(one, Departure)]
    there = [one.token for one in news if isinstance(one, Arrival)]
    assert sorted(left) == sorted(there) == list(range(len(actions)))


@given(worlds, traffics)
def test_what_leaves_a_segment_never_exceeds_its_rate(drawn: list[LinkProfile], actions: list[Any]) -> None:
    due = arrivals(built(drawn), *actions)
    for inside, profile in (("ab", drawn[5]), ("abc", drawn[4])):
        out = [
            (send, there)
            for send, there in zip(actions, due, strict=True)
            if send.sender in inside and send.receiver not in inside
        ]
        for _, there in out:
            by_then = [send for send, when in out if when <= there]
            seconds = sum(send.nbytes for send in by_then) * 8 / profile.up.rate
            assert there >= min(send.at for send in by_then) + seconds + profile.up.delay - 1e-6


@given(worlds, traffics, st.floats(0.01, 0.5))
def test_it_does_not_matter_when_somebody_looks(drawn: list[LinkProfile], actions: list[Action], step: float) -> None:
    woken = arrivals(built(drawn), *actions)
    polled = arrivals(built(drawn), *actions, drive=functools.partial(by_polling, step=step))
    for one, other in zip(polled, woken, strict=True):
        assert_close(one, other, what="arrival when polled, against woken")


@given(worlds, traffics)
def test_all_slower_is_the_same_later(drawn: list[LinkProfile], actions: list[Any]) -> None:
    # As long as chunks are as large: they grow with rates above 65 Mbit/s.
    slow = [
        link(*(one.model_copy(update={"rate": min(one.rate, 6e7)}) for one in (profile.up, profile.down)))
        for profile in drawn
    ]
    later = [Send(send.at * 2, send.sender, send.receiver, send.nbytes) for send in actions]
    for one, other in zip(arrivals(built(slow, 2.0), *later), arrivals(built(slow), *actions), strict=True):
        assert_close(one, 2 * other, what="arrival at half the speed")
