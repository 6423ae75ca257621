"""What ideal links of the profiles make of messages that were really sent, by sending them once more, at their times.

Whatever carried them, the hub or the kernel, what it made of them is compared with this. Times are emulated seconds.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from emulator.change import DEVICE_CHANGE
from emulator.network import Arrival, Departure, Network
from emulator.plan import Plan
from emulator.profiles import Channel, LinkProfile
from emulator.timeline import Span

MOST_MESSAGES = 500
MOST_BYTES = 512 * 2**20
"""Of a run, from its beginning on, are enough to see what its links are; more would take as long as the run."""


@dataclass(frozen=True, slots=True)
class Promise:
    """A message, and what became of it in `replay`."""

    span: Span
    due: float
    """When ideal links without jitter deliver it."""
    jitter: float
    """Standard deviation of its delay, in seconds."""


def replay(
    messages: Sequence[Span], network: Network, nbytes: Callable[[Span], int] = lambda span: span.bytes
) -> list[float]:
    """When `network`, empty so far, delivers each of the `messages`, which are in the order of their sending."""
    dues: dict[int, float] = {}

    def note(happened: Iterable[Arrival | Departure]) -> None:
        dues.update({news.token: news.due for news in happened if isinstance(news, Arrival)})

    for number, span in enumerate(messages):
        note(network.advance(span.start))
        network.send(span.start, span.node, span.peer, nbytes(span), number)
    while (moment := network.wakeup()) is not None:
        note(network.advance(moment))
    return [dues[number] for number in range(len(messages))]


def network_of(plan: Plan, *, still: bool = False) -> Network:
    """The links of `plan`, as the hub has them at the beginning of a run; `still` ones have no jitter."""
    if still:
        nodes = [node.model_copy(update={"link": steady(node.link)}) for node in plan.nodes]
        segments = {name: each.model_copy(update={"link": steady(each.link)}) for name, each in plan.segments.items()}
        plan = plan.model_copy(update={"nodes": nodes, "segments": segments})
    return plan.network()


def as_sent(messages: Iterable[Span], nodes: Iterable[str]) -> list[Span]:
    """The messages in the order of their sending; `nodes` in the testbed's.

    Receivers note them, and their notes come in any order. What one node sends at one moment, it sends to each of the
    others in turn, in the testbed's order; and what to one, as it came.
    """
    place = {name: number for number, name in enumerate(nodes)}
    found = sorted(
        messages, key=lambda span: (span.start, span.node, span.peer, span.end if span.due is None else span.due)
    )
    turns: defaultdict[tuple[float, str, str], int] = defaultdict(int)
    order = {}
    for span in found:
        turn = (span.start, span.node, span.peer)
        order[id(span)] = (span.start, turns[turn], place[span.node], place[span.peer])
        turns[turn] += 1
    return sorted(found, key=lambda span: order[id(span)])


def promises(spans: Sequence[Span], plan: Plan) -> list[Promise]:
    """The first messages on the clock of one run, up to its first live change, and what `plan` promises of them.

    Only of those that the hub promised something of, and that were really sent.
    """
    crossed = (span for span in spans if span.is_message and not span.off_clock and span.source == "measured")
    sent = as_sent(crossed, (node.name for node in plan.nodes))
    changed = min((span.start for span in spans if span.detail and span.stage != DEVICE_CHANGE), default=math.inf)
    total, first = 0, list[Span]()
    for span in sent[:MOST_MESSAGES]:
        total += span.bytes
        if total > MOST_BYTES or span.start >= changed:
            break
        first.append(span)
    return [
        Promise(span, due, jitter(plan, span))
        for span, due in zip(first, replay(first, network_of(plan, still=True)), strict=True)
        if span.due is not None and span.end < changed
    ]


def jitter(plan: Plan, span: Span) -> float:
    """Standard deviation of a message's delay over the links on its way, in seconds."""
    return math.hypot(*(channel.jitter for _, channel in plan.way(span.node, span.peer)))


def steady(link: LinkProfile) -> LinkProfile:
    """The link without jitter."""

    def still(channel: Channel) -> Channel:
        return channel.model_copy(update={"jitter": 0.0})

    return link.model_copy(update={"up": still(link.up), "down": still(link.down)})
