"""Whether the changes of a scenario are possible one after the other, and where an experiment can carry them out.

Pure. What counts from the begin of a run and what counts from rounds cannot be put into one order before the run: of
what has states, such as a connection, a scenario has to use one of the two.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from emulator.profiles import DIRECTIONS, Channel, Experiment
from emulator.scenario import Change, Fault, is_whole

SAME = 9
"""Decimals of a second by which two times are one."""
PARTICIPATION = "participation"
"""The key of a workload that says what becomes of a round in which somebody is missing."""


def check(changes: Sequence[Change], experiment: Experiment) -> None:
    """Raises `Fault` for the first of `changes` (in order) that cannot be."""
    _check_means(changes, experiment)
    _check_figures(changes)
    connections: defaultdict[str, list[Change]] = defaultdict(list)
    for change in changes:
        if change.connected is not None:
            connections[change.node].append(change)
    for name, own in connections.items():
        _check_one_clock(name + "'s connection", own)
        _check_connection(name, own)
    partitions = [change for change in changes if change.groups is not None]
    _check_one_clock("the partition", partitions)
    _check_partitions(partitions)
    if experiment.workload.get(PARTICIPATION) is None:
        for name, own in connections.items():
            _check_returns(name, own, [change for change in own if change.connected])
        _check_returns("whoever is cut off", partitions, [change for change in partitions if not change.groups])


def _check_means(changes: Iterable[Change], experiment: Experiment) -> None:
    for change in changes:
        if change.of_device and experiment.compute == "quota":
            raise _fault(change, "a CPU quota does not change within a round as exactly: leave out compute: quota")
        if not change.of_device and experiment.links == "kernel":
            raise _fault(change, "the kernel takes tenths of a second to change a link: leave out links: kernel")


def _check_figures(changes: Iterable[Change]) -> None:
    """Two changes of one figure at one time would leave it open which holds."""
    seen: dict[tuple[Any, ...], Change] = {}
    for change in changes:
        late, number, at = change.when
        for figure in _figures(change):
            spot = (late, number, round(at, SAME), change.node, change.segment, figure)
            other = seen.setdefault(spot, change)
            if other is not change:
                whose = f"{change.node or change.segment}'s " if change.node or change.segment else "the "
                raise _fault(
                    max(change, other, key=lambda one: one.entry),
                    f"{whose}{figure} changes {change.says_when} twice: entry "
                    f"{min(change.entry, other.entry)} does it, too",
                )


def _figures(change: Change) -> Iterator[str]:
    """The figures that a change sets."""
    if change.connected is not None:
        yield "connection"
    elif change.groups is not None:
        yield "partition"
    elif change.scale is not None:
        yield from (f"{way}.rate" for way in DIRECTIONS if getattr(change.scale, way) is not None)
    elif change.slow is not None:
        yield "training"
    elif change.restores_device or (change.device is not None and is_whole(change.device)):
        yield from ("training", "memory")
    elif change.device is not None:
        yield from change.device
    elif change.restores_link or (change.link is not None and is_whole(change.link)):
        yield from (f"{way}.{figure}" for way in DIRECTIONS for figure in Channel.model_fields)
    else:
        for way, figures in (change.link or {}).items():
            # A trace takes the place of a rate, and a rate that of a trace.
            yield from {f"{way}.{'rate' if one in ('trace', 'offset') else one}" for one in figures}


def _check_one_clock(what: str, changes: Sequence[Change]) -> None:
    by_time = [change for change in changes if change.round is None]
    by_round = [change for change in changes if change.round is not None]
    if by_time and by_round:
        raise _fault(
            by_round[0],
            f"{what} changes in rounds here and in seconds in entry {by_time[0].entry}: which comes first is not known "
            f"before the run: use one of them",
        )


def _check_connection(name: str, changes: Iterable[Change]) -> None:
    before: Change | None = None
    for change in changes:
        if before is not None and before.key == "stop":
            raise _fault(change, f"{name} has been stopped by then, for good (entry {before.entry})")
        if change.connected is (before is None or before.connected):
            raise _fault(change, f"{name} is {'connected' if change.connected else 'disconnected'} by then already")
        before = change


def _check_partitions(changes: Iterable[Change]) -> None:
    before: Change | None = None
    for change in changes:
        parted = before is not None and bool(before.groups)
        if change.groups and before is not None and parted:
            raise _fault(change, f"the partition of entry {before.entry} is still in force by then: heal it first")
        if not change.groups and not parted:
            raise _fault(change, "no partition is in force by then: there is nothing to heal")
        before = change


def _check_returns(whom: str, changes: Sequence[Change], ends: Sequence[Change]) -> None:
    """Who is waited for has to come back, and without a round that cannot begin before."""
    for change in changes:
        if change in ends:
            continue
        end = next((one for one in ends if one.when > change.when), None)
        remedy = f"say how long (for: TIME), or give workload.{PARTICIPATION}"
        if end is None:
            raise _fault(change, f"every round waits for {whom}, and in vain from then on: {remedy}")
        if end.round != change.round:
            raise _fault(change, f"every round waits for {whom}, so that round {end.round} never begins: {remedy}")


def _fault(change: Change, message: str) -> Fault:
    return Fault([change.entry, change.key], message)
