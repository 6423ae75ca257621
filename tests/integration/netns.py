"""Network namespaces of a test's own: each node in one, connected to the hub's by a pair of virtual interfaces.

What a container's network is, without an engine. As a module it runs inside the hub's namespace, with the hub, the
controller and, one namespace further each, the nodes.
"""

import asyncio
import contextlib
import functools
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from emulator.bus.controller import Controller
from emulator.clock import new_event_loop
from emulator.plan import Plan
from emulator.runtime.kernel_links import KernelLinks
from emulator.runtime.process import environment

SECONDS = 60.0
INTERFACE = "eth0"


@functools.cache
def why_not() -> str:
    """Why this host cannot run these tests; empty: it can."""
    if os.geteuid() != 0:
        return "needs root: network namespaces"
    name = f"edgebed-{os.getpid()}-may-i"
    try:
        _ip("netns", "add", name)
        try:
            _ip("link", "add", INTERFACE, "netns", name, "type", "veth", "peer", "name", "peer", "netns", name)
            _call("ip", "netns", "exec", name, "tc", "-V")
        finally:
            _ip("netns", "del", name)
    except (OSError, subprocess.CalledProcessError) as error:
        said = error.stderr.strip() if isinstance(error, subprocess.CalledProcessError) else str(error)
        return f"needs ip, tc and the right to network namespaces: {said}"
    return ""


class World:
    """Namespaces for `nodes`, which are connected to the hub's alone."""

    def __init__(self, *nodes: str) -> None:
        self.nodes = nodes
        self.hub = f"edgebed-{os.getpid()}-hub"
        self.namespaces = {node: f"edgebed-{os.getpid()}-{node}" for node in nodes}

    def address(self, node: str, *, of_hub: bool) -> str:
        """Of the hub as the node sees it, or of the node as the hub does."""
        return f"10.99.{self.nodes.index(node)}.{2 if of_hub else 1}"

    def create(self) -> None:
        for namespace in (self.hub, *self.namespaces.values()):
            _ip("netns", "add", namespace)
            _ip("-n", namespace, "link", "set", "lo", "up")
        for number, (node, namespace) in enumerate(self.namespaces.items()):
            peer = f"to-{number}"
            _ip("link", "add", INTERFACE, "netns", namespace, "type", "veth", "peer", "name", peer, "netns", self.hub)
            for inside, interface, of_hub in ((namespace, INTERFACE, False), (self.hub, peer, True)):
                _ip("-n", inside, "addr", "add", f"{self.address(node, of_hub=of_hub)}/24", "dev", interface)
                _ip("-n", inside, "link", "set", interface, "up")

    def remove(self) -> None:
        for namespace in (self.hub, *self.namespaces.values()):
            with contextlib.suppress(subprocess.CalledProcessError):
                _ip("netns", "del", namespace)

    async def run_in(self, node: str, command: list[str]) -> tuple[int, str]:
        """Run a command in the node's namespace: its exit status, and what it said."""
        return await _run_in(self.namespaces[node], command)

    def run(self, plan: Plan, folder: Path) -> list[dict[str, Any]]:
        """Carry out `plan`, whose programs are in `folder`; returns the spans and metrics that the nodes noted."""
        addresses = {node: self.address(node, of_hub=True) for node in self.nodes}
        job = {"plan": plan.model_dump(mode="json"), "namespaces": self.namespaces, "addresses": addresses}
        command = [sys.executable, "-m", "tests.integration.netns"]
        done = subprocess.run(
            ["ip", "netns", "exec", self.hub, *command],
            input=json.dumps({**job, "folder": str(folder)}),
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            timeout=2 * SECONDS,
        )
        assert done.returncode == 0, done.stderr
        entries: list[dict[str, Any]] = json.loads(done.stdout)
        return entries


@contextlib.contextmanager
def world(*nodes: str) -> Iterator[World]:
    made = World(*nodes)
    try:
        made.create()
        yield made
    finally:
        made.remove()


async def _run_in(namespace: str, command: list[str]) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        "ip", "netns", "exec", namespace, *command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    async with asyncio.timeout(SECONDS):
        said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()


async def _carry_out(job: dict[str, Any]) -> list[dict[str, Any]]:
    plan = Plan.model_validate(job["plan"])
    token = secrets.token_hex(8)
    hub = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "emulator.bus.hub", "0.0.0.0"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    running = [hub]
    entries: list[dict[str, Any]] = []
    try:
        assert hub.stdin is not None
        assert hub.stdout is not None
        hub.stdin.write(f"{token}\n{plan.model_dump_json()}\n".encode())
        port = (await hub.stdout.readline()).decode().strip().rpartition(":")[2]
        controller = Controller(f"tcp://127.0.0.1:{port}", token, entries.append)
        await controller.connect(SECONDS)
        for node in plan.nodes:
            name = node.name
            # Leaves no process behind: it ends with its parent, as does the hub.
            running.append(
                await asyncio.create_subprocess_exec(
                    *("ip", "netns", "exec", job["namespaces"][name], sys.executable, "-m", "emulator.runtime.process"),
                    cwd=job["folder"],
                    env={**os.environ, **environment(f"tcp://{job['addresses'][name]}:{port}", name, token)},
                )
            )

        async def all_of(event: str) -> None:
            missing = {node.name for node in plan.nodes}
            while missing:
                happened = await controller.events.get()
                assert happened.name not in ("failed", "silent", "refused", "bad frame"), happened
                if happened.name == event:
                    missing.discard(happened.node)

        await all_of("ready")
        if plan.kernel is not None:
            links = {node.name: node.link for node in plan.nodes}
            kernel_links = KernelLinks(
                links, plan.scale, plan.kernel, lambda node, command: _run_in(job["namespaces"][node], command)
            )
            await kernel_links.set_up()
        controller.ready()
        for _ in plan.runs:
            await all_of("done")
        controller.close()
    finally:
        for process in running:
            if process.returncode is None:
                process.kill()
            await process.wait()
    return entries


def _ip(*arguments: str) -> None:
    _call("ip", *arguments)


def _call(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=SECONDS)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        json.dump(runner.run(_carry_out(json.load(sys.stdin))), sys.stdout)
