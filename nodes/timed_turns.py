"""A round of clients that train in turns, without those who are late: vanilla split learning."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from nodes.chain import Chain, plan
from nodes.config import Participation
from nodes.prepared import Server
from nodes.timed_server import Rounds

if TYPE_CHECKING:
    from emulator import Node


class InTurns(Rounds):
    """See nodes/participation.py.

    The orders of a round are given ahead, so that the model goes from client to client without a word of the server.
    When a turn fails, those that wait for the model are told to give up, and what is left of the round is ordered anew.
    """

    def __init__(self, node: "Node", server: Server, rules: Participation) -> None:
        super().__init__(node, server, rules)
        self._chain = Chain(self.clients)
        self._planned: list[str] = []  # who has orders in force

    def slots(self, round: int) -> list[str]:
        return self._turns(round)[:-1]

    def tested(self) -> Iterable[str]:
        newest = self._chain.newest(self.attendance.free)
        return [] if newest is None else [newest]

    async def train(self, round: int) -> int:
        *left, then = self._turns(round)
        came, others = 0, self.attendance.free
        while turns := [place for place, client in enumerate(left) if self.attendance.is_free(client)]:
            line = [left[place] for place in turns]
            numbers = await self._order(line, then, others)
            others = []  # they know
            for done, client in enumerate(line):
                dispensable = came + len(line) - done - 1 >= self.rules.at_least
                uploaded, whole = await self._turn(round, client, numbers[done], dispensable=dispensable)
                came += uploaded
                if not whole:
                    left = left[turns[done] + 1 :]
                    break
            else:
                if len(numbers) > len(line):
                    await self._take_on(line[-1], then, numbers[-1])
                break
        return came

    def _turns(self, round: int) -> list[str]:
        """The clients of the round's turns, and of the first turn of the next round."""
        settings = self.server.settings
        turns = settings.options.turns(round, self.server.samples, settings.workload.batch_size)
        assert turns is not None
        return [self.clients[place] for place in turns]

    async def _order(self, line: Sequence[str], then: str, others: Iterable[str]) -> list[int]:
        """Order these turns, and that `then`, if it is free, takes the model on; gives the numbers of these orders."""
        giver = self._chain.giver(line[0], filter(self.attendance.can_give, self.clients))
        orders = plan(line, giver, then if self.attendance.is_free(then) else None)
        self._planned = [client for client, _ in orders]
        numbers = await self.begin(orders, others)
        return numbers if giver is None else numbers[1:]

    async def _turn(self, round: int, client: str, number: int, *, dispensable: bool) -> tuple[int, bool]:
        """One turn: how many batches entered the server-side model, and whether the model can go on from the client."""
        uploads = await self.collect("uplink", [client], self.deadline(), at_least=0 if dispensable else 1)
        if not uploads:
            await self._fail(client)
            return 0, False
        await self.step(round, uploads)
        by = self.deadline()
        if not await self.until(lambda: self.attendance.has_finished(client, number), by):
            self.waited(by)
            await self._fail(client)
            return 1, False
        self._chain.trained(client)
        return 1, True

    async def _take_on(self, giver: str, taker: str, number: int) -> None:
        """Wait for the model to be where the next round begins, which is part of this one."""
        by = self.deadline()
        if await self.until(lambda: self.attendance.has_finished(taker, number), by):
            self._chain.took(giver, taker)
        else:
            self.waited(by)
            await self._fail(taker)

    async def _fail(self, late: str) -> None:
        """Go on without a client, and have those with orders in force give up what they have not begun."""
        self.node.leave_out(late)
        planned = set(self._planned)
        waiting = [one for one in self.clients if one in planned and not self.attendance.has_finished(one)]
        await self.drop(waiting)
        by, others = self.deadline(), [one for one in waiting if one != late]
        if not await self.finished(others, by):
            self.waited(by)
            for client in others:
                if not self.attendance.has_finished(client):
                    self.node.leave_out(client)
