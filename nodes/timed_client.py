"""A client's part in rounds that go on without whoever is late (see nodes/participation.py).

The server gives orders, each a few steps, ahead of time, so that no step waits for a word of it. All its words are off
the clock. `begin` brings a round's orders, or more of them; `drop` says that what the client waits for will not come:
it gives up what it has not begun. A client that is late goes on until it next waits. After each order it reports
what it has finished and sent since the run began, so that the server knows what of that is still under way.
"""

from collections import deque
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from nodes.chain import Order
from nodes.prepared import Client

if TYPE_CHECKING:
    from emulator import Message, Node
    from emulator.node import Array


class _Dropped(Exception):
    """What is waited for will not come."""


class _Over(Exception):
    """The run has ended."""


async def take_part(node: "Node", server: str, client: Client) -> None:
    """Do what the server orders, until it ends the run."""
    await _Participant(node, server, client).run()


class _Participant:
    def __init__(self, node: "Node", server: str, client: Client) -> None:
        self._node, self._server, self._client = node, server, client
        self._orders: deque[Order] = deque()
        self._received = self._finished = self._sent = 0
        self._gave: list[str] = []
        self._handed: dict[str, Message] = {}  # models that are here, by giver
        self._idle = node.deadline(0.0)

    async def run(self) -> None:
        try:
            while True:
                try:
                    await self._carry_out()
                    await self._hear()
                except _Dropped:
                    await self._give_up()
        except _Over:
            return

    async def _carry_out(self) -> None:
        while self._orders:
            for step in self._orders.popleft():
                match step:
                    case ["train"]:
                        await self._train()
                    case ["average"]:
                        await self._average()
                    case ["give", to]:
                        await self._give(to)
                    case ["take", giver]:
                        await self._take(giver)
            self._finished += 1
            self._idle = self._node.deadline(0.0)
            await self._report()

    async def _give_up(self) -> None:
        self._orders.clear()
        self._handed.clear()
        if self._finished < self._received:
            self._finished = self._received
            await self._report()

    # -- steps

    async def _train(self) -> None:
        """One mini-batch."""
        node, client = self._node, self._client
        upload = await node.compute("client_forward", client.trainer.forward, client.forward_work)
        await self._send("uplink", upload)
        downlink = await self._hear("downlink")
        if downlink.tensors:  # else the server has this client stand still
            backward = partial(client.trainer.backward, downlink.tensors["gradient"], node.round)
            await node.compute("client_backward", backward, client.backward_work)

    async def _average(self) -> None:
        await self._send("model_up", self._client.trainer.state())
        self._client.trainer.load((await self._hear("model_down")).tensors)

    async def _give(self, to: str) -> None:
        await self._node.send(to, "handover", tensors=self._client.trainer.state())
        self._gave.append(to)

    async def _take(self, giver: str) -> None:
        while giver not in self._handed:
            await self._hear()
        self._client.trainer.load(self._handed.pop(giver).tensors)

    # -- messages

    async def _hear(self, wanted: str = "") -> "Message":
        """The next message of that kind, or of any, when what the server said until then has been taken in."""
        while True:
            message = await self._node.receive()
            match message.kind:
                case "begin":
                    self._begin(message)
                case "handover":
                    # Asked for or not: the server wants to know what is still under way.
                    await self._node.send(self._server, "took", {"giver": message.sender}, off_clock=True)
                    if message.round >= self._node.round:
                        self._handed[message.sender] = message
                case "drop":
                    raise _Dropped
                case "show":
                    await self._node.send(self._server, "shown", tensors=self._client.trainer.state(), off_clock=True)
                case "end":
                    raise _Over
            if wanted in ("", message.kind):
                return message

    def _begin(self, message: "Message") -> None:
        orders = message.fields["orders"]
        if message.round > self._node.round:
            self._node.round = message.round
            self._idle = self._node.deadline(0.0)
            self._handed = {giver: model for giver, model in self._handed.items() if model.round == message.round}
        elif orders:
            self._node.waited(self._idle)
        self._orders.extend(orders)
        self._received += len(orders)

    async def _send(self, kind: str, tensors: "Mapping[str, Array]") -> None:
        await self._node.send(self._server, kind, tensors=tensors)
        self._sent += 1

    async def _report(self) -> None:
        fields = {"finished": self._finished, "sent": self._sent, "gave": self._gave}
        self._gave = []
        await self._node.send(self._server, "done", fields, off_clock=True)
