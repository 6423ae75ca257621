"""An experiment as files for containers: one for Docker Compose, one for Docker Swarm. Nothing is read or run here.

Each node is a service; the service `testbed` is the hub and the controller. Memory limits are the devices' own. CPU
limits only keep the nodes from one another (`device.cpu_ceilings`): with `compute: stretched` the exact speed is made
by holding results back. With `compute: quota` they are the devices' exact shares of a core of the host it is written
for.
"""

import math
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emulator.errors import InputError
from emulator.plan import SERVER_ROLES, planned_scenario
from emulator.profiles import DeviceProfile, Experiment, Testbed
from emulator.quota import bandwidth
from emulator.scenario import largest
from emulator.units import SIZE, parse, show

TESTBED = "testbed"
"""The service of hub and controller, and the hub's name on the network."""
HUB_PORT = 5555
CONTROL_PORT = 8642
TOKEN = "${EDGEBED_TOKEN:-edgebed}"  # noqa: S105
"""The network on which the token is asked for is the project's own."""
CORE_FLOPS = "EDGEBED_CORE_FLOPS"
"""Environment of the service `testbed`, see `host.this_host`."""
NODE_COMMAND = "python -m emulator.runtime.container"
WORKSPACE = "/workspace"
RESULTS = f"{WORKSPACE}/runs"
CACHE = "/var/cache/edgebed"
CHECK_EVERY = 6.0
"""Seconds between two health checks, whosever they are: each takes CPU time from what is being measured."""
HUB_LABEL, CLIENTS_LABEL = "edgebed.hub", "edgebed.clients"
"""Labels of the Swarm's hosts: where hub and server run, and where the clients may."""
SCRATCH = {"type": "tmpfs", "target": "/tmp"}  # noqa: S108
"""As a volume: Swarm passes over the key `tmpfs` of a service without a word."""
ON_SWARM = {"healthcheck": {"disable": True}, "labels": {"com.docker.compose.project": ""}}
"""An image that Compose has built has this label, and so would its containers: Compose would take them for its own."""
_SWARM_NAME = re.compile(r"[a-z0-9]+([_-]*[a-z0-9]+)*")


@dataclass(frozen=True)
class Order:
    """What is to be written down."""

    experiment: Experiment
    """Resolved: every node with its name, device and link."""
    command: Sequence[str]
    """Runs it in the service `testbed`."""
    image: str
    cores: Mapping[str, float]
    """The CPU limit of each node: `device.cpu_ceilings` or, with `compute: quota`, what makes its device of a core."""
    core_flops: float | None = None
    """The speed of the host's cores that `cores` is by, where that matters."""
    mounted: bool = False
    """Whether the containers see the folder in which the file lies, as their working folder, not to be written to."""

    @property
    def testbed(self) -> Testbed:
        assert isinstance(self.experiment.testbed, Testbed)
        return self.experiment.testbed

    @property
    def devices(self) -> dict[str, DeviceProfile]:
        """The device of each node, the largest that it ever has."""
        return devices_of(self.experiment)

    @property
    def hub_port(self) -> int:
        return self.experiment.bus.port or HUB_PORT


def compose(order: Order) -> dict[str, Any]:
    """The file for `docker compose`. Raises `InputError` for what containers started by Compose cannot do."""
    _check(order)
    every = max(30.0, CHECK_EVERY * len(order.devices))
    health = {"healthcheck": {"interval": f"{every:g}s"}} if every > 30.0 else {}
    here = {"volumes": [f".:{WORKSPACE}:ro"]} if order.mounted else {}
    control = order.experiment.control.port or CONTROL_PORT
    services: dict[str, Any] = {
        TESTBED: {
            **_testbed(order),
            "depends_on": list(order.devices),
            "ports": [f"127.0.0.1:${{EDGEBED_PORT:-{control}}}:{CONTROL_PORT}"],
            "volumes": [*here.get("volumes", []), f"./runs:{RESULTS}", f"cache:{CACHE}"],
            "tmpfs": ["/tmp"],  # noqa: S108
            "security_opt": ["no-new-privileges"],
            "restart": "no",
            **health,
        }
    }
    for name, device in order.devices.items():
        services[name] = {
            **_node(order, name),
            **here,
            **_cpu(order, name),
            **_memory(device),
            "tmpfs": ["/tmp"],  # noqa: S108
            "security_opt": ["no-new-privileges"],
            "restart": "no",
            "attach": False,
            **health,
        }
    return {"services": services, "volumes": {"cache": {}}}


def stack(order: Order) -> dict[str, Any]:
    """The file for `docker stack deploy`: hub, controller and server on one host, the clients on others or the same.

    Swarm by itself puts each service where the fewest are. Its own health checks are off: it would replace a node that
    is slow, which the hub is to notice and name. Raises `InputError` as `compose` does.
    """
    _check(order)
    if order.mounted:
        raise InputError(
            "--swarm: the hosts of a swarm do not share this folder: use what is shipped with edgebed, or build an "
            "image FROM edgebed's that has your files"
        )
    if order.experiment.compute == "quota":
        raise InputError("compute: quota needs one host, whose speed is known: leave it out, or leave --swarm out")
    central = {node.name for node in order.testbed.nodes if node.role in SERVER_ROLES}
    services: dict[str, Any] = {
        TESTBED: {
            **_testbed(order),
            "volumes": [SCRATCH, f"runs:{RESULTS}", f"cache:{CACHE}"],
            **ON_SWARM,
            "deploy": _deployed(HUB_LABEL),
        }
    }
    for name, device in order.devices.items():
        if not _SWARM_NAME.fullmatch(name) or len(name) > 40:
            raise InputError(f"--swarm: a service cannot be named '{name}': name the node with letters, digits and '-'")
        limits: dict[str, Any] = {"cpus": str(round(order.cores[name], 3))}
        if math.isfinite(device.memory):
            limits["memory"] = _size(device.memory)
        services[name] = {
            **_node(order, name),
            "volumes": [SCRATCH],
            **ON_SWARM,
            "deploy": {
                **_deployed(HUB_LABEL if name in central else CLIENTS_LABEL),
                "resources": {"limits": limits},
            },
        }
    return {
        "version": "3.9",
        "services": services,
        "networks": {"default": {"driver": "overlay"}},
        "volumes": {"runs": {}, "cache": {}},
    }


def _check(order: Order) -> None:
    if order.experiment.links == "kernel":
        raise InputError(
            "links: kernel needs a runtime that sets the links up before the nodes start: "
            "use edgebed run --runtime docker, or leave links out"
        )
    if TESTBED in order.devices:
        raise InputError(f"a node is named '{TESTBED}', as the service of the hub is: choose another name")


def devices_of(experiment: Experiment) -> dict[str, DeviceProfile]:
    """The device of each node, the largest that it ever has."""
    assert isinstance(experiment.testbed, Testbed)
    own = {str(node.name): node.device for node in experiment.testbed.nodes if isinstance(node.device, DeviceProfile)}
    return largest(own, planned_scenario(experiment))


def _testbed(order: Order) -> dict[str, Any]:
    command = shlex.join(order.command).replace("$", "$$")
    speed = {} if order.core_flops is None else {CORE_FLOPS: f"{order.core_flops:.0f}"}
    return {
        "image": order.image,
        "command": f"{command} ${{EDGEBED_ARGS:-}}",
        "environment": {"EDGEBED_TOKEN": TOKEN, "EDGEBED_CONTROL_TOKEN": "${EDGEBED_CONTROL_TOKEN:-}", **speed},
        # Root's rights go as soon as the results' folder can be written to; see docker/entrypoint.sh. Who comes by
        # `docker compose exec testbed edgebed status` is root, and is to read where the testbed's API is.
        "user": "root",
        "cap_drop": ["ALL"],
        "cap_add": ["CHOWN", "DAC_READ_SEARCH", "SETGID", "SETUID", "SYS_NICE"],
        "read_only": True,
        "stop_grace_period": "10s",
    }


def _node(order: Order, name: str) -> dict[str, Any]:
    return {
        "image": order.image,
        "command": NODE_COMMAND,
        "environment": {
            "EDGEBED_HUB": f"tcp://{TESTBED}:{order.hub_port}",
            "EDGEBED_NAME": name,
            "EDGEBED_TOKEN": TOKEN,
            "EDGEBED_REGISTER_SECONDS": f"{order.experiment.deadlines.start:g}",
        },
        "cap_drop": ["ALL"],
        "read_only": True,
        "stop_grace_period": "5s",
    }


def _cpu(order: Order, name: str) -> dict[str, Any]:
    if order.experiment.compute != "quota":
        return {"cpus": round(order.cores[name], 3)}
    limit = bandwidth(order.cores[name])
    return {"cpu_period": round(limit.period * 1e6), "cpu_quota": round(limit.quota * 1e6)}


def _memory(device: DeviceProfile) -> dict[str, str]:
    """No swap: the two limits are equal."""
    if not math.isfinite(device.memory):
        return {}
    return {"mem_limit": _size(device.memory), "memswap_limit": _size(device.memory)}


def _size(nbytes: float) -> str:
    shown = show(nbytes, SIZE)
    return shown.replace(" ", "") if parse(shown, SIZE) == nbytes and "e" not in shown else f"{nbytes:.0f}"


def _deployed(label: str) -> dict[str, Any]:
    return {
        # A virtual address would balance load, and forget connections that say nothing for a while.
        "endpoint_mode": "dnsrr",
        "restart_policy": {"condition": "none"},
        "placement": {"constraints": [f"node.labels.{label} == true"]},
    }
