"""What an ideal network would have made of the messages that the kernel carried (`links: kernel`).

The hub promises nothing where the kernel limits the links, so the messages of a finished run are sent once more through
a `Network` of the same profiles, at the times at which they were really sent.
"""

from collections.abc import Iterable, Mapping, Sequence

from emulator.change import LINK_CHANGE
from emulator.network import Arrival, Departure, Network
from emulator.profiles import Channel, LinkProfile
from emulator.tc import on_wire
from emulator.timeline import Span


def promised(spans: Sequence[Span], links: Mapping[str, LinkProfile]) -> list[tuple[Span, float]]:
    """The messages on the clock of one run, and when `links` of these profiles would have delivered them (seconds).

    Packet headers count, as they do in the kernel. Jitter is left out: its mean is 0. Messages that were under way when
    a link of theirs changed, or came later, are left out.
    """
    network = Network()
    for node, link in links.items():
        network.add(node, link.model_copy(update={"up": _steady(link.up), "down": _steady(link.down)}))
    messages = sorted((span for span in spans if span.is_message and not span.off_clock), key=lambda span: span.start)
    dues: dict[int, float] = {}

    def note(happened: Iterable[Arrival | Departure]) -> None:
        dues.update({news.token: news.due for news in happened if isinstance(news, Arrival)})

    for number, span in enumerate(messages):
        note(network.advance(span.start))
        network.send(span.start, span.node, span.peer, on_wire(span.bytes), number)
    while (moment := network.wakeup()) is not None:
        note(network.advance(moment))

    changes: dict[str, float] = {}
    for span in spans:
        if span.stage == LINK_CHANGE:
            changes[span.node] = min(span.start, changes.get(span.node, span.start))
    return [
        (span, dues[number])
        for number, span in enumerate(messages)
        if all(span.end < changes.get(node, float("inf")) for node in (span.node, span.peer))
    ]


def _steady(channel: Channel) -> Channel:
    return channel.model_copy(update={"jitter": 0.0})
