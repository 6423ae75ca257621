"""An experiment, fully decided: what every runtime needs to know, and what the hub tells each node."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from emulator import tc
from emulator.cost import CostModel
from emulator.device import check_scale, least_scale, share, shares, slowdown
from emulator.errors import InputError
from emulator.network import Network
from emulator.profiles import Bus, Channel, Control, Deadlines, DeviceProfile, Experiment, LinkProfile, Testbed
from emulator.scenario import Change, Fault, devices_ever, expand
from emulator.scenario_order import check
from emulator.tc import Kernel

SERVER_ROLES = ("server",)
"""Roles whose traffic is the other side of the clients': `up` is to them, `down` is from them."""


class NodePlan(BaseModel):
    """One node of a run."""

    model_config = ConfigDict(frozen=True)

    name: str
    role: str
    program: str
    device: DeviceProfile
    link: LinkProfile
    slowdown: float
    """Seconds of the device for each CPU second of this host."""
    segment: str | None = None
    """That it is in."""


class SegmentPlan(BaseModel):
    """What nodes share that are in one place."""

    model_config = ConfigDict(frozen=True)

    link: LinkProfile
    parent: str | None = None
    """The segment that it is itself in."""


class RunPlan(BaseModel):
    """One run: of an algorithm, or of a workload that has none. All its nodes get the same `config`."""

    model_config = ConfigDict(frozen=True)

    name: str
    config: dict[str, Any]


class Plan(BaseModel):
    """The runs of an experiment, one after the other on the same nodes."""

    model_config = ConfigDict(frozen=True)

    experiment: str
    testbed: str
    runs: list[RunPlan]
    seed: int
    scale: float
    """Seconds of this host for each emulated second."""
    core_flops: float
    """FLOP/s of one core of this host."""
    cores: int
    """Of this host."""
    awake: bool = False
    """Whether they are kept awake meanwhile (see `awake`), where the runtime can."""
    nodes: list[NodePlan]
    segments: dict[str, SegmentPlan] = {}
    """By name, each after the one that it is in."""
    compute: Literal["stretched", "quota"] = "stretched"
    links: Literal["bus", "kernel"] = "bus"
    kernel: Kernel | None = None
    """What the kernel does of the links; known when it has been probed, and only where the links are the kernel's."""
    deadlines: Deadlines
    bus: Bus
    control: Control = Control()
    cost: CostModel | None = None
    """What computations take, where they are modelled; None: what the devices' profiles say."""
    scenario: list[Change] = []
    """What changes in each run, in order."""

    @property
    def peers(self) -> dict[str, list[str]]:
        """The names of the nodes of each role, in the testbed's order."""
        roles: dict[str, list[str]] = {}
        for node in self.nodes:
            roles.setdefault(node.role, []).append(node.name)
        return roles

    def way(self, sender: str, receiver: str) -> list[tuple[str, Channel]]:
        """The links that a message crosses, in order (see `ways`): whose and which way, and what each is."""
        ends = {node.name: node for node in self.nodes if node.name in (sender, receiver)}
        out, home = self.around(ends[sender].segment), self.around(ends[receiver].segment)
        ups = [(f"{name} up", self.segments[name].link.up) for name in out if name not in home]
        downs = [(f"{name} down", self.segments[name].link.down) for name in reversed(home) if name not in out]
        return [(f"{sender} up", ends[sender].link.up), *ups, *downs, (f"{receiver} down", ends[receiver].link.down)]

    def around(self, segment: str | None) -> list[str]:
        """A node's segment and those that it is in, outwards."""
        found = []
        while segment is not None:
            found.append(segment)
            segment = self.segments[segment].parent
        return found

    def network(self) -> Network:
        """The links of its nodes and segments, empty."""
        network = Network(self.seed)
        for name, segment in self.segments.items():
            network.add_segment(name, segment.link, segment.parent)
        for node in self.nodes:
            network.add(node.name, node.link, node.segment)
        return network


def make_plan(
    experiment: Experiment, core_flops: float, cores: int, *, virtual: bool = False, awake: bool = False
) -> Plan:
    """The plan of `experiment` (resolved) on a host of `cores` cores of `core_flops` FLOP/s each.

    Raises `InputError` when a device is too fast for the experiment's time scale, in virtual time none is, for links of
    the kernel that it cannot do, and for a scenario that is not possible here.
    """
    assert isinstance(experiment.testbed, Testbed)
    try:
        scenario = planned_scenario(experiment)
    except Fault as fault:
        raise fault.in_one_line() from None
    needed = {} if virtual else _most_needed(experiment.testbed, scenario, core_flops)
    scale = least_scale(needed, cores) if experiment.time_scale == "auto" else float(experiment.time_scale)
    check_scale(needed, scale, cores)
    nodes: list[NodePlan] = []
    if experiment.links == "kernel" and experiment.testbed.segments:
        raise InputError(
            f"links: kernel: the testbed '{experiment.testbed.name}' has segments, which the kernel cannot: choose "
            f"another testbed, or leave links: kernel out"
        )
    for spec in experiment.testbed.nodes:
        if experiment.links == "kernel" and isinstance(spec.link, LinkProfile):
            tc.check(str(spec.name), spec.link)
        assert isinstance(spec.device, DeviceProfile)
        assert isinstance(spec.link, LinkProfile)
        assert spec.name is not None
        nodes.append(
            NodePlan(
                name=spec.name,
                role=spec.role,
                program=experiment.programs[spec.role],
                device=spec.device,
                link=spec.link,
                slowdown=slowdown(spec.device.training, core_flops),
                segment=spec.segment,
            )
        )
    common = {
        "rounds": experiment.rounds,
        "seed": experiment.seed,
        "target_accuracy": experiment.target_accuracy,
        "training": experiment.training,
        "workload": experiment.workload,
    }
    runs = [RunPlan(name=name, config={"algorithm": name, **common}) for name in experiment.algorithms]
    return Plan(
        experiment=experiment.name,
        testbed=experiment.testbed.name,
        runs=runs or [RunPlan(name=experiment.name, config=common)],
        seed=experiment.seed,
        scale=scale,
        core_flops=core_flops,
        cores=cores,
        awake=awake,
        nodes=nodes,
        segments={
            name: SegmentPlan(link=segment.link, parent=segment.segment)
            for name, segment in experiment.testbed.segments.items()
            if isinstance(segment.link, LinkProfile)
        },
        compute=experiment.compute,
        links=experiment.links,
        deadlines=experiment.deadlines,
        bus=experiment.bus,
        control=experiment.control,
        scenario=scenario,
    )


def planned_scenario(experiment: Experiment) -> list[Change]:
    """The changes of the experiment's scenario (resolved), in order. Raises `Fault` where they are not possible."""
    scenario = expand(experiment)
    check(scenario, experiment)
    return scenario


def _most_needed(testbed: Testbed, scenario: list[Change], core_flops: float) -> dict[str, float]:
    """The share of a host core that each node needs when its device is the fastest that it ever is."""
    own = {str(spec.name): spec.device for spec in testbed.nodes if isinstance(spec.device, DeviceProfile)}
    return {
        name: max(share(device.training, core_flops) for device in devices)
        for name, devices in devices_ever(own, scenario).items()
    }


def device_shares(testbed: Testbed, core_flops: float) -> dict[str, float]:
    """The share of a host core that each emulated device needs at time scale 1 (see `device.shares`)."""
    return shares(
        {str(spec.name): spec.device.training for spec in testbed.nodes if isinstance(spec.device, DeviceProfile)},
        core_flops,
    )
