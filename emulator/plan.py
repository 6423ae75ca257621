"""An experiment, fully decided: what every runtime needs to know, and what the hub tells each node."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from emulator import tc
from emulator.cost import CostModel
from emulator.device import check_scale, least_scale, shares, slowdown
from emulator.profiles import Bus, Control, Deadlines, DeviceProfile, Experiment, LinkProfile, Testbed
from emulator.tc import Kernel

SERVER_ROLES = ("server",)
"""Roles whose traffic is the other side of the clients': `up` is to them, `down` is from them."""

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
    nodes: list[NodePlan]
    compute: Literal["stretched", "quota"] = "stretched"
    links: Literal["bus", "kernel"] = "bus"
    kernel: Kernel | None = None
    """What the kernel does of the links; known when it has been probed, and only where the links are the kernel's."""
    deadlines: Deadlines
    bus: Bus
    control: Control = Control()
    cost: CostModel | None = None
    """What computations take, where they are modelled; None: what the devices' profiles say."""

    @property
    def peers(self) -> dict[str, list[str]]:
        """The names of the nodes of each role, in the testbed's order."""
        roles: dict[str, list[str]] = {}
        for node in self.nodes:
            roles.setdefault(node.role, []).append(node.name)
        return roles


def make_plan(experiment: Experiment, core_flops: float, cores: int, *, virtual: bool = False) -> Plan:
    """The plan of `experiment` (resolved) on a host of `cores` cores of `core_flops` FLOP/s each.

    Raises `InputError` when a device is too fast for the experiment's time scale, in virtual time none is, and for
    links of the kernel that it cannot do.
    """
    assert isinstance(experiment.testbed, Testbed)
    needed = {} if virtual else device_shares(experiment.testbed, core_flops)
    scale = least_scale(needed, cores) if experiment.time_scale == "auto" else float(experiment.time_scale)
    check_scale(needed, scale, cores)
    nodes: list[NodePlan] = []
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
        nodes=nodes,
        compute=experiment.compute,
        links=experiment.links,
        deadlines=experiment.deadlines,
        bus=experiment.bus,
        control=experiment.control,
    )


def device_shares(testbed: Testbed, core_flops: float) -> dict[str, float]:
    """The share of a host core that each emulated device needs at time scale 1 (see `device.shares`)."""
    return shares(
        {str(spec.name): spec.device.training for spec in testbed.nodes if isinstance(spec.device, DeviceProfile)},
        core_flops,
    )
