"""A world of nodes in one event loop: the emulator's `Node`, as far as a program sees it, without time or bytes.

It is stricter than the real one where that finds mistakes: received arrays are read-only, and sent ones are copied
when they arrive, so that a program which goes on writing into what it sent is noticed.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch


@dataclass(frozen=True)
class Message:
    sender: str
    kind: str
    round: int
    fields: dict[str, Any]
    tensors: dict[str, np.ndarray]


@dataclass(frozen=True)
class Sent:
    """One message as an observer of the network sees it."""

    sender: str
    receiver: str
    kind: str
    round: int
    nbytes: int
    off_clock: bool


@dataclass
class World:
    """All nodes by name, everything that was sent, computed and recorded."""

    nodes: dict[str, "Node"] = field(default_factory=dict)
    sent: list[Sent] = field(default_factory=list)
    computed: list[tuple[str, int, str]] = field(default_factory=list)
    metrics: dict[str, dict[int, float]] = field(default_factory=lambda: defaultdict(dict))

    def traffic(self) -> dict[tuple[int, str, str, str], int]:
        """Bytes on the clock by round, sender, receiver and kind."""
        total: dict[tuple[int, str, str, str], int] = defaultdict(int)
        for sent in self.sent:
            if not sent.off_clock:
                total[sent.round, sent.sender, sent.receiver, sent.kind] += sent.nbytes
        return dict(total)


class Node:
    def __init__(self, world: World, name: str, role: str, peers: Mapping, config: Mapping) -> None:
        self.name, self.role, self.peers, self.config, self.round = name, role, peers, config, 0
        self._world = world
        self._waiting: list[Message] = []
        self._arrived = asyncio.Condition()

    async def send(self, to, kind, fields=None, tensors=None, *, off_clock=False) -> None:
        fields, tensors = dict(fields or {}), dict(tensors or {})
        assert all(array.flags.c_contiguous for array in tensors.values())
        # Off the clock, bytes do not count; on it, names, types and shapes travel as well as the values.
        header = repr([(key, value.dtype.str, value.shape) for key, value in tensors.items()]) + repr(fields)
        nbytes = len(header) + sum(array.nbytes for array in tensors.values())
        self._world.sent.append(Sent(self.name, to, kind, self.round, nbytes, off_clock))
        asyncio.get_running_loop().call_soon(self._deliver, to, kind, self.round, fields, tensors)

    def _deliver(self, to, kind, round, fields, tensors) -> None:
        arrays = {name: array.copy() for name, array in tensors.items()}
        for array in arrays.values():
            array.flags.writeable = False
        receiver = self._world.nodes[to]
        receiver._waiting.append(Message(self.name, kind, round, fields, arrays))
        self._task = asyncio.ensure_future(receiver._wake())

    async def _wake(self) -> None:
        async with self._arrived:
            self._arrived.notify_all()

    async def receive(self, kind=None, sender=None, *, timeout=None) -> Message:
        def fits(message: Message) -> bool:
            return kind in (None, message.kind) and sender in (None, message.sender)

        async with self._arrived:
            await self._arrived.wait_for(lambda: any(map(fits, self._waiting)))
            message = next(filter(fits, self._waiting))
            self._waiting.remove(message)
            return message

    async def compute(self, stage: str, fn: Callable[[], Any], work: object = None) -> Any:
        self._world.computed.append((self.name, self.round, stage))
        return await asyncio.to_thread(_alone, fn)

    async def off_clock(self, fn: Callable[[], Any]) -> Any:
        return await asyncio.to_thread(_alone, fn)

    def record(self, metric: str, value: float) -> None:
        assert self.round not in self._world.metrics[metric], f"{metric} recorded twice in round {self.round}"
        self._world.metrics[metric][self.round] = float(value)


def _alone(fn: Callable[[], Any]) -> Any:
    """`fn()` without OpenMP threads, as on a node: how many there are is a matter of each thread that uses them, and
    decides the order of sums."""
    torch.set_num_threads(1)
    return fn()


def run(programs: Mapping[str, Callable[[Any], Awaitable[None]]], config: Mapping, clients: int) -> World:
    """Run one server and `clients` clients to the end, all with `config`; the first failure ends it and is raised."""
    peers = {"server": ["server"], "client": [f"client-{k}" for k in range(1, clients + 1)]}
    world = World()

    async def everything() -> None:
        for role, names in peers.items():
            for name in names:
                world.nodes[name] = Node(world, name, role, peers, config)
        tasks = [asyncio.ensure_future(programs[node.role](node)) for node in world.nodes.values()]
        try:
            await asyncio.wait_for(asyncio.gather(*tasks), timeout=100)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(everything())
    return world
