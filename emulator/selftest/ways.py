"""The ways that messages of the self-test take, and what the profiles alone say of each: a closed form of its own, so
that a fault of the links' model shows beside it. Rates in bit/s, times in seconds."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from emulator.plan import SERVER_ROLES, NodePlan
from emulator.profiles import Channel
from emulator.transport import goodput, repair_delay


@dataclass(frozen=True)
class Way:
    """From one node to another, over links in this order."""

    sender: str
    receiver: str
    client: str
    """The one of the two that is not the conductor."""
    hops: tuple[tuple[str, Channel], ...]
    """The name of each link's direction, and what it is."""

    @property
    def name(self) -> str:
        return f"{self.client} {'up' if self.client == self.sender else 'down'}"

    @property
    def rate(self) -> float:
        """That of the narrowest link."""
        return min(channel.rate for _, channel in self.hops)

    @property
    def goodput(self) -> float:
        """What loss leaves of it, by the formula of `transport`."""
        return min(left(channel) for _, channel in self.hops)

    @property
    def delay(self) -> float:
        """One way, repairs of losses included, jitter not."""
        return math.fsum(channel.delay + repair_delay(channel.delay, channel.loss) for _, channel in self.hops)

    @property
    def normals(self) -> list[tuple[float, float]]:
        """Mean and standard deviation of each link's delay, which is a normal one, clipped at 0."""
        return [(channel.delay + repair_delay(channel.delay, channel.loss), channel.jitter) for _, channel in self.hops]


def left(channel: Channel) -> float:
    """What loss leaves of a channel's rate."""
    return goodput(channel.rate, channel.delay, channel.loss)


def conductor_of(nodes: Sequence[NodePlan]) -> str:
    """The node at whose links all others meet: the server, or the first node of a testbed without one."""
    return next((node.name for node in nodes if node.role in SERVER_ROLES), nodes[0].name)


def ways_of(nodes: Sequence[NodePlan]) -> list[Way]:
    """Each other node's way to the conductor, and back."""
    conductor = next(node for node in nodes if node.name == conductor_of(nodes))
    found: list[Way] = []
    for node in nodes:
        if node is not conductor:
            found += [_way(node, conductor, node.name), _way(conductor, node, node.name)]
    return found


def _way(sender: NodePlan, receiver: NodePlan, client: str) -> Way:
    hops = ((f"{sender.name} up", sender.link.up), (f"{receiver.name} down", receiver.link.down))
    return Way(sender.name, receiver.name, client, hops)


def entitled(ways: Iterable[Way]) -> dict[str, float]:
    """The rate that each of `ways` (by name) is entitled to while all of them are busy.

    That of its own links and, where a link is shared and too narrow for all, its part of that: first come, first
    served in proportion to what comes, a fair link as much as any other that wants as much (max-min fairness).
    """
    users: dict[str, list[Way]] = {}
    channels: dict[str, Channel] = {}
    for way in ways:
        for name, channel in way.hops:
            users.setdefault(name, []).append(way)
            channels[name] = channel
    rates = {way.name: math.inf for own in users.values() for way in own}
    for link in sorted(users, key=lambda link: len(users[link])):  # each one's own first, then what ever more share
        capacity = left(channels[link])
        wanted = {way.name: min(rates[way.name], capacity) for way in users[link]}
        if math.fsum(wanted.values()) > capacity:
            wanted = _max_min(wanted, capacity) if channels[link].sharing == "fair" else _scaled(wanted, capacity)
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
