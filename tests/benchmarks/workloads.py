"""Programs whose times are known in advance."""

import asyncio
import time

import numpy as np

from emulator import Node

WARM_UP = 3


async def stream_sender(node: Node) -> None:
    """Rounds of `count` messages of `nbytes`, sent back to back."""
    work = node.config["workload"]
    payload = np.zeros(work["nbytes"], np.uint8)
    for number in range(1, node.config["rounds"] + 1):
        node.round = number
        for _ in range(work["count"]):
            await node.send("receiver", "message", tensors={"payload": payload})
        await node.receive("received", "receiver")


async def stream_receiver(node: Node) -> None:
    """Takes them, and says so off the clock."""
    for _ in range(node.config["rounds"]):
        for _ in range(node.config["workload"]["count"]):
            await node.receive("message", "sender")
        await node.send("sender", "received", off_clock=True)


async def many_senders(node: Node) -> None:
    """Rounds of `count` messages of `nbytes` to the server, from all senders at once."""
    work = node.config["workload"]
    payload = np.zeros(work["nbytes"], np.uint8)
    for number in range(1, node.config["rounds"] + 1):
        node.round = number
        await node.receive("begin", "server")
        for _ in range(work["count"]):
            await node.send("server", "message", tensors={"payload": payload})
    await node.receive("end", "server")  # or the end of this process would be in the way of the last messages


async def many_receiver(node: Node) -> None:
    """Has all senders begin a round off the clock, and takes their messages as they come."""
    senders = node.peers["sender"]
    for _ in range(node.config["rounds"]):
        await asyncio.gather(*(node.send(sender, "begin", off_clock=True) for sender in senders))
        for _ in range(len(senders) * node.config["workload"]["count"]):
            await node.receive("message")
    await asyncio.gather(*(node.send(sender, "end", off_clock=True) for sender in senders))


async def worker(node: Node) -> None:
    """Rounds of one computation of `cpu` CPU seconds."""

    def burn() -> None:
        until = time.thread_time() + node.config["workload"]["cpu"]
        while time.thread_time() < until:
            sum(range(100))

    for number in range(1, node.config["rounds"] + 1):
        node.round = number
        await node.compute("burn", burn)


async def round_server(node: Node) -> None:
    """Empty rounds: a word to every client, a word from every client."""
    clients = node.peers["client"]
    for number in range(1, node.config["rounds"] + 1):
        node.round = number
        await asyncio.gather(*(node.send(client, "downlink") for client in clients))
        for client in clients:
            await node.receive("uplink", client)


async def round_client(node: Node) -> None:
    """Answers."""
    for number in range(1, node.config["rounds"] + 1):
        node.round = number
        await node.receive("downlink", "server")
        await node.send("server", "uplink")
