"""The program of a client node, for every algorithm.

What differs between algorithms arrives in the server's `begin` message: whom to take the client-side model from and
whom to give it to, whether the models are averaged, whether the model is wanted for evaluation. Where late clients are
left out, nodes/timed_client.py takes part instead. PyTorch is imported when the program starts, off the event loop, so
that this module can be asked to `check` an experiment at once.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from nodes import prepared, timed_client
from nodes.config import Settings, check, dispensable, prepare, read, sizes, subject, synchronous
from nodes.prepared import Client

if TYPE_CHECKING:
    from emulator import Message, Node

__all__ = ["Settings", "check", "computation", "dispensable", "main", "prepare", "sizes", "subject", "synchronous"]


def computation(config: Mapping[str, Any]) -> Callable[[], None]:
    """What a client computes in a round, to be measured alone."""
    from nodes.practice import client_round

    return client_round(read(config))


async def main(node: "Node") -> None:
    """Train whenever the server begins a round, until it ends the run."""
    (server,) = node.peers["server"]
    client = await node.off_clock(lambda: prepared.client(node))
    held = {"samples": np.array([client.trainer.held], np.int64), "labels": client.trainer.labels}
    await node.send(server, "ready", tensors=held, off_clock=True)
    if read(node.config).workload.participation is not None:
        await timed_client.take_part(node, server, client)
        return
    while (order := await node.receive(sender=server)).kind != "end":
        node.round = order.fields["round"]
        await _take_part(node, client, server, order)
        wanted = client.trainer.state() if order.fields["evaluate"] else {}
        await node.send(server, "done", tensors=wanted, off_clock=True)


async def _take_part(node: "Node", client: Client, server: str, order: "Message") -> None:
    """One mini-batch (in turns, as many as it has in a row), and what goes with it."""
    turn, trainer = order.fields, client.trainer
    if turn["take_from"]:
        trainer.load((await node.receive("handover", turn["take_from"])).tensors)

    for _ in range(turn["batches"]):
        upload = await node.compute("client_forward", trainer.forward, client.forward_work)
        await node.send(server, "uplink", tensors=upload)
        downlink = await node.receive("downlink", server)
        if downlink.tensors:  # else the server has this client stand still
            backward = partial(trainer.backward, downlink.tensors["gradient"], node.round)
            await node.compute("client_backward", backward, client.backward_work)

    if turn["average"]:
        await node.send(server, "model_up", tensors=trainer.state())
        trainer.load((await node.receive("model_down", server)).tensors)
    if turn["give_to"]:
        await node.send(turn["give_to"], "handover", tensors=trainer.state())
    if turn["take_on_from"]:
        trainer.load((await node.receive("handover", turn["take_on_from"])).tensors)
