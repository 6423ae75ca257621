"""A round of clients that train at once, without those who are late: PSL, EPSL, GAPSL and SFL."""

from collections.abc import Iterable, Sequence
from functools import partial

from nodes.timed_server import Rounds


class Together(Rounds):
    """See nodes/participation.py."""

    def slots(self, round: int) -> list[str]:
        return [*self.clients]

    def tested(self) -> Iterable[str]:
        return self.attendance.free

    async def train(self, round: int) -> int:
        average = self.server.training.averages_after(round)
        there, by = self.attendance.free, self.deadline()
        order = [["train"], ["average"]] if average else [["train"]]
        await self.begin([(client, order) for client in there])

        uploads = await self.collect("uplink", there, by, self.rules.at_least)
        await self._leave_out([client for client in there if client not in uploads])
        if uploads:
            await self.step(round, uploads)

        left = await self._average([*uploads]) if average else [*uploads]
        by = self.deadline()
        if not await self.finished(left, by):
            self.waited(by)
            for client in left:
                if not self.attendance.has_finished(client):
                    self.node.leave_out(client)
        return len(uploads)

    async def _average(self, clients: Sequence[str]) -> list[str]:
        """Average the client-side models of those of the clients who send theirs in time, and gives these."""
        models = await self.collect("model_up", clients, self.deadline(), at_least=0)
        await self._leave_out([client for client in clients if client not in models])
        if models:
            states = {self.clients.index(client): model for client, model in models.items()}
            average = partial(self.server.training.average, states)
            state = await self.node.compute("aggregate", average, self.server.average_work(len(models)))
            await self.send_all([*models], "model_down", [state] * len(models))
        return [*models]

    async def _leave_out(self, late: Sequence[str]) -> None:
        for client in late:
            self.node.leave_out(client)
        await self.drop(late)
