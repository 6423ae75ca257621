"""The ways that messages of the self-test take, and what the profiles alone say of each: a closed form of its own, so
that a fault of the links' model shows beside it. Rates in bit/s, times in seconds.

A rate that follows a trace has no closed form: of such a way the mean is known, and the rest is the model's.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from emulator.link import Link
from emulator.plan import SERVER_ROLES, NodePlan, Plan
from emulator.profiles import Channel
from emulator.rate import of_channel


@dataclass(frozen=True)
class Hop:
    """One direction of a link on a way."""

    name: str
    channel: Channel
    rate: float
    """By the profile; of a trace its mean."""
    goodput: float
    """What loss leaves of it, by the formula of `transport`."""
    delay: float
    """Repairs of losses included, jitter not."""
    traced: bool

    @classmethod
    def of(cls, name: str, channel: Channel) -> "Hop":
        trace, link = of_channel(channel), Link(channel)
        if link.rate == channel.rate:  # without loss and trace, it is as simple as that
            return cls(name, channel, channel.rate, channel.rate, channel.delay, traced=False)
        rate = channel.rate if trace is None else trace.mean
        return cls(name, channel, rate, link.rate, link.latency, traced=trace is not None)


@dataclass(frozen=True)
class Way:
    """From one node to another, over links in this order."""

    sender: str
    receiver: str
    client: str
    """The one of the two that is not the conductor."""
    hops: tuple[Hop, ...]

    @property
    def name(self) -> str:
        return f"{self.client} {'up' if self.client == self.sender else 'down'}"

    @property
    def rate(self) -> float:
        """That of the narrowest link."""
        return min(hop.rate for hop in self.hops)

    @property
    def goodput(self) -> float:
        """What loss leaves of it."""
        return min(hop.goodput for hop in self.hops)

    @property
    def delay(self) -> float:
        """One way, jitter left out."""
        return math.fsum(hop.delay for hop in self.hops)

    @property
    def traced(self) -> bool:
        """Whether a rate on the way follows a trace."""
        return any(hop.traced for hop in self.hops)

    @property
    def normals(self) -> list[tuple[float, float]]:
        """Mean and standard deviation of each link's delay, which is a normal one, clipped at 0."""
        return [(hop.delay, hop.channel.jitter) for hop in self.hops]


def conductor_of(nodes: Sequence[NodePlan]) -> str:
    """The node at whose links all others meet: the server, or the first node of a testbed without one."""
    return next((node.name for node in nodes if node.role in SERVER_ROLES), nodes[0].name)


def ways_of(plan: Plan) -> list[Way]:
    """Each other node's way to the conductor, and back."""
    conductor = conductor_of(plan.nodes)
    return [
        Way(sender, receiver, node.name, tuple(Hop.of(*hop) for hop in plan.way(sender, receiver)))
        for node in plan.nodes
        if node.name != conductor
        for sender, receiver in ((node.name, conductor), (conductor, node.name))
    ]


def entitled(ways: Iterable[Way]) -> dict[str, float]:
    """The rate that each of `ways` (by name) is entitled to while all of them are busy.

    That of its own links and, where a link is shared and too narrow for all, its part of that: first come, first
    served in proportion to what comes, a fair link as much as any other that wants as much (max-min fairness).
    """
    users: dict[str, list[Way]] = {}
    hops: dict[str, Hop] = {}
    for way in ways:
        for hop in way.hops:
            users.setdefault(hop.name, []).append(way)
            hops[hop.name] = hop
    rates = {way.name: math.inf for own in users.values() for way in own}
    for link in sorted(users, key=lambda link: len(users[link])):  # each one's own first, then what ever more share
        capacity = hops[link].goodput
        wanted = {way.name: min(rates[way.name], capacity) for way in users[link]}
        if math.fsum(wanted.values()) > capacity:
            wanted = _max_min(wanted, capacity) if hops[link].channel.sharing == "fair" else _scaled(wanted, capacity)
        rates |= wanted
    return rates


def _scaled(wanted: Mapping[str, float], capacity: float) -> dict[str, float]:
    total = math.fsum(wanted.values())
    return {name: rate * capacity / total for name, rate in wanted.items()}


def _max_min(wanted: Mapping[str, float], capacity: float) -> dict[str, float]:
    """Shares of `capacity`: nobody gets more than it wants, and what one leaves is the others'."""
    given: dict[str, float] = {}
    for place, name in enumerate(sorted(wanted, key=lambda name: wanted[name])):
        fair = (capacity - math.fsum(given.values())) / (len(wanted) - place)
        given[name] = min(wanted[name], fair)
    return given


def jain(shares: Iterable[float]) -> float:
    """Jain's fairness index of what each got over what it is entitled to: `(sum x)^2 / (n sum x^2)`, 1 where all
    are alike, 1/n where one has it all (Jain, Chiu and Hawe, DEC-TR-301, 1984)."""
    values = list(shares)
    return math.fsum(values) ** 2 / (len(values) * math.fsum(value * value for value in values))
