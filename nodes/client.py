"""The program of a client node, for every algorithm.

What differs between algorithms arrives in the server's `begin` message: whom to take the client-side model from and
whom to give it to, whether the models are averaged, whether the model is wanted for evaluation. PyTorch is imported
when the program starts, off the event loop, so that this module can be asked to `check` an experiment at once.
"""

from typing import TYPE_CHECKING

from nodes.config import Settings, check, prepare, read

if TYPE_CHECKING:
    from emulator import Message, Node
    from nodes.trainer import Trainer

__all__ = ["Settings", "check", "main", "prepare"]


async def main(node: "Node") -> None:
    """Train whenever the server begins a round, until it ends the run."""
    (server,) = node.peers["server"]
    trainer = await node.off_clock(lambda: _prepare(node))
    await node.send(server, "ready", {"samples": len(trainer.samples)}, off_clock=True)
    while (order := await node.receive(sender=server)).kind != "end":
        node.round = order.fields["round"]
        await _take_part(node, trainer, server, order)
        wanted = trainer.state() if order.fields["evaluate"] else {}
        await node.send(server, "done", tensors=wanted, off_clock=True)


def _prepare(node: "Node") -> "Trainer":
    from nodes.trainer import Trainer

    clients = node.peers["client"]
    return Trainer(read(node.config), clients.index(node.name), len(clients))


async def _take_part(node: "Node", trainer: "Trainer", server: str, order: "Message") -> None:
    """One mini-batch, and what goes with it."""
    turn = order.fields
    if turn["take_from"]:
        trainer.load((await node.receive("handover", turn["take_from"])).tensors)

    await node.send(server, "uplink", tensors=await node.compute("client_forward", trainer.forward))
    downlink = await node.receive("downlink", server)
    if downlink.tensors:  # else the server has this client stand still
        await node.compute("client_backward", lambda: trainer.backward(downlink.tensors["gradient"]))

    if turn["average"]:
        await node.send(server, "model_up", tensors=trainer.state())
        trainer.load((await node.receive("model_down", server)).tensors)
    if turn["give_to"]:
        await node.send(turn["give_to"], "handover", tensors=trainer.state())
    if turn["take_back_from"]:
        trainer.load((await node.receive("handover", turn["take_back_from"])).tensors)
