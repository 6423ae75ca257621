"""Which links lie between two nodes of a network, and whether the one can reach the other.

A node is in a segment, that perhaps in another one, or else in the network itself. A message goes up its sender's link
and those of the segments that the receiver is not in, then down those that the sender is not in and the receiver's
own. What stays within a segment does not cross that segment's links.
"""

from collections.abc import Collection, Iterator, Sequence

from emulator.link import Link
from emulator.profiles import LinkProfile

Pair = tuple[str, str]
"""A sender and a receiver."""
Links = tuple[Link, Link]
"""`up` and `down`."""


class Way:
    """The links from a sender to a receiver, with what their profiles say of a message's way as long as they hold."""

    __slots__ = ("apart", "jittered", "last", "later", "links", "no_jitter", "pair", "promises_nothing", "rate")

    def __init__(self, pair: Pair, links: Sequence[Link], apart: bool) -> None:
        self.pair = pair
        self.links = tuple(links)
        self.later = self.links[1:]
        self.last = len(links) - 1
        """The place of the last of them."""
        self.rate = min(link.rate for link in links)
        """Bit/s of the slowest."""
        self.jittered = any(link.channel.jitter for link in links)
        self.no_jitter = (0.0,) * len(links)
        self.apart = apart
        """Whether the receiver cannot be reached."""
        self.promises_nothing = not apart and all(link.promises_nothing for link in links)
        """Whether a message takes as long as the host takes."""


class Ways:
    """The links of all nodes and segments, and what keeps nodes apart."""

    def __init__(self) -> None:
        self._nodes: dict[str, Links] = {}
        self._segments: dict[str, Links] = {}
        self._within: dict[str, str | None] = {}  # the segment of each node
        self._parents: dict[str, str | None] = {}  # and of each segment
        self._disconnected: set[str] = set()
        self._groups: dict[str, int] = {}  # the side of each node of a partition
        self._known: dict[Pair, Way] = {}

    def add(self, node: str, profile: LinkProfile, segment: str | None) -> None:
        if segment is not None and segment not in self._segments:
            raise ValueError(f"{node} is in the segment '{segment}', which there is not")
        self._nodes[node] = Link(profile.up), Link(profile.down)
        self._within[node] = segment

    def add_segment(self, name: str, profile: LinkProfile, parent: str | None) -> None:
        if parent is not None and parent not in self._segments:
            raise ValueError(f"segment '{name}' is in the segment '{parent}', which there is not (yet)")
        self._segments[name] = Link(profile.up), Link(profile.down)
        self._parents[name] = parent

    def of_node(self, name: str) -> Links:
        """The node's own."""
        return self._nodes[name]

    def of_segment(self, name: str) -> Links:
        """The segment's own."""
        return self._segments[name]

    @property
    def links(self) -> Iterator[Link]:
        """All, in the order of adding."""
        for pair in (*self._nodes.values(), *self._segments.values()):
            yield from pair

    def between(self, pair: Pair) -> Way:
        """The way from a sender to a receiver, as of now."""
        way = self._known.get(pair)
        if way is None:
            sender, receiver = pair
            out, home = self._around(sender), self._around(receiver)
            ups = [self._segments[name][0] for name in out if name not in home]
            downs = [self._segments[name][1] for name in reversed(home) if name not in out]
            links = [self._nodes[sender][0], *ups, *downs, self._nodes[receiver][1]]
            way = self._known[pair] = Way(pair, links, self.apart(pair))
        return way

    def forget(self) -> None:
        """The links are not what they were."""
        self._known.clear()

    def connect(self, node: str, connected: bool) -> bool:
        """Let `node` reach others, or nobody; returns whether that is new."""
        if connected == (node not in self._disconnected):
            return False
        self._disconnected ^= {node}
        self.forget()
        return True

    def partition(self, groups: Sequence[Collection[str]]) -> bool:
        """Keep nodes of different groups apart; returns whether that is new. Raises ValueError for a node in two."""
        sides: dict[str, int] = {}
        for side, group in enumerate(groups):
            for node in group:
                if sides.setdefault(node, side) != side:
                    raise ValueError(f"{node} is in two groups of a partition")
        if sides == self._groups:
            return False
        self._groups = sides
        self.forget()
        return True

    def apart(self, pair: Pair) -> bool:
        """Whether the two cannot reach each other."""
        if not self._disconnected and not self._groups:
            return False
        sender, receiver = pair
        if sender in self._disconnected or receiver in self._disconnected:
            return True
        sides = self._groups.get(sender), self._groups.get(receiver)
        return None not in sides and sides[0] != sides[1]

    def _around(self, node: str) -> list[str]:
        """The segments that a node is in, the smallest first."""
        found: list[str] = []
        name = self._within[node]
        while name is not None:
            found.append(name)
            name = self._parents[name]
        return found
