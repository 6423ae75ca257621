"""Runs in virtual time over links that follow a trace: what they deliver is what the trace says."""

from collections.abc import Mapping
from typing import Any

import pytest

from emulator.library import resolve_testbed
from emulator.profiles import LinkProfile, Testbed
from emulator.rate import of_channel
from emulator.timeline import Span
from emulator.trace import Trace
from emulator.trace_text import directions
from tests.tolerance import assert_close
from tests.unit.virtual_world import DEVICE, plan, run

ROWS = "seconds,rate Mbit/s\n0,4\n0.35,12\n0.7,2\n1.9,0\n2.2,7\n3.1,"
CELL = "".join(f"{at}\n" * (at % 4) for at in range(1, 2000, 3))  # Mahimahi's format: bursts of up to three packets
OPEN = {"rate": "unlimited", "queue": "unlimited"}


def link(**up: Any) -> dict[str, Any]:
    return {"name": "mine", "source": "a test", "up": {"queue": "64 KiB", **up}, "down": OPEN}


def delivered(words: Mapping[str, Any], messages: int = 2000, clients: int = 1) -> dict[str, list[Span]]:
    """What each client has sent without a pause, in the order in which it came."""
    made = plan(
        {"server": "takes_all", "client": "streams"},
        link=words,
        clients=clients,
        rounds=1,
        workload={"messages": messages},
    )
    found: dict[str, list[Span]] = {}
    for span in run(made)[0]:
        if span.stage == "drop":
            found.setdefault(span.node, []).append(span)
    return {node: sorted(spans, key=lambda span: span.end) for node, spans in found.items()}


def trace_of(words: Mapping[str, Any]) -> Trace:
    found = of_channel(LinkProfile.model_validate(words).up)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "up",
    [
        {"trace": {"rows": ROWS}},
        {"trace": {"rows": ROWS}, "offset": "1.7 s"},
        {"trace": {"rows": ROWS}, "rate": "6 Mbit/s", "delay": "20 ms"},
        {"trace": {"rows": directions(CELL)["up"]}},
    ],
    ids=["a table", "with an offset", "capped and delayed", "Mahimahi's"],
)
def test_any_second_delivers_what_the_trace_says_within_two_per_cent(up: Mapping[str, Any]) -> None:
    words = {**link(**up), "name": "mine"}
    # The server's place is 0, so that an offset of its own is not spread; the client's is said here.
    words["up"].setdefault("offset", "0 s")
    (spans,) = delivered(words).values()
    trace, delay = trace_of(words), LinkProfile.model_validate(words).up.delay
    last, size = spans[-1].end, spans[0].bytes
    assert last > 3.5, "longer than a period"
    begin = delay
    while begin + 1 < last:
        there = sum(span.bytes for span in spans if begin < span.end <= begin + 1)
        said = trace.carried(begin - delay, begin - delay + 1)
        # A message counts when its last byte is there: at either end one may be under way.
        assert_close(there, said, relative=0.02, absolute=2 * size, what=f"bytes from {begin:.2f} s on")
        begin += 0.13
    # Over all of it there is no such doubt, and no byte too many.
    assert_close(sum(span.bytes for span in spans), trace.carried(0.0, last - delay), relative=1e-6)


def test_clients_on_one_trace_do_not_move_in_step() -> None:
    nodes = [{"role": "client", "device": DEVICE, "link": link(trace={"rows": ROWS}), "count": 4}]
    resolved = resolve_testbed(Testbed.model_validate({"name": "t", "nodes": nodes})).nodes
    traces = [trace_of(node.link.model_dump(mode="json")) for node in resolved if isinstance(node.link, LinkProfile)]
    assert len({trace.carried(0.0, 0.5) for trace in traces}) == 4
    assert len({round(trace.mean, 3) for trace in traces}) == 1
    ends = {node: spans[-1].end for node, spans in delivered(link(trace={"rows": ROWS}), 600, clients=3).items()}
    assert len(set(ends.values())) == 3


def test_the_same_run_is_the_same_again() -> None:
    first, again = (delivered(link(trace={"rows": ROWS}, jitter="5 ms"), 300, clients=2) for _ in range(2))
    assert first == again
