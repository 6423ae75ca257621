"""A scenario as single changes, each of one node, of one segment's link, or of who reaches whom.

Pure: the words of an experiment come in, checked and with every profile in full (see `library`), and changes go out in
an order that is the same in every runtime. When they are due in a run, `playing` says; what they make of a node or a
link, `in_force`.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from emulator.document import Document
from emulator.errors import InputError, nearest
from emulator.figures import Unfit, altered, checked, slowed
from emulator.happening import Factors, Happening
from emulator.profiles import (
    DIRECTIONS,
    SPREAD,
    Channel,
    DeviceProfile,
    Experiment,
    LinkProfile,
    NodeSpec,
    Testbed,
    TraceProfile,
)
from emulator.trace import spread
from emulator.units import TIME, exact

WHOLE = "source"
"""The key that makes a profile of what would else be some figures of one."""


class Change(BaseModel):
    """One thing that changes: of `node`, of `segment`, or, where it has `groups`, of the network."""

    model_config = ConfigDict(frozen=True)

    entry: int
    """Its place in the scenario, from 0."""
    key: str
    """The word that the scenario says it by."""
    round: int | None = None
    """The round that it is counted from; None: the run."""
    at: float
    """Seconds since that began."""
    node: str = ""
    segment: str = ""
    link: dict[str, Any] | None = None
    """A whole link, or some figures, in the words of a file."""
    scale: Factors | None = None
    restores_link: bool = False
    device: dict[str, Any] | None = None
    """A whole device, or some figures, in the words of a file."""
    slow: float | None = None
    restores_device: bool = False
    connected: bool | None = None
    groups: list[list[str]] | None = None
    """That do not reach each other; empty: all do."""

    @property
    def of_device(self) -> bool:
        """Whether it changes what a node computes with; all others change the network."""
        return self.device is not None or self.slow is not None or self.restores_device

    @property
    def when(self) -> tuple[bool, int, float]:
        """Orders the changes that count from the run's begin, and those that count from rounds."""
        return self.round is not None, self.round or 0, self.at

    @property
    def says_when(self) -> str:
        """In words."""
        if self.round is None:
            return f"at {self.at:g} s"
        return f"in round {self.round}" + (f", {self.at:g} s after its begin" if self.at else "")


class Fault(ValueError):
    """What is wrong with a scenario, and at which of its keys (`location`, from the place of the entry on)."""

    def __init__(self, location: Sequence[str | int], message: str) -> None:
        super().__init__(message)
        self.location = tuple(location)

    def in_one_line(self) -> InputError:
        """Where there is no file to point at."""
        return InputError(f"{self._key}: {self}")

    def in_file(self, document: Document) -> InputError:
        """Where `document` holds the scenario, be it an experiment's or one by itself."""
        return InputError(f"{document.where(['scenario', *self.location])}: {self._key}: {self}")

    @property
    def _key(self) -> str:
        return ".".join(["scenario", *map(str, self.location)])


def expand(experiment: Experiment) -> list[Change]:
    """The changes of the experiment's scenario (resolved), in order; none where it has none.

    Each entry is possible by itself; what they are together, `scenario_order` checks. Raises `Fault`.
    """
    entries = experiment.scenario or []
    assert not isinstance(entries, str)
    cast = _Cast(experiment)
    changes = [change for place, entry in enumerate(entries) for change in cast.changes(place, entry)]
    return sorted(changes, key=lambda change: change.when)


class _Cast:
    """Whom and what the words may speak of."""

    def __init__(self, experiment: Experiment) -> None:
        assert isinstance(experiment.testbed, Testbed)
        self._rounds = experiment.rounds
        self._nodes: dict[str, NodeSpec] = {str(node.name): node for node in experiment.testbed.nodes}
        segments = experiment.testbed.segments
        self._segments = {name: one.link for name, one in segments.items() if isinstance(one.link, LinkProfile)}

    def changes(self, place: int, entry: Happening) -> Iterator[Change]:
        """What an entry says."""
        if entry.round is not None and entry.round > self._rounds:
            raise Fault([place, "round"], f"there is no round {entry.round}: the experiment has {self._rounds}")
        when = {"entry": place, "round": entry.round, "at": entry.at or 0.0}
        if entry.partition is not None or entry.heal:
            yield from self._partition(place, entry, when)
        elif entry.segment is not None:
            yield self._of_segment(place, entry, when)
        else:
            for node in self._named(place, entry):
                yield from self._of_node(place, entry, node, when)

    def _named(self, place: int, entry: Happening) -> list[str]:
        """The nodes that an entry is of, in the testbed's order."""
        if entry.role is not None:
            roles = {node.role for node in self._nodes.values()}
            if entry.role not in roles:
                raise Fault([place, "role"], f"the testbed has no role '{entry.role}'{nearest(entry.role, roles)}")
            return [name for name, node in self._nodes.items() if node.role == entry.role]
        if entry.node is not None:
            return [self._known(entry.node, [place, "node"])]
        assert entry.nodes is not None
        return self._each_once(entry.nodes, [place, "nodes"])

    def _known(self, name: str, location: Sequence[str | int]) -> str:
        if name not in self._nodes:
            raise Fault(location, f"the testbed has no node '{name}'{nearest(name, self._nodes)}")
        return name

    def _each_once(self, names: Sequence[str], location: Sequence[str | int]) -> list[str]:
        for number, name in enumerate(names):
            self._known(name, [*location, number])
            if name in names[:number]:
                raise Fault([*location, number], f"'{name}' stands here twice")
        return list(names)

    def _of_node(self, place: int, entry: Happening, name: str, when: dict[str, Any]) -> Iterator[Change]:
        spec = self._nodes[name]
        assert isinstance(spec.link, LinkProfile)
        assert isinstance(spec.device, DeviceProfile)
        own = {**when, "node": name}
        if (of_link := self._of_link(place, entry, name, spec.link)) is not None:
            if "link" in of_link:
                of_link["link"] = _spread_out(of_link["link"], list(self._nodes).index(name))
            yield Change(**own, **of_link)
        elif entry.device is not None:
            _fits(spec.device, entry.device, [place, "device"])
            yield Change(**own, key="device", device=entry.device)
        elif entry.slow is not None:
            if math.isinf(spec.device.training):
                raise Fault(
                    [place, "slow"], f"{name}'s device '{spec.device.name}' has no throughput of its own: name another"
                )
            yield Change(**own, key="slow", slow=entry.slow)
        elif entry.flap is not None:
            for number in range(entry.flap.times):
                at = own["at"] + number * (entry.flap.down + entry.flap.up)
                yield Change(**own | {"at": at}, key="flap", connected=False)
                yield Change(**own | {"at": at + entry.flap.down}, key="flap", connected=True)
        elif entry.restore:
            yield Change(**own, key="restore", restores_link=True)
            yield Change(**own, key="restore", restores_device=True)
        else:
            key = "reconnect" if entry.reconnect else "stop" if entry.stop else "disconnect"
            yield Change(**own, key=key, connected=bool(entry.reconnect))
            if entry.for_ is not None:
                yield Change(**own | {"at": own["at"] + entry.for_}, key="for", connected=True)

    def _of_segment(self, place: int, entry: Happening, when: dict[str, Any]) -> Change:
        name = str(entry.segment)
        if name not in self._segments:
            raise Fault([place, "segment"], f"the testbed has no segment '{name}'{nearest(name, self._segments)}")
        if entry.restore:
            return Change(**when, segment=name, key="restore", restores_link=True)
        of_link = self._of_link(place, entry, name, self._segments[name])
        if of_link is None:
            raise Fault([place, "segment"], "a segment has a link and nothing else: name its nodes")
        return Change(**when, segment=name, **of_link)

    @staticmethod
    def _of_link(place: int, entry: Happening, whose: str, link: LinkProfile) -> dict[str, Any] | None:
        """What an entry says of `link`; None: nothing."""
        if entry.link is not None:
            _fits(link, entry.link, [place, "link"])
            return {"key": "link", "link": entry.link}
        if entry.trace is not None:
            figures = {way: {"trace": trace} for way, trace in entry.trace.items()}
            _fits(link, figures, [place, "trace"])
            return {"key": "trace", "link": figures}
        if entry.scale is not None:
            for way in DIRECTIONS:
                channel: Channel = getattr(link, way)
                if getattr(entry.scale, way) is not None and math.isinf(channel.rate) and channel.trace is None:
                    raise Fault([place, "scale"], f"{whose}'s {way} link is unlimited: no share of that is a rate")
            return {"key": "scale", "scale": entry.scale}
        return None

    def _partition(self, place: int, entry: Happening, when: dict[str, Any]) -> Iterator[Change]:
        if entry.heal:
            yield Change(**when, key="heal", groups=[])
            return
        groups = entry.partition or []
        if len(groups) < 2 or not all(groups):
            raise Fault([place, "partition"], "write two groups of nodes or more: [[NAME, ...], [NAME, ...]]")
        seen: dict[str, int] = {}
        for number, group in enumerate(groups):
            for name in self._each_once(group, [place, "partition", number]):
                if name in seen:
                    raise Fault([place, "partition", number], f"'{name}' is in two of its groups")
                seen[name] = number
        yield Change(**when, key="partition", groups=groups)
        if entry.for_ is not None:
            yield Change(**when | {"at": when["at"] + entry.for_}, key="for", groups=[])


def devices_ever(devices: Mapping[str, DeviceProfile], changes: Iterable[Change]) -> dict[str, list[DeviceProfile]]:
    """What each node computes with at any time of a run that it begins with one of `devices`."""
    found = {name: [device] for name, device in devices.items()}
    for change in changes:
        before = devices.get(change.node)
        if before is None or not change.of_device:
            continue
        if change.slow is not None:
            found[change.node].append(slowed(before, before, change.slow))
        elif change.device is not None:
            words = change.device
            found[change.node].append(checked(DeviceProfile, words) if is_whole(words) else altered(before, words))
    return found


def largest(devices: Mapping[str, DeviceProfile], changes: Iterable[Change]) -> dict[str, DeviceProfile]:
    """Of each node, its device with the most throughput and the most memory that it ever has (see `devices_ever`)."""
    return {
        name: found[0].model_copy(
            update={figure: max(getattr(one, figure) for one in found) for figure in ("training", "memory")}
        )
        for name, found in devices_ever(devices, changes).items()
    }


def is_whole(words: dict[str, Any]) -> bool:
    """Whether they are a profile, and not some figures of one."""
    return WHOLE in words


def _spread_out(words: dict[str, Any], place: int) -> dict[str, Any]:
    """The `words` of a link for the node at `place` of its testbed: where in its traces it begins (see `trace`)."""
    found = dict(words)
    for way in DIRECTIONS:
        channel = words.get(way)
        if isinstance(channel, dict) and channel.get("trace") is not None and channel.get("offset", SPREAD) == SPREAD:
            period = TraceProfile.model_validate(channel["trace"]).model.period
            found[way] = {**channel, "offset": exact(spread(place, period), TIME)}
    return found


def _fits(profile: LinkProfile | DeviceProfile, words: dict[str, Any], location: Sequence[str | int]) -> None:
    """Raises `Fault` for words that make no profile, nor figures of `profile`."""
    try:
        if is_whole(words):
            checked(type(profile), words)
        else:
            altered(profile, words)
    except Unfit as error:
        none_left = error.location[-1:] == ("rate",) and "greater than 0" in error.message
        remedy = ": to cut a link, write disconnect: true" if none_left else ""
        raise Fault([*location, *error.location], error.message + remedy) from None
