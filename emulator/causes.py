"""What the host could give to a run, and the likeliest reason why that was not enough, with the remedy."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from emulator.pulse import Pulse

HUB_LATE = 0.005
"""Seconds of the host: a hub of which one timer in twenty is later than this is not in time for its messages."""
SATURATED = 0.9
"""The share of a core from which on a thread has nothing left: one of the hub's routes, another reads and writes."""
LATE_BY_ITSELF = 0.6
"""The share of a core from which on a hub that waits for nobody, for its priority is raised, is late by its own work:
that of some dozen messages between two looks at its timers."""
STOLEN = 0.005
"""The share of a host's cores, over a run, that a hypervisor takes in bursts which show in its latencies."""


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What the host could give, and what the run asked of it."""

    cores: int
    cores_wanted: float  # sum over nodes of the share of a core that the device needs at the run's time scale
    time_scale: float = 1.0
    hub_priority: str | None = None  # None: raised; else why not
    notes: Sequence[str] = ()  # for the reader of the result; they decide nothing
    hosts: int = 1  # that the nodes were on
    clock_error: float = 0.0  # seconds of the hosts' time by which a node's clock may have been off the hub's
    clock_worst: str = ""  # the node whose clock that is
    disturbances: Sequence[str] = ()  # what was done to the nodes from outside, such as a pause of a container
    hub: Pulse | None = None  # None: nobody took it
    stolen: float | None = None  # the share of its cores that its hypervisor gave away meanwhile; None: not counted
    kept_awake: bool = False  # whether its cores were (see `awake`)


def likely_cause(facts: HostFacts) -> str:
    """The likeliest reason for lateness on this host, and the remedy."""
    if facts.disturbances:
        return "; ".join(facts.disturbances)
    if facts.hosts == 1 and facts.clock_error > 0:
        return clock_cause(facts)
    if facts.hub is not None and saturated(facts):
        return (
            f"hub saturated: {facts.hub.busiest:.2f} of a core busy in its busiest second, {_late(facts.hub)}: run "
            f"with fewer nodes, slower links or time_scale: {_rounded_up(2 * facts.time_scale):g}"
        )
    if facts.cores_wanted > facts.cores:
        scale = _rounded_up(facts.time_scale * facts.cores_wanted / facts.cores)
        return (
            f"host oversubscribed: {facts.cores_wanted:.3g} cores wanted, {facts.cores} there: "
            f"run with time_scale: auto or {scale:g}"
        )
    if facts.hub is not None and facts.hub.late_p95 > HUB_LATE:
        remedy = "leave it a core" if facts.hub_priority is None else f"{facts.hub_priority}, or leave it a core"
        return f"hub starved of CPU: {_late(facts.hub)}, and it took {facts.hub.cpu:.2g} cores: {remedy}"
    if facts.hub_priority is not None:
        return f"hub without raised priority ({facts.hub_priority})"
    if facts.stolen is not None and facts.stolen >= STOLEN:
        return (
            f"the hypervisor gave {100 * facts.stolen:.2g} % of this host's cores to other machines: "
            f"run it again, or on a host that has its cores to itself"
        )
    return "the host was busy with other work"


def saturated(facts: HostFacts) -> bool:
    """Whether the hub had more to do than it can."""
    hub = facts.hub
    if hub is None:
        return False
    by_itself = facts.hub_priority is None and hub.late_p95 > HUB_LATE and hub.busiest >= LATE_BY_ITSELF
    return hub.busiest >= SATURATED or by_itself


def clock_cause(facts: HostFacts) -> str:
    """Why a node's clock may be off the hub's, and what to do about it."""
    if facts.hosts > 1:
        return f"the clocks of {facts.hosts} hosts are known no better: join them by a faster network, or use one host"
    return (
        f"the clock of {facts.clock_worst} is {1e3 * facts.clock_error:.3g} ms off the hub's, on one host: "
        f"start its process or container without a clock of its own (time namespace, engine's clock source)"
    )


def promise_cause(later: float) -> str:
    """Why a hub that is not saturated may promise messages so many seconds `later` than the profiles do, or earlier,
    and what to do. A saturated one has them on their links in the order in which it gets to them."""
    slower, after = ("slower", "later") if later > 0 else ("faster", "earlier")
    return (
        f"the hub's links are {slower} than their profiles: messages are due {1e3 * abs(later):.3g} ms {after}: "
        f"start hub and nodes of one and the same edgebed and testbed"
    )


def _late(hub: Pulse) -> str:
    return f"one in twenty of its timers over {1e3 * hub.late_p95:.3g} ms late"


def _rounded_up(value: float) -> float:
    """`value`, up to the next number of two digits, so that what it is advised for fits."""
    digits = 1 - math.floor(math.log10(value))
    return round(math.ceil(round(value * 10.0**digits, 6)) / 10.0**digits, max(digits, 0))
