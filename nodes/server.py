"""The program of the server node, for every algorithm.

Rounds are kept apart by a barrier that costs nothing on the emulated clock, as in the latency models of PSL and EPSL:
`ready`, `begin`, `done`, `end` and evaluation are off the clock. Where late clients are left out, nodes/timed_server.py
has the rounds instead. PyTorch is imported when the program starts, off the event loop, so that this module can be
asked to `check` an experiment at once.
"""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from statistics import fmean
from typing import TYPE_CHECKING, Any

from emulator.node import GONE
from nodes import prepared, timed_server
from nodes.config import Settings, check, prepare, read, sizes, subject, synchronous
from nodes.prepared import Server

if TYPE_CHECKING:
    from emulator import Node

__all__ = ["Settings", "check", "main", "prepare", "sizes", "subject", "synchronous"]


async def main(node: "Node") -> None:
    """Train for the planned number of rounds with all clients, then tell them that it is over.

    Raises FloatingPointError, naming round and client, when a loss is no longer a number.
    """
    settings = read(node.config)
    clients = node.peers["client"]
    rules = settings.workload.participation
    said = [await node.receive(None if rules else "ready", client) for client in clients]
    server = await node.off_clock(lambda: prepared.server(settings, [message.tensors for message in said]))
    if rules is not None:
        await timed_server.train(node, server, rules, [message.sender for message in said if message.kind == GONE])
        return

    for round in range(1, settings.rounds + 1):
        node.round = round
        evaluate = round == settings.rounds or round % settings.workload.evaluate.every == 0
        losses = await _train(node, server, round, evaluate)
        done = [await node.receive("done", client) for client in clients]
        if losses:
            node.record("loss", fmean(losses))
        if evaluate:
            states = {place: message.tensors for place, message in enumerate(done) if message.tensors}
            metrics = await node.off_clock(partial(server.training.evaluate, round, states))
            for metric, value in metrics.items():
                node.record(metric, value)

    for client in clients:
        await node.send(client, "end", off_clock=True)


def orders(
    clients: Sequence[str], round: int, turns: Sequence[int] | None, *, average: bool, evaluate: bool
) -> list[dict[str, Any]]:
    """The fields of each client's `begin` message: what it has to do in this round, whatever the algorithm.

    `turns`: see `Options.turns`. In turns, the client-side model goes from each client to the next, and whoever
    trains first in the next round takes it before this one ends: it alone then has the model, and is evaluated.
    """
    begin: list[dict[str, Any]] = [
        {
            "round": round,
            "batches": 1 if turns is None else turns[:-1].count(place),
            "take_from": None,
            "average": average,
            "give_to": None,
            "take_on_from": None,
            "evaluate": evaluate and (turns is None or place == turns[-1]),
        }
        for place in range(len(clients))
    ]
    changes = [] if turns is None else [(k, one, next) for k, (one, next) in enumerate(pairwise(turns)) if one != next]
    for k, giver, taker in changes:
        begin[giver]["give_to"] = clients[taker]
        last = turns is not None and k == len(turns) - 2
        begin[taker]["take_on_from" if last else "take_from"] = clients[giver]
    return begin


async def _train(node: "Node", server: Server, round: int, evaluate: bool) -> list[float]:
    """One mini-batch of every client; gives the losses."""
    clients, training = node.peers["client"], server.training
    average = training.averages_after(round)
    turns = server.settings.options.turns(round, server.samples, server.settings.workload.batch_size)
    begin = orders(clients, round, turns, average=average, evaluate=evaluate)
    for client, fields in zip(clients, begin, strict=True):
        await node.send(client, "begin", fields, off_clock=True)

    losses: list[float] = []
    for group in [clients] if turns is None else [[clients[place]] for place in turns[:-1]]:
        uploads = [(client, (await node.receive("uplink", client)).tensors) for client in group]
        step = partial(training.step, round, uploads)
        gradients, own_losses, metrics = await node.compute("server_step", step, server.step_work(len(clients)))
        for metric, value in metrics.items():
            node.record(metric, value)
        losses += own_losses
        for client, gradient in zip(group, gradients, strict=True):
            await node.send(client, "downlink", tensors={} if gradient is None else {"gradient": gradient})

    if average:
        states = {place: (await node.receive("model_up", client)).tensors for place, client in enumerate(clients)}
        state = await node.compute("aggregate", partial(training.average, states), server.average_work(len(clients)))
        for client in clients:
            await node.send(client, "model_down", tensors=state)
    return losses
