"""The Docker runtime: the hub and every node in a container of its own, on a network of their own.

A node's container has its device's memory. What it may take of the CPU is a quota that makes a core of this host its
device (`compute: quota`), or else a ceiling, so that no node can starve the others.
"""

import asyncio
import io
import math
import os
import secrets
import stat
import sys
import tarfile
from collections.abc import Coroutine, Iterable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import docker.errors

from emulator import quota, tc
from emulator.cgroup import Bandwidth
from emulator.device import HEADROOM, LEAST_CEILING, cpu_ceilings
from emulator.errors import EdgebedError, InputError
from emulator.plan import NodePlan, Plan
from emulator.profiles import HUB, DeviceProfile
from emulator.runtime.containers import Containers, remove_orphans
from emulator.runtime.engine import Engine
from emulator.runtime.follow import HUB_SECONDS, follow
from emulator.runtime.kernel_links import KernelLinks, probe
from emulator.runtime.process import environment
from emulator.runtime.watch import Observer, Outcome
from emulator.scenario import largest
from emulator.system import single_threaded
from emulator.tc import Kernel

IMAGE = "EDGEBED_IMAGE"
"""Environment: another image than that of this version."""
HUB_PORT = 5555
HUB_INPUT = "run/edgebed-hub"
WORKSPACE = "/workspace"
HOME = "/tmp"  # noqa: S108 - the container's own, in memory; all else there is read-only
ENVIRONMENT = {**single_threaded(), **dict.fromkeys(("HOME", "XDG_CACHE_HOME"), HOME), "USER": "edgebed"}
"""Of a container in which programs compute."""
NO_NEW_PRIVILEGES = ["no-new-privileges"]
NETWORKING = ["NET_ADMIN"]
"""For root in a container whose links are the kernel's: a node is not root, and has none of it."""
PROBE = "kernel-probe"
PROBE_SECONDS = 120
LEAST_MEMORY = 6 * 2**20
"""Bytes: the engine makes no container with less."""


async def run(plan: Plan, logs: Path, observer: Observer) -> Outcome:
    """Carry out `plan`, telling `observer`.

    Whatever happens, no container is left. Raises `NodeFailure` naming the node that died, failed or fell silent;
    `DeadlineExceeded` naming those that are waited for; `InputError` for an engine, an image or a port that cannot be
    used.
    """
    bandwidths = {node.name: _bandwidth(plan, node) for node in plan.nodes}
    for node in plan.nodes:
        if node.device.memory < LEAST_MEMORY:
            raise InputError(f"{node.name}: its device '{node.device.name}' has less memory than a container: 6 MiB")
    user = node_user()
    engine = await Engine.connect()
    image = await find_image(engine)
    await engine.call("remove what a killed run has left", remove_orphans, engine)
    notes: list[str] = []
    if plan.links == "kernel":
        plan = plan.model_copy(update={"kernel": await _probe(engine, image, logs)})
        notes = _not_by_the_kernel(plan)
    token = secrets.token_hex(16)
    async with _Nodes(plan, bandwidths, engine, image, secrets.token_hex(3), logs) as nodes:
        await nodes.open()
        inside, address = await nodes.start_hub(token)
        outcome = await follow(
            plan,
            nodes,
            observer,
            lambda: nodes.start_all(inside, token, user),
            address=address,
            token=token,
            runtime="docker",
            folder=logs.parent,
            on_device=nodes.set_device,
            on_link=None if nodes.links is None else nodes.links.set_link,
        )
        outcome.notes += notes
        outcome.disturbances += nodes.disturbances
        outcome.notes += nodes.disturbances
        if plan.compute == "quota":
            shares = ", ".join(f"{name} {bandwidth.cores:.3g}" for name, bandwidth in bandwidths.items())
            outcome.notes.append(f"CPU quotas in cores, read back by each node: {shares}")
        return outcome


async def _probe(engine: Engine, image: str, logs: Path) -> Kernel:
    """What the kernel can do of links, tried in a container of its own."""
    async with Containers(engine, image, secrets.token_hex(3), logs) as scratch:
        await scratch.open()
        await scratch.start(PROBE, ["sleep", str(PROBE_SECONDS)], {}, cap_drop=["ALL"], cap_add=NETWORKING)
        return await probe(partial(scratch.run_in, PROBE))


def _not_by_the_kernel(plan: Plan) -> list[str]:
    """What the kernel does not do of the plan's links: said at once, for the user may not want to wait for it."""
    assert plan.kernel is not None
    notes = [f"links: kernel: {line}" for line in tc.notes({node.name: node.link for node in plan.nodes}, plan.kernel)]
    for line in notes:
        sys.stderr.write(f"note: {line}\n")
    return notes


async def find_image(engine: Engine) -> str:
    """The image of this version; raises `InputError` when it is not there."""
    wanted = os.environ.get(IMAGE) or f"edgebed:{version('edgebed')}"
    inspect = engine.client.inspect_image

    def there() -> bool:
        try:
            inspect(wanted)
        except docker.errors.ImageNotFound:
            return False
        return True

    if await engine.call("look for the image", there):
        return wanted
    images = await engine.call("look for the image", engine.client.images, wanted.partition(":")[0])
    others = sorted(tag for image in images for tag in image["RepoTags"] or ())
    found = f", only {', '.join(others)}, of another version" if others else ""
    raise InputError(f"the engine has no image {wanted}{found}: build it with docker compose build")


class _Nodes(Containers):
    """The containers of the hub and of the nodes of `plan`."""

    def __init__(self, plan: Plan, bandwidths: dict[str, Bandwidth], *where: Any) -> None:
        super().__init__(*where)
        self._plan = plan
        self._bandwidths = bandwidths
        self._largest = largest({node.name: node.device for node in plan.nodes}, plan.scenario)
        links = {node.name: node.link for node in plan.nodes}
        self.links = None if plan.kernel is None else KernelLinks(links, plan.scale, plan.kernel, self.run_in)
        """Where the kernel limits them."""

    async def start_hub(self, token: str) -> tuple[str, str]:
        """Returns the addresses at which the nodes and this host reach the hub."""
        inside = self._plan.model_copy(update={"bus": self._plan.bus.model_copy(update={"port": HUB_PORT})})
        port = self._plan.bus.port
        try:
            await self.start(
                HUB,
                ["sh", "-c", f"exec python -m emulator.bus.hub 0.0.0.0 < /{HUB_INPUT}"],
                {},
                # The image's entry point gives all rights up but that to raise the hub's priority.
                user="root",
                cap_add=["SYS_NICE"],
                port=(HUB_PORT, port),
                files=_archive(HUB_INPUT, f"{token}\n{inside.model_dump_json()}\n"),
            )
        except EdgebedError as error:
            if "already" in str(error) and (f":{port}" in str(error) or "address" in str(error)):
                raise InputError(
                    f"port {port} of 127.0.0.1 cannot be used: Address already in use: "
                    f"set bus.port to another, or to 0 for a free one"
                ) from None
            raise
        await self.until_it_says(HUB, "tcp://", HUB_SECONDS)
        return await self.addresses(HUB, HUB_PORT)

    async def start_all(self, address: str, token: str, user: str | None) -> None:
        """Start every node."""
        throughputs = {name: device.training for name, device in self._largest.items()}
        ceilings = {} if self._plan.compute == "quota" else cpu_ceilings(throughputs)
        await _together(
            self._start(node, address, token, user, ceilings.get(node.name, 1.0)) for node in self._plan.nodes
        )

    async def _start(self, node: NodePlan, address: str, token: str, user: str | None, ceiling: float) -> None:
        limits: dict[str, Any] = {}
        if (memory := _memory(self._largest[node.name])) is not None:
            limits = {"mem_limit": memory, "memswap_limit": memory}
        if ceiling < 1.0:
            limits |= _cpu(quota.bandwidth(ceiling))
        await self.start(
            node.name,
            ["python", "-m", "emulator.runtime.container"],
            {**environment(address, node.name, token), **ENVIRONMENT},
            user=user,
            cap_add=NETWORKING if self.links else [],
            security_opt=[] if self.links else NO_NEW_PRIVILEGES,  # which would be the root's, too, that sets links
            **confinement(),
            **limits,
        )

    async def limit(self) -> None:
        """Put every node under its CPU quota, and its links in force where they are the kernel's."""
        if self.links is not None:
            await self.links.set_up()
        if self._plan.compute == "quota":
            await _together(self.throttle(name, bandwidth) for name, bandwidth in self._bandwidths.items())

    async def set_device(self, name: str, device: DeviceProfile, cores: float) -> None:
        """Give a node's container the memory of its next device, and so many cores: a quota, or else what a ceiling
        has to leave it."""
        share = cores if self._plan.compute == "quota" else max(LEAST_CEILING, cores / HEADROOM)
        await self.resize(name, quota.bandwidth(share), _memory(device))


async def _together(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Await all of `work`; the first failure ends it, as it is: the user gets one line of one error."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


def _bandwidth(plan: Plan, node: NodePlan) -> Bandwidth:
    try:
        return quota.bandwidth(1.0 / (node.slowdown * plan.scale))
    except InputError as error:
        if plan.compute != "quota":
            return quota.bandwidth(1.0)
        raise InputError(f"{node.name}: {error}") from None


def _memory(device: DeviceProfile) -> int | None:
    """Bytes; None: as much as there is."""
    return int(device.memory) if math.isfinite(device.memory) else None


def _cpu(bandwidth: Bandwidth) -> dict[str, int]:
    return {"cpu_period": round(bandwidth.period * 1e6), "cpu_quota": round(bandwidth.quota * 1e6)}


def confinement() -> dict[str, Any]:
    """Of a container in which programs run, those of the current folder, too, which it may read: no rights, and nothing
    to write to but its memory."""
    return {
        "workdir": WORKSPACE,
        "binds": {str(Path.cwd()): {"bind": WORKSPACE, "mode": "ro"}},
        "cap_drop": ["ALL"],
        "read_only": True,
        "tmpfs": {HOME: ""},
    }


def node_user() -> str | None:
    """Who nodes run as: this user, to read the files of the current folder; instead of root, the image's user.

    Raises `InputError` where that user cannot read them.
    """
    if os.getuid() != 0:
        return f"{os.getuid()}:{os.getgid()}"
    here = Path.cwd()
    if here.stat().st_mode & (stat.S_IROTH | stat.S_IXOTH) != stat.S_IROTH | stat.S_IXOTH:
        raise InputError(
            f"{here} is closed to other users, and nodes in containers do not run as root: open it with "
            f"chmod o+rx, or work in another folder"
        )
    return None


def _archive(path: str, text: str) -> bytes:
    """A tar archive of one file that everybody in the container may read."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        entry = tarfile.TarInfo(path)
        entry.size, entry.mode = len(text.encode()), 0o444
        archive.addfile(entry, io.BytesIO(text.encode()))
    return packed.getvalue()
