"""What the nodes and links of a testbed are at any time of a run: what they began as, and what has changed since.

Pure. A scenario's changes last to the end of their run, a user's over the runs that follow.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from emulator.change import (
    CONNECTION_CHANGE,
    LINK_CHANGE,
    PARTITION_CHANGE,
    changed,
    differences,
    segment_differences,
)
from emulator.figures import altered, checked, scaled, slowed
from emulator.network import Arrival, Departure, Network
from emulator.plan import NodePlan, Plan
from emulator.profiles import HUB, DeviceProfile, LinkProfile
from emulator.scenario import Change, is_whole


@dataclass(frozen=True)
class Effect:
    """What a change came to, of the node or segment `who`, or of the network. One of the last four is given."""

    who: str
    details: dict[str, str]
    """By the stage that the timeline shows it as, a line for the reader."""
    node: NodePlan | None = None
    segment: LinkProfile | None = None
    connected: bool | None = None
    groups: Sequence[Sequence[str]] | None = None


def carry_out(network: Network, at: float, effect: Effect) -> list[Arrival | Departure]:
    """Have `network` be so from `at` on; returns the news, as `Network.update` does."""
    if effect.node is not None:
        return network.update(at, effect.who, effect.node.link) if LINK_CHANGE in effect.details else []
    if effect.segment is not None:
        return network.update_segment(at, effect.who, effect.segment)
    if effect.connected is not None:
        return network.connect(at, effect.who, effect.connected)
    return network.partition(at, effect.groups or [])


class InForce:
    """The nodes and segments of `plan`, with the changes in force."""

    def __init__(self, plan: Plan) -> None:
        self._core_flops = plan.core_flops
        self._own = {node.name: node for node in plan.nodes}  # as the next run begins
        self._own_segments: dict[str, LinkProfile] = {name: one.link for name, one in plan.segments.items()}
        self.begin()

    def begin(self) -> None:
        """A run begins: what a scenario had changed is as it was."""
        self.nodes = dict(self._own)
        self.segments = dict(self._own_segments)
        self._away: set[str] = set()
        self._groups: Sequence[Sequence[str]] = []

    def alter(self, after: NodePlan) -> None:
        """A user has made this of a node: until the scenario changes the same again, and over the runs that follow."""
        name = after.name
        before, own = self.nodes[name], self._own[name]
        given = {key: getattr(after, key) for key in ("link", "device", "slowdown")}
        new = {key: value for key, value in given.items() if value != getattr(before, key)}
        self._own[name] = own.model_copy(update=new)
        self.nodes[name] = after

    def alter_segment(self, name: str, after: LinkProfile) -> None:
        """A user has given a segment this link: for as long as `alter` has it."""
        if after != self.segments[name]:
            self._own_segments[name] = self.segments[name] = after

    def apply(self, change: Change) -> Effect | None:
        """Have `change` in force; None where nothing is different."""
        if change.groups is not None:
            return self._part(change.groups)
        if change.connected is not None:
            return self._connect(change.node, change.connected)
        if change.segment:
            return self._apply_to_segment(change)
        before, own = self.nodes[change.node], self._own[change.node]
        link = None if change.of_device else _link(change, before.link, own.link)
        device = _device(change, before.device, own.device) if change.of_device else None
        after = changed(before, link, device, self._core_flops)
        self.nodes[change.node] = after
        details = differences(before, after)
        return Effect(change.node, details, node=after) if details else None

    def _apply_to_segment(self, change: Change) -> Effect | None:
        name, before = change.segment, self.segments[change.segment]
        after = _link(change, before, self._own_segments[name])
        self.segments[name] = after
        details = segment_differences(before, after)
        return Effect(name, details, segment=after) if details else None

    def _connect(self, name: str, connected: bool) -> Effect | None:
        if connected is (name not in self._away):
            return None
        self._away ^= {name}
        return Effect(name, {CONNECTION_CHANGE: "reconnected" if connected else "disconnected"}, connected=connected)

    def _part(self, groups: Sequence[Sequence[str]]) -> Effect | None:
        if groups == self._groups:
            return None
        self._groups = groups
        said = " | ".join(", ".join(group) for group in groups)
        return Effect(HUB, {PARTITION_CHANGE: f"partition {said}" if said else "partition healed"}, groups=groups)


def _link(change: Change, link: LinkProfile, own: LinkProfile) -> LinkProfile:
    """What becomes of `link`, which began the run as `own`."""
    if change.restores_link:
        return own
    if change.scale is not None:
        return scaled(link, own, change.scale)
    words = change.link or {}
    return checked(LinkProfile, words) if is_whole(words) else altered(link, words)


def _device(change: Change, device: DeviceProfile, own: DeviceProfile) -> DeviceProfile:
    """What becomes of `device`, which began the run as `own`."""
    if change.restores_device:
        return own
    if change.slow is not None:
        return slowed(device, own, change.slow)
    words = change.device or {}
    return checked(DeviceProfile, words) if is_whole(words) else altered(device, words)
