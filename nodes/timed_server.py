"""The server's rounds when they go on without whoever is late (see nodes/participation.py): what all algorithms share.

What a round consists of is in nodes/timed_together.py, for clients that train at once, and nodes/timed_turns.py.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING

from emulator import Deadline
from emulator.errors import DeadlineExceeded, NodeFailure
from nodes.chain import Order
from nodes.config import Participation
from nodes.participation import Attendance
from nodes.prepared import Server

if TYPE_CHECKING:
    from emulator import Message, Node
    from emulator.node import Array


class Rounds(ABC):
    """All rounds of one run."""

    def __init__(self, node: "Node", server: Server, rules: Participation) -> None:
        self.node, self.server, self.rules = node, server, rules
        self.clients = node.peers["client"]
        self.attendance = Attendance(self.clients)
        self.losses: list[float] = []
        self._awaited: tuple[str, Collection[str]] = ("", ())
        self._came: dict[str, Mapping[str, Array]] = {}
        self._acted = node.deadline(0.0)
        """When the server last did anything but wait."""

    @abstractmethod
    async def train(self, round: int) -> int:
        """Carry out a round; gives how many batches entered the server-side model."""

    @abstractmethod
    def slots(self, round: int) -> list[str]:
        """Whose batches are planned for a round, one after the other or at once."""

    @abstractmethod
    def tested(self) -> Iterable[str]:
        """Whose models are evaluated."""

    async def run(self) -> None:
        """Train for the planned number of rounds, then tell the clients that it is over."""
        node, settings = self.node, self.server.settings
        for round in range(1, settings.rounds + 1):
            node.round = round
            await self._catch_up()
            came = await self.train(round)
            node.record("participants", came)
            node.record("lost_rounds", len(self.slots(round)) - came)
            if self.losses:
                node.record("loss", fmean(self.losses))
                self.losses = []
            if round < settings.rounds:
                await self._until_enough_are_free(round + 1)
            if round == settings.rounds or round % settings.workload.evaluate.every == 0:
                await self._evaluate(round)
        for client in self.clients:
            await node.send(client, "end", off_clock=True)

    # -- what the rounds are made of

    def deadline(self) -> Deadline:
        """Until when to wait from now on."""
        return self.node.deadline(self.rules.deadline)

    def waited(self, by: Deadline | None = None) -> None:
        """Note that the server has only waited since it last did anything, until that deadline or now."""
        since = self._acted.since
        self.node.waited(Deadline(since, since if by is None else by.at))
        self._acted = self.node.deadline(0.0)

    async def begin(self, orders: Sequence[tuple[str, Order]], others: Iterable[str] = ()) -> list[int]:
        """Tell clients that this round has begun, or goes on, and what to do in it; `others` that it has begun.

        Gives the numbers of the orders, each its client's own.
        """
        of_client: dict[str, list[Order]] = {client: [] for client in others}
        for client, order in orders:
            of_client.setdefault(client, []).append(order)
        numbers = [self.attendance.order(client) for client, _ in orders]
        for client, own in of_client.items():
            await self.node.send(client, "begin", {"orders": own}, off_clock=True)
        self._acted = self.node.deadline(0.0)
        return numbers

    async def until(self, enough: Callable[[], bool], by: Deadline | None = None) -> bool:
        """Take what comes until it is enough; whether it was, by that deadline.

        Raises DeadlineExceeded, naming who is not free, where there is none but the experiment's.
        """
        while not enough():
            try:
                self._hear(await self.node.receive(by=by))
            except DeadlineExceeded as error:
                if by is not None:
                    return False
                missing = ", ".join(client for client in self.clients if not self.attendance.is_free(client))
                raise DeadlineExceeded(f"{error}: waiting for {missing} (participation.at_least)") from None
        return True

    async def finished(self, clients: Collection[str], by: Deadline) -> bool:
        """Wait until these clients have done or given up all they were told to do; whether they have by then."""
        waiting = [*clients]

        def enough() -> bool:
            while waiting and self.attendance.has_finished(waiting[-1]):
                waiting.pop()
            return not waiting

        return await self.until(enough, by)

    async def collect(
        self, kind: str, clients: Sequence[str], by: Deadline, at_least: int
    ) -> dict[str, "Mapping[str, Array]"]:
        """What clients send of that kind by the deadline, or later until there are `at_least`; in the given order."""
        self._awaited, self._came = (kind, clients), {}

        def complete() -> bool:
            missing = len(clients) - len(self._came)
            return not missing or missing == self.attendance.number_gone(
                [one for one in clients if one not in self._came]
            )

        if not await self.until(complete, by):
            if len(self._came) >= at_least:
                self.waited(by)
            else:
                await self.until(lambda: len(self._came) >= at_least or complete())
        elif len(self._came) < len(clients):
            self.waited()
        self._awaited = ("", ())
        return {client: self._came[client] for client in clients if client in self._came}

    async def step(self, round: int, uploads: Mapping[str, "Mapping[str, Array]"]) -> None:
        """The server's step with these uploads, and its answers on their way."""
        node, places = self.node, [self.clients.index(client) for client in uploads]
        step = partial(self.server.training.step, round, [*uploads.items()], places)
        gradients, losses, metrics = await node.compute("server_step", step, self.server.step_work(len(uploads)))
        for metric, value in metrics.items():
            node.record(metric, value)
        self.losses += losses
        answers = [{} if gradient is None else {"gradient": gradient} for gradient in gradients]
        await self.send_all([*uploads], "downlink", answers)

    async def send_all(self, clients: Sequence[str], kind: str, tensors: "Sequence[Mapping[str, Array]]") -> None:
        for client, own in zip(clients, tensors, strict=True):
            await self.node.send(client, kind, tensors=own)
        self._acted = self.node.deadline(0.0)

    async def drop(self, clients: Iterable[str]) -> None:
        """Tell clients that what they wait for will not come."""
        for client in clients:
            await self.node.send(client, "drop", off_clock=True)

    def go_without(self, client: str) -> None:
        """It is gone for good. Raises NodeFailure when it was the last."""
        self.attendance.gone(client)
        if all(map(self.attendance.is_gone, self.clients)):
            raise NodeFailure(f"{self.node.name}: all clients are gone: there is nobody to train with")

    # -- between them

    async def _catch_up(self) -> None:
        """Take what absent clients have sent until now."""
        if len(self.attendance.free) < len(self.clients):
            await self.until(lambda: False, self.node.deadline(0.0))

    async def _until_enough_are_free(self, round: int) -> None:
        """Wait, as part of this round, until as many batches of the next can be had as it takes at least."""
        slots = self.slots(round)

        def enough() -> bool:
            there = [client for client in slots if not self.attendance.is_gone(client)]
            return sum(map(self.attendance.is_free, there)) >= min(self.rules.at_least, len(there))

        if not enough():
            await self.until(enough)
            self.waited()

    async def _evaluate(self, round: int) -> None:
        shown = [*self.tested()]
        for client in shown:
            await self.node.send(client, "show", off_clock=True)
        self._awaited, self._came = ("shown", shown), {}
        await self.until(lambda: all(client in self._came or self.attendance.is_gone(client) for client in shown))
        states = {self.clients.index(client): self._came[client] for client in shown if client in self._came}
        if states:
            metrics = await self.node.off_clock(partial(self.server.training.evaluate, round, states))
            for metric, value in ({**metrics, "evaluated": len(states)} if metrics else {}).items():
                self.node.record(metric, value)

    def _hear(self, message: "Message") -> None:
        """Enter a message in the books."""
        fields, sender = message.fields, message.sender
        match message.kind:
            case "done":
                self.attendance.report(sender, fields["finished"], fields["sent"], fields["gave"])
            case "took":
                self.attendance.took(fields["giver"], sender)
            case "uplink" | "model_up":
                self.attendance.arrived(sender)
            case "gone":
                self.go_without(sender)
        kind, clients = self._awaited
        if message.kind == kind and sender in clients:
            self._came[sender] = message.tensors


async def train(node: "Node", server: Server, rules: Participation, gone: Iterable[str] = ()) -> None:
    """All rounds of the algorithm, with whoever is in time; `gone`: who was never there.

    Raises FloatingPointError, naming round and client, when a loss is no longer a number; DeadlineExceeded when fewer
    clients than `at_least` come back within the experiment's message deadline.
    """
    from nodes.timed_together import Together
    from nodes.timed_turns import InTurns

    in_turns = server.settings.options.turns(1, server.samples, server.settings.workload.batch_size) is not None
    rounds = (InTurns if in_turns else Together)(node, server, rules)
    for client in gone:
        rounds.go_without(client)
    await rounds.run()
