"""How true the links are on the whole path node - hub - node: one at a time, many at once, shared, following a trace;
and what that costs the hub.
"""

import json
import statistics
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from emulator.host import CoreTimes
from emulator.selftest.ways import jain
from emulator.timeline import Span
from emulator.units import RATE, parse
from tests.benchmarks.harness import Nodes, carried_out, link, measure
from tests.benchmarks.host_timer import host_timer

KIB = 1024
MANY = 16
EQUAL = 8
CLIENTS = 40
SECONDS = 4.0
DELAY = 0.010
WINDOW = 1.0


def senders(count: int, on: dict[str, Any], receiver: dict[str, Any]) -> Nodes:
    """So many equal senders, and the server that receives."""
    nodes: dict[str, Any] = {f"sender-{number}": ("many_senders", "host", on) for number in range(1, count + 1)}
    return {**nodes, "server": ("many_receiver", "host", receiver)}


def by_sender(spans: Sequence[Span]) -> dict[str, list[Span]]:
    """The messages on the clock, in the order of their arrival."""
    found: defaultdict[str, list[Span]] = defaultdict(list)
    for span in sorted(spans, key=lambda span: span.end):
        if span.is_message and not span.off_clock:
            found[span.node].append(span)
    return dict(found)


def achieved(messages: Sequence[Span]) -> float:
    """Bit/s of messages sent back to back, over a link without delay."""
    seconds = max(span.end for span in messages) - min(span.start for span in messages)
    return sum(span.bytes for span in messages) * 8 / seconds


def rate_error(rate: str, count: int, nbytes: int) -> dict[str, Any]:
    """Achieved over configured rate, less 1, of so many senders at once: of the one that is furthest off."""
    configured = parse(rate, RATE)
    messages = max(2, round(SECONDS * configured / 8 / nbytes))
    spans = measure(senders(count, link(rate), link()), 1, nbytes=nbytes, count=messages)[1]
    errors = [achieved(own) / configured - 1 for own in by_sender(spans).values()]
    return {"rate": rate, "senders": count, "message_bytes": nbytes, "rate_error": max(errors, key=abs)}


def added_delay(count: int) -> dict[str, Any]:
    """One-way delay of small messages beyond the profile's, of so many senders at once; and how late the host was to
    a real-time timer meanwhile, and which share of its cores its hypervisor gave to other machines."""
    nodes = senders(count, link(delay=f"{1000 * DELAY:g} ms"), link())
    before = CoreTimes.now()
    with host_timer() as host:
        spans = [span for spans in measure(nodes, 200, nbytes=64, count=1).values() for span in spans]
    stolen = CoreTimes.now().stolen_since(before)
    added = sorted(1e3 * (span.duration - DELAY) for own in by_sender(spans).values() for span in own)
    p99 = added[len(added) * 99 // 100]
    found = {"median": statistics.median(added), "p99": p99, "worst": added[-1]}
    return {
        "senders": count,
        "added_ms": found,
        "host_timer_worst_ms": next(iter(host), None),
        "host_stolen": stolen,
    }


def fairness() -> dict[str, Any]:
    """Jain's index of equal flows through one link that they share fairly, while all of them last; and its rate."""
    shared = parse("20 Mbit/s", RATE)
    count = round(SECONDS * shared / EQUAL / 8 / (64 * KIB))
    nodes = senders(EQUAL, link("100 Mbit/s"), link("20 Mbit/s", sharing="fair"))
    own = by_sender(measure(nodes, 1, nbytes=64 * KIB, count=count)[1])
    until = min(spans[-1].end for spans in own.values())
    began = min(span.start for spans in own.values() for span in spans)
    got = [carried_by(spans, until) - carried_by(spans, began) for spans in own.values()]
    return {"flows": EQUAL, "jain": jain(got), "rate_error": sum(got) * 8 / (until - began) / shared - 1}


def carried_by(spans: Sequence[Span], time: float) -> float:
    """Bytes that have come by `time`, a message's as evenly as they come."""
    total, before = 0.0, min(span.start for span in spans)
    for span in spans:
        part = 1.0 if span.end <= time else max(0.0, (time - before) / (span.end - before))
        total += span.bytes * part
        before = span.end
    return total


def trace_error() -> dict[str, Any]:
    """Delivered bytes over the trace's, less 1, in the windows of a second and little more between two arrivals."""
    from emulator.library import resolve_testbed
    from emulator.profiles import LinkProfile, Testbed
    from emulator.rate import of_channel

    on = {"source": "benchmark", "up": {"trace": "lte", "offset": "0 s", "queue": "unlimited"}, "down": link()["down"]}
    node = {"role": "sender", "device": "host", "link": on}
    (resolved,) = resolve_testbed(Testbed.model_validate({"nodes": [node]})).nodes
    assert isinstance(resolved.link, LinkProfile)
    trace = of_channel(resolved.link.up)
    count = round(5 * SECONDS * trace.mean / 8 / (16 * KIB))
    (own,) = by_sender(measure(senders(1, on, link()), 1, nbytes=16 * KIB, count=count)[1]).values()
    ends, bytes_by = [span.end for span in own], np.cumsum([span.bytes for span in own])
    errors = []
    for first in range(len(own)):
        last = int(np.searchsorted(ends, ends[first] + WINDOW))
        if last < len(own):
            ideal = trace.carried(ends[first], ends[last])
            errors.append(float(bytes_by[last] - bytes_by[first]) / ideal - 1)
    return {"windows": len(errors), "worst_error": max(errors, key=abs), "median_error": statistics.median(errors)}


def hub_cost(nbytes: int) -> dict[str, Any]:
    """Cores that the hub takes while so many clients send 10 Mbit/s each, and whether they get that."""
    configured = parse("10 Mbit/s", RATE)
    count = round(2 * SECONDS * configured / 8 / nbytes)
    by_round, outcome = carried_out(senders(CLIENTS, link("10 Mbit/s"), link()), 1, nbytes=nbytes, count=count)
    assert outcome.hub is not None
    errors = [achieved(own) / configured - 1 for own in by_sender(by_round[1]).values()]
    return {
        "clients": CLIENTS,
        "message_bytes": nbytes,
        "hub_cores": outcome.hub.cpu,
        "hub_late_p95_ms": 1e3 * outcome.hub.late_p95,
        "worst_rate_error": max(errors, key=abs),
    }


def main() -> None:
    figures = {
        "one_link": [
            rate_error("1 Mbit/s", 1, 64 * KIB),
            rate_error("10 Mbit/s", 1, 256 * KIB),
            rate_error("100 Mbit/s", 1, 1024 * KIB),
            rate_error("1 Gbit/s", 1, 4096 * KIB),
        ],
        "at_once": [rate_error("1 Mbit/s", MANY, 64 * KIB), rate_error("10 Mbit/s", MANY, 256 * KIB)],
        "delay": [added_delay(1), added_delay(MANY)],
        "fair": fairness(),
        "trace": trace_error(),
        "hub": [hub_cost(nbytes * KIB) for nbytes in (16, 64, 256)],
    }
    print(json.dumps({"links": figures}, indent=2))


if __name__ == "__main__":
    main()
