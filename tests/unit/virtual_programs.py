"""Programs for the virtual runtime: an exchange of known times, and several ways to go wrong."""

import asyncio
import contextlib

import numpy as np

from emulator import Node, Work
from emulator.errors import DeadlineExceeded

GIGA = Work(flops=1e9)


async def server(node: Node) -> None:
    rounds = range(1, node.config["rounds"] + 1)
    for node.round in rounds:
        for peer in node.peers["client"]:
            await node.receive("ping", peer)
        await node.compute("serve", lambda: None, GIGA)
        answer = np.zeros(node.config["workload"].get("bytes", 1000), np.uint8)
        await asyncio.gather(*(node.send(to, "pong", tensors={"x": answer}) for to in node.peers["client"]))
        node.record("accuracy", node.round / 10)


async def client(node: Node) -> None:
    payload = np.zeros(node.config["workload"].get("bytes", 1000), np.uint8)
    rounds = range(1, node.config["rounds"] + 1)
    for node.round in rounds:
        await node.compute("think", lambda: None, GIGA)
        await node.send("server", "ping", tensors={"x": payload})
        await node.receive("pong", "server")


async def expects_too_much(node: Node) -> None:
    await node.receive("word", "server")


async def silent(node: Node) -> None:
    """Ends at once."""


async def impatient(node: Node) -> None:
    await node.receive("word", timeout=3.5)


async def raises(node: Node) -> None:
    raise ZeroDivisionError("nothing divides")


async def untold(node: Node) -> None:
    await node.compute("riddle", lambda: None)


async def huge(node: Node) -> None:
    await node.compute("hoard", lambda: None, Work(flops=1.0, peak_memory=2.0**40))


async def writes_to_what_it_got(node: Node) -> None:
    message = await node.receive("word")
    message.tensors["x"][0] = 1


async def sends_a_word(node: Node) -> None:
    for to in node.peers["client"]:
        await node.send(to, "word", {"list": [1, 2]}, {"x": np.zeros(3)})
    await node.receive("never", "client")


async def floods(node: Node) -> None:
    for node.round in range(1, 3):
        for _ in range(4):
            await node.send("server", "flood", tensors={"x": np.zeros(100_000, np.uint8)})


async def drains(node: Node) -> None:
    for _ in range(8):
        await node.receive("flood")


async def streams(node: Node) -> None:
    node.round = 1
    for _ in range(node.config["workload"]["messages"]):
        await node.send("server", "drop", tensors={"x": np.zeros(2000, np.uint8)})


async def takes_all(node: Node) -> None:
    node.round = 1
    for _ in range(node.config["workload"]["messages"] * len(node.peers["client"])):
        await node.receive("drop")


async def computes_twice_at_once(node: Node) -> None:
    node.round = 1
    await asyncio.gather(node.compute("one", lambda: None, GIGA), node.compute("two", lambda: None, GIGA))


async def keeps_talking(node: Node) -> None:
    node.round = 1
    while True:
        await node.send("server", "word")
        await asyncio.sleep(0)


async def waits_up_to_a_moment(node: Node) -> None:
    """Counts the words that are there by a deadline, then goes on without the others."""
    node.round = 1
    by, came = node.deadline(node.config["workload"]["deadline"]), 0
    with contextlib.suppress(DeadlineExceeded):
        while came < len(node.peers["client"]):
            await node.receive("word", by=by)
            came += 1
    node.record("came", came)
    if came < len(node.peers["client"]):
        node.waited(by)
        for peer in node.peers["client"][came:]:
            node.leave_out(peer)
    await node.compute("serve", lambda: None, GIGA)
    for _ in node.peers["client"][came:]:
        await node.receive("word")


async def says_a_word_later(node: Node) -> None:
    """The first client after a second, the next after two, and so on."""
    node.round = 1
    for _ in range(node.peers["client"].index(node.name) + 1):
        await node.compute("think", lambda: None, GIGA)
    await node.send("server", "word")
