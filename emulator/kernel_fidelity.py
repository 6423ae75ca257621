"""What an ideal network would have made of the messages that the kernel carried (`links: kernel`).

The hub promises nothing where the kernel limits the links, so the messages of a finished run are sent once more through
a `Network` of the same profiles, at the times at which they were really sent (see `replay`).
"""

from collections.abc import Mapping, Sequence

from emulator.change import LINK_CHANGE
from emulator.network import Network
from emulator.profiles import LinkProfile
from emulator.replay import as_sent, replay, steady
from emulator.tc import on_wire
from emulator.timeline import Span


def promised(spans: Sequence[Span], links: Mapping[str, LinkProfile]) -> list[tuple[Span, float]]:
    """The messages on the clock of one run, and when `links` of these profiles would have delivered them (seconds).

    Packet headers count, as they do in the kernel. Jitter is left out: its mean is 0. Messages that were under way when
    a link of theirs changed, or came later, are left out.
    """
    network = Network()
    for node, link in links.items():
        network.add(node, steady(link))
    messages = as_sent((span for span in spans if span.is_message and not span.off_clock), links)
    dues = replay(messages, network, lambda span: on_wire(span.bytes))

    changes: dict[str, float] = {}
    for span in spans:
        if span.stage == LINK_CHANGE:
            changes[span.node] = min(span.start, changes.get(span.node, span.start))
    return [
        (span, due)
        for span, due in zip(messages, dues, strict=True)
        if all(span.end < changes.get(node, float("inf")) for node in (span.node, span.peer))
    ]
