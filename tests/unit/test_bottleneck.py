"""Which of the links on its way a message waits for: by hand, and by what a wider one would have changed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.bottleneck import Bottlenecks, Carried
from emulator.explanation import explain
from emulator.plan import Plan, SegmentPlan
from emulator.profiles import Channel, LinkProfile
from emulator.timeline import Span, latencies
from tests.tolerance import assert_close
from tests.unit.virtual_world import plan, run

MB = 10**6
CLIENTS = 4


def link(rate: str, delay: str = "0 s", **more: str) -> LinkProfile:
    channel = Channel(rate=rate, delay=delay, **more)
    return LinkProfile(name="a-link", source="a test", up=channel, down=channel)


def behind(cell: LinkProfile, own: LinkProfile, server: LinkProfile | None = None) -> Plan:
    """Four clients of such links in one segment, the server outside of it."""
    made = plan(clients=CLIENTS, rounds=3, workload={"bytes": MB})
    links = {"server": server or link("1 Gbit/s"), "client": own}
    nodes = [
        node.model_copy(
            update={"link": links[node.role], "segment": "cell" if node.role == "client" else None, "slowdown": 0.01}
        )
        for node in made.nodes
    ]
    return made.model_copy(update={"nodes": nodes, "segments": {"cell": SegmentPlan(link=cell)}})


def message(start: float, end: float, nbytes: int = MB, node: str = "client-1", peer: str = "server") -> Span:
    return Span("psl", 1, node, "uplink", start, end, bytes=nbytes, peer=peer)


def waited_for(made: Plan, *messages: Span) -> list[str]:
    found = Bottlenecks(messages, made.way)
    return [found.of(span) for span in messages]


# -- by hand


def test_alone_a_message_waits_for_the_slowest_link() -> None:
    assert waited_for(behind(link("10 Mbit/s"), link("20 Mbit/s")), message(0, 0.8)) == ["cell up"]
    assert waited_for(behind(link("20 Mbit/s"), link("10 Mbit/s")), message(0, 0.8)) == ["client-1 up"]
    assert waited_for(behind(link("20 Mbit/s"), link("20 Mbit/s"), link("10 Mbit/s")), message(0, 0.8)) == [
        "server down"
    ]
    back = message(0, 0.8, node="server", peer="client-2")
    assert waited_for(behind(link("10 Mbit/s"), link("20 Mbit/s")), back) == ["cell down"]


def test_a_shared_link_has_to_carry_what_others_send_at_the_same_time() -> None:
    made = behind(link("15 Mbit/s"), link("10 Mbit/s"))
    alone, beside = message(0, 0.8), message(0, 1.07, node="client-2")
    assert waited_for(made, alone) == ["client-1 up"]
    assert waited_for(made, alone, beside) == ["cell up", "cell up"]
    later = message(1, 2.07, node="client-2")
    assert waited_for(made, alone, later) == ["client-1 up", "client-2 up"]


def test_only_what_comes_while_it_is_on_its_way_counts() -> None:
    made = behind(link("15 Mbit/s"), link("10 Mbit/s"))
    # A tenth of the other's, 0.1 MB: 0.59 s of the cell, against 0.8 s of its own link.
    assert waited_for(made, message(0, 0.8), message(0.7, 1.7, node="client-2")) == ["client-1 up", "client-2 up"]


def test_what_stays_within_a_segment_does_not_cross_its_link() -> None:
    made = behind(link("1 Mbit/s"), link("10 Mbit/s"))
    assert waited_for(made, message(0, 0.8, peer="client-2")) == ["client-1 up"]


def test_a_small_message_waits_for_the_longest_delay() -> None:
    made = behind(link("15 Mbit/s", "5 ms"), link("10 Mbit/s", "60 ms"), link("1 Gbit/s", "80 ms"))
    assert waited_for(made, message(0, 0.145, 100)) == ["server down"]


def test_what_losses_leave_of_a_rate_counts() -> None:
    made = behind(link("12 Mbit/s", loss="30 %"), link("10 Mbit/s"))
    assert waited_for(made, message(0, 0.95)) == ["cell up"]


def test_of_links_without_limits_the_senders_is_named() -> None:
    made = behind(link("unlimited"), link("unlimited"), link("unlimited"))
    assert waited_for(made, message(0, 0), message(0, 0.001)) == ["client-1 up"] * 2


# -- what is carried


spans = st.lists(
    st.tuples(st.floats(0, 100), st.floats(0.001, 100), st.integers(0, 10**9)).map(
        lambda drawn: message(drawn[0], drawn[0] + drawn[1], drawn[2])
    ),
    max_size=20,
)


@given(spans, st.lists(st.floats(0, 200), min_size=3, max_size=3).map(sorted))
def test_all_is_carried_once(messages: list[Span], at: list[float]) -> None:
    carried, total = Carried(messages), sum(span.bytes for span in messages)
    tolerance = 1e-9 * total + 1e-3
    assert_close(carried.between(0, 200), total, absolute=tolerance, what="bytes in all")
    parts = carried.between(at[0], at[1]) + carried.between(at[1], at[2])
    assert_close(carried.between(at[0], at[2]), parts, absolute=tolerance, what="bytes")
    by_hand = sum(
        span.bytes * max(0.0, min(at[2], span.end) - max(at[0], span.start)) / span.duration for span in messages
    )
    assert_close(carried.between(at[0], at[2]), by_hand, absolute=tolerance, what="bytes, one by one")


# -- what a wider one would have changed


@pytest.mark.parametrize(
    ("cell", "own", "named"),
    [
        ("10 Mbit/s", "20 Mbit/s", "segment cell"),  # slower than each alone
        ("20 Mbit/s", "10 Mbit/s", "segment cell"),  # wider than each, and too narrow for four
        ("100 Mbit/s", "10 Mbit/s", "client"),  # wide enough for all
    ],
)
@pytest.mark.parametrize("sharing", ["fifo", "fair"])
def test_the_link_that_is_named_is_the_one_that_a_wider_one_helps(
    cell: str, own: str, named: str, sharing: str
) -> None:
    def mean(shared: LinkProfile, each: LinkProfile) -> float:
        found = latencies(run(behind(shared, each))[0])
        return sum(found.values()) / len(found)

    def twice(narrow: LinkProfile) -> LinkProfile:
        faster = {way: getattr(narrow, way).model_copy(update={"rate": 2 * narrow.up.rate}) for way in ("up", "down")}
        return narrow.model_copy(update=faster)

    shared, each = link(cell, sharing=sharing), link(own)
    explained = explain(run(behind(shared, each))[0], behind(shared, each))
    by_kind = dict.fromkeys(("segment cell", "client", "server"), 0.0)
    for resource, seconds in explained.resources.items():
        if resource.endswith(" link"):
            by_kind[next(kind for kind in by_kind if resource.startswith(kind))] += seconds
    before = mean(shared, each)
    gains = {"segment cell": before - mean(twice(shared), each), "client": before - mean(shared, twice(each))}
    assert max(by_kind, key=lambda kind: by_kind[kind]) == named
    assert max(gains, key=lambda kind: gains[kind]) == named
    if named == "segment cell":
        assert explained.bottleneck in ("segment cell up link", "segment cell down link")
    else:
        assert by_kind["segment cell"] == 0.0, "not even now and then"
