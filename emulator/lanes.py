"""A run's timeline as lanes: one for each node's device, and for each direction of a client's link."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from emulator.critical_path import Step
from emulator.event import Placed, title
from emulator.timeline import Span

Way = Literal["compute", "up", "down"]

MICROSECONDS = 1e6


@dataclass(frozen=True, order=True, slots=True)
class Lane:
    """Where something goes on: a node's device, or a direction of its link."""

    node: str
    way: Way


def lanes_of(span: Span, servers: Collection[str]) -> list[Lane]:
    """The lanes a span is drawn in.

    A message is drawn at its client's link; one between two clients at the links of both. A server's own link, which
    all messages cross, has no lane.
    """
    if not span.is_message:
        return [Lane(span.node, "compute")]
    found = []
    if span.node not in servers:
        found.append(Lane(span.node, "up"))
    if span.peer not in servers:
        found.append(Lane(span.peer, "down"))
    return found or [Lane(span.node, "up")]


def view(
    rounds: Mapping[int, Sequence[Span]],
    starts: Mapping[int, float],
    nodes: Sequence[str],
    servers: Collection[str],
    paths: Mapping[int, Sequence[Step]] | None = None,
    events: Iterable[Placed] = (),
) -> dict[str, Any]:
    """The timeline in columns of whole numbers, for a page to draw; times are in emulated microseconds.

    Rounds stand one after the other, each from its entry in `starts` (seconds) on, whatever lay between them when
    they ran. Lanes without a span are left out. `critical` marks what is on one of the `paths`. `events` have
    their places on the same axis.
    """
    critical = {id(step.span) for path in (paths or {}).values() for step in path}
    placed: list[tuple[int, Lane, Span]] = []
    for number, spans in rounds.items():
        began = min(span.start for span in spans)
        for span in spans:
            at = round((starts[number] + span.start - began) * MICROSECONDS)
            placed += [(at, lane, span) for lane in lanes_of(span, servers)]
    placed.sort(key=lambda one: one[0])
    lanes = _sorted({lane for _, lane, _ in placed}, nodes)
    lane_number = {lane: place for place, lane in enumerate(lanes)}
    stages = list(dict.fromkeys(span.stage for _, _, span in placed))
    stage_number = {stage: place for place, stage in enumerate(stages)}
    known = list(dict.fromkeys([*nodes, *(name for _, _, span in placed for name in (span.node, span.peer) if name)]))
    node_number = {name: place for place, name in enumerate(known)}
    return {
        "nodes": known,
        "lanes": [{"node": lane.node, "way": lane.way} for lane in lanes],
        "stages": stages,
        "lane": [lane_number[lane] for _, lane, _ in placed],
        "stage": [stage_number[span.stage] for _, _, span in placed],
        "start": [at for at, _, _ in placed],
        "length": [round(span.duration * MICROSECONDS) for _, _, span in placed],
        "node": [node_number[span.node] for _, _, span in placed],
        "peer": [node_number[span.peer] if span.peer else -1 for _, _, span in placed],
        "bytes": [span.bytes for _, _, span in placed],
        "critical": [int(id(span) in critical) for _, _, span in placed],
        "events": [
            {"at": round(one.at * MICROSECONDS), "title": title(one.event), "detail": one.event.detail}
            for one in events
        ],
    }


def _sorted(lanes: Iterable[Lane], nodes: Sequence[str]) -> list[Lane]:
    """Nodes in their own order, and of each what happens first in a round before what follows."""
    order = {name: place for place, name in enumerate(nodes)}
    ways: Sequence[Way] = ("compute", "up", "down")
    return sorted(lanes, key=lambda lane: (order.get(lane.node, len(order)), lane.node, ways.index(lane.way)))
