"""The program of every node of the self-test: known messages over every link, known work on every device.

What is sent and computed is in the node's config (see `loads`), phase by phase, each of which is a round. The
conductor, at whose links all others meet, begins each phase off the clock and goes on when everybody is done with it.
"""

import asyncio
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from subprocess import CompletedProcess, TimeoutExpired, run
from typing import Any

import numpy as np

from emulator.node import Node

ALONE, DELAY, TOGETHER = "alone", "delay", "together"
"""Messages: one at a time over one way, to and fro between two nodes, and all nodes' at once."""
SPIN, TICK = "spin", "tick"
"""Computations: of known CPU time, and of next to none."""
MEMORY_IN_FORCE, MEMORY_REFUSED = "memory_in_force", "memory_refused"
"""Metrics: the limit in bytes that a process of the node has; whether more than the device's was refused (1), or was
given (0)."""
MEMORY_SECONDS = 60.0

Phase = Mapping[str, Any]


async def node(node: Node) -> None:
    """Take part in every phase."""
    load = node.config["workload"]
    conductor, phases = load["conductor"], load["phases"]
    others = [name for names in node.peers.values() for name in names if name != conductor]
    for node.round, phase in enumerate(phases, start=1):
        if node.name == conductor:
            await asyncio.gather(*(node.send(other, "go", off_clock=True) for other in others))
            await _conduct(node, phase)
            for other in others:
                await node.receive("done", other)
        else:
            await node.receive("go", conductor)
            await _take_part(node, conductor, phase)
            await node.send(conductor, "done", off_clock=True)


async def _conduct(node: Node, phase: Phase) -> None:
    match phase["kind"]:
        case "alone":
            await _one_by_one(node, phase["client"], phase["up"], sends=False)
            await _one_by_one(node, phase["client"], phase["down"], sends=True)
        case "delay":
            await asyncio.gather(*(_answer(node, client, count) for client, count in phase["counts"].items()))
        case "up":
            for client, sizes in phase["sizes"].items():
                for _ in sizes:
                    await node.receive(TOGETHER, client)
        case "down":
            await _send_in_turn(node, phase["sizes"])
        case "compute":
            await _compute(node, phase)
        case _:
            raise ValueError(f"no such phase: {phase['kind']}")


async def _take_part(node: Node, conductor: str, phase: Phase) -> None:
    kind = phase["kind"]
    if kind == "alone" and phase["client"] == node.name:
        await _one_by_one(node, conductor, phase["up"], sends=True)
        await _one_by_one(node, conductor, phase["down"], sends=False)
    elif kind == "delay" and node.name in phase["counts"]:
        for _ in range(phase["counts"][node.name]):
            await node.send(conductor, DELAY, tensors=_payload(phase["nbytes"]))
            await node.receive(DELAY, conductor)
            await _rest(node, phase["rests"][node.name])  # it is the link that is tested, not a used up CPU quota
    elif kind == "up" and node.name in phase["sizes"]:
        for nbytes in phase["sizes"][node.name]:
            await node.send(conductor, TOGETHER, tensors=_payload(nbytes))
    elif kind == "down":
        for _ in phase["sizes"].get(node.name, ()):
            await node.receive(TOGETHER, conductor)
    elif kind == "compute":
        await _compute(node, phase)


async def _one_by_one(node: Node, peer: str, sizes: Sequence[int], *, sends: bool) -> None:
    """Messages of which each has arrived before the next is sent."""
    for nbytes in sizes:
        if sends:
            await node.send(peer, ALONE, tensors=_payload(nbytes))
            await node.receive("arrived", peer)
        else:
            await node.receive(ALONE, peer)
            await node.send(peer, "arrived", off_clock=True)


async def _answer(node: Node, client: str, count: int) -> None:
    for _ in range(count):
        ping = await node.receive(DELAY, client)
        await node.send(client, DELAY, tensors=ping.tensors)


async def _send_in_turn(node: Node, sizes: Mapping[str, Sequence[int]]) -> None:
    """To every client its first message, then to every client its second one."""
    for number in range(max(map(len, sizes.values()))):
        for client, own in sizes.items():
            if number < len(own):
                await node.send(client, TOGETHER, tensors=_payload(own[number]))


async def _compute(node: Node, phase: Phase) -> None:
    load = phase["nodes"].get(node.name)
    if load is None:
        return
    if load["memory"]:
        await node.off_clock(lambda: _try_memory(node, load["memory"]))
    for stage, count, cpu in ((TICK, load["ticks"], load["tick_cpu"]), (SPIN, load["spins"], load["spin_cpu"])):
        for _ in range(count):
            await _rest(node, load["rest"])
            await node.compute(stage, _burn(cpu))


async def _rest(node: Node, seconds: float) -> None:
    """Of the host."""
    if seconds:
        await node.off_clock(lambda: time.sleep(seconds))


def _burn(cpu: float) -> Callable[[], None]:
    """Work of `cpu` seconds of a core of this host."""

    def burn() -> None:
        until = time.thread_time() + cpu
        while time.thread_time() < until:
            pass

    return burn


def _try_memory(node: Node, limit: float) -> None:
    """Have a process of its own ask for more memory than the device has: it is that which is to fail."""
    command = [sys.executable, "-m", "emulator.selftest.memory", str(limit)]
    try:
        tried = run(command, capture_output=True, text=True, timeout=MEMORY_SECONDS, check=False)  # noqa: S603
    except TimeoutExpired as error:
        said = error.stdout.decode() if isinstance(error.stdout, bytes) else error.stdout or ""
        tried = CompletedProcess(command, 0, f"{said} untried")
    in_force, *outcome = tried.stdout.split() or [""]
    if tried.returncode == -signal.SIGKILL:
        outcome = ["refused"]
    if tried.returncode in (0, -signal.SIGKILL) and in_force:
        node.record(MEMORY_IN_FORCE, float(in_force))
        if outcome != ["untried"]:
            node.record(MEMORY_REFUSED, float(outcome == ["refused"]))


def _payload(nbytes: int) -> dict[str, "np.ndarray[Any, Any]"]:
    return {"payload": np.zeros(nbytes, np.uint8)}
