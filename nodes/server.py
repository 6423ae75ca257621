"""The program of the server node, for every algorithm.

Rounds are kept apart by a barrier that costs nothing on the emulated clock, as in the latency models of PSL and EPSL:
`ready`, `begin`, `done`, `end` and evaluation are off the clock. PyTorch is imported when the program
starts, off the event loop, so that this module can be asked to `check` an experiment at once.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Any

from nodes.config import Settings, check, prepare, read

if TYPE_CHECKING:
    from emulator import Message, Node
    from nodes.algorithms import Algorithm, Step
    from nodes.evaluate import Accuracy
    from nodes.state import State

__all__ = ["Settings", "check", "main", "prepare"]


async def main(node: "Node") -> None:
    """Train for the planned number of rounds with all clients, then tell them that it is over.

    Raises FloatingPointError, naming round and client, when a loss is no longer a number.
    """
    settings = read(node.config)
    clients = node.peers["client"]
    samples = [int((await node.receive("ready", client)).fields["samples"]) for client in clients]
    training = await node.off_clock(lambda: _prepare(settings, samples))

    for round in range(1, settings.rounds + 1):
        node.round = round
        evaluate = round == settings.rounds or round % settings.workload.evaluate.every == 0
        losses = await _train(node, training.algorithm, round, evaluate)
        done = [await node.receive("done", client) for client in clients]
        node.record("loss", fmean(losses))
        if evaluate:
            states = [message.tensors for message in done if message.tensors]
            accuracy = await node.off_clock(partial(training.evaluate, states))
            node.record("accuracy", accuracy.mean)
            node.record("accuracy_min", accuracy.low)
            node.record("accuracy_max", accuracy.high)

    for client in clients:
        await node.send(client, "end", off_clock=True)


@dataclass(frozen=True)
class _Training:
    """What the server works with; `evaluate` tests the server-side model with each of the given client-side ones."""

    algorithm: "Algorithm"
    evaluate: "Callable[[Sequence[State]], Accuracy]"


def _prepare(settings: Settings, samples: Sequence[int]) -> _Training:
    from nodes import data
    from nodes.algorithms import named
    from nodes.evaluate import evaluate
    from nodes.models import build

    workload, seed = settings.workload, settings.seed
    architecture, cut = workload.model.architecture, workload.model.client_layers
    algorithm = named(settings.algorithm)(build(architecture, seed, start=cut), settings, samples)
    client_model = build(architecture, seed, stop=cut)
    test = data.load(workload.data, "test", seed).take(slice(workload.evaluate.samples))
    return _Training(algorithm, lambda states: evaluate(client_model, states, algorithm.model, test))


def orders(
    clients: Sequence[str], round: int, *, in_turns: bool, average: bool, evaluate: bool
) -> list[dict[str, Any]]:
    """The fields of each client's `begin` message: what it has to do in this round, whatever the algorithm.

    In turns, the client-side model goes from each client to the next, and from the last back to the first: it alone
    then has the model, and is evaluated.
    """
    first, last = clients[0], clients[-1]
    alone = len(clients) == 1
    return [
        {
            "round": round,
            "take_from": clients[place - 1] if in_turns and place > 0 else None,
            "average": average,
            "give_to": clients[(place + 1) % len(clients)] if in_turns and not alone else None,
            "take_back_from": last if in_turns and place == 0 and not alone else None,
            "evaluate": evaluate and (not in_turns or client == first),
        }
        for place, client in enumerate(clients)
    ]


async def _train(node: "Node", algorithm: "Algorithm", round: int, evaluate: bool) -> list[float]:
    """One mini-batch of every client; gives the losses."""
    from nodes.algorithms import Averaging

    clients = node.peers["client"]
    averaging = algorithm if isinstance(algorithm, Averaging) and algorithm.averages_after(round) else None
    begin = orders(clients, round, in_turns=algorithm.in_turns, average=averaging is not None, evaluate=evaluate)
    for client, fields in zip(clients, begin, strict=True):
        await node.send(client, "begin", fields, off_clock=True)

    losses: list[float] = []
    for group in [[client] for client in clients] if algorithm.in_turns else [clients]:
        uplinks = [await node.receive("uplink", client) for client in group]
        step = await node.compute("server_step", partial(_step, algorithm, round, uplinks))
        for metric, value in step.metrics.items():
            node.record(metric, value)
        losses += step.losses
        gradients = [{} if own is None else {"gradient": own.numpy()} for own in step.gradients]
        await _send_all(node, group, "downlink", gradients)

    if averaging is not None:
        states = [(await node.receive("model_up", client)).tensors for client in clients]
        state = await node.compute("aggregate", lambda: averaging.average(states))
        await _send_all(node, clients, "model_down", [state] * len(clients))
    return losses


def _step(algorithm: "Algorithm", round: int, uplinks: "Sequence[Message]") -> "Step":
    from nodes.algorithms import Upload

    return algorithm.step(round, [Upload.from_arrays(uplink.sender, uplink.tensors) for uplink in uplinks])


async def _send_all(node: "Node", clients: Sequence[str], kind: str, tensors: "Sequence[State]") -> None:
    """Send to all at once: where a sender has to wait for one client's link, the others do not."""
    await asyncio.gather(*(node.send(client, kind, tensors=own) for client, own in zip(clients, tensors, strict=True)))
