"""Links in the kernel, in network namespaces of this test's own: real `tc`, real TCP.

A TCP transfer keeps within 10 % of the rate: its headers are accounted for, and what is left is the bucket's burst
(1 %), TCP's start, and a busy host. Rates are those at which a transfer takes some tenths of a second.
"""

import asyncio
import json
import math
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Awaitable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from emulator import tc
from emulator.errors import EdgebedError
from emulator.kernel_fidelity import promised
from emulator.plan import Plan, RunPlan
from emulator.profiles import Channel, LinkProfile
from emulator.runtime.kernel_links import KernelLinks, probe
from emulator.tc import Command, InForce, Kernel
from emulator.timeline import Span, latencies
from tests.integration import netns
from tests.integration.bus_world import make_plan
from tests.integration.netns import World
from tests.tolerance import assert_close

pytestmark = [pytest.mark.alone, pytest.mark.skipif(bool(netns.why_not()), reason=netns.why_not())]

T = TypeVar("T")
NBYTES = 2**19
SERVER = """
import socket, sys, time
listener = socket.create_server(("", 7001))
print("listening", flush=True)
connection, _ = listener.accept()
nbytes, way = int(sys.argv[1]), sys.argv[2]
if way == "up":
    while nbytes:
        nbytes -= len(connection.recv(min(nbytes, 2**20)))
    print(time.monotonic())
else:
    connection.recv(1)
    print(time.monotonic())
    connection.sendall(bytes(nbytes))
    connection.recv(1)
"""
CLIENT = """
import socket, sys, time
connection = socket.create_connection((sys.argv[3], 7001), timeout=60)
nbytes, way = int(sys.argv[1]), sys.argv[2]
if way == "up":
    print(time.monotonic(), flush=True)
    connection.sendall(bytes(nbytes))
    connection.recv(1)
else:
    connection.sendall(b"x")
    while nbytes:
        nbytes -= len(connection.recv(min(nbytes, 2**20)))
    print(time.monotonic())
"""


@pytest.fixture
def world() -> Iterator[World]:
    with netns.world("node") as made:
        yield made


@pytest.fixture(scope="module")
def kernel() -> Kernel:
    with netns.world("probe") as scratch:
        return wait(probe(lambda command: scratch.run_in("probe", command)))


def wait(work: Awaitable[T]) -> T:
    async def within() -> T:
        async with asyncio.timeout(netns.SECONDS):
            return await work

    return asyncio.run(within())


def link(up: str, down: str = "unlimited", **channel: str) -> LinkProfile:
    return LinkProfile(source="a test", up=Channel(rate=up, **channel), down=Channel(rate=down, **channel))


def links_of(world: World, profile: LinkProfile, kernel: Kernel, scale: float = 1.0) -> KernelLinks:
    return KernelLinks({"node": profile}, scale, kernel, world.run_in)


def transfer(world: World, nbytes: int, way: str) -> float:
    """Seconds that `nbytes` take over TCP from the node to the hub (`up`), or back (`down`)."""
    arguments = [str(nbytes), way, world.address("node", of_hub=True)]
    with (
        netns_python(world.hub, SERVER, arguments) as server,
        netns_python_when(server, world.namespaces["node"], CLIENT, arguments) as client,
    ):
        said = server.communicate(timeout=netns.SECONDS)[0], client.communicate(timeout=netns.SECONDS)[0]
    return abs(float(said[1]) - float(said[0]))


def netns_python(namespace: str, program: str, arguments: list[str]) -> "subprocess.Popen[str]":
    command = ["ip", "netns", "exec", namespace, sys.executable, "-c", program, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def netns_python_when(
    server: "subprocess.Popen[str]", namespace: str, program: str, arguments: list[str]
) -> "subprocess.Popen[str]":
    assert server.stdout is not None
    assert server.stdout.readline() == "listening\n"
    return netns_python(namespace, program, arguments)


# -- what the kernel has


def test_the_probe_finds_what_the_kernel_can_do_and_leaves_nothing(world: World) -> None:
    before = wait(world.run_in("node", ["tc", "qdisc", "show"]))
    found = wait(probe(lambda command: world.run_in("node", command)))
    for feature in ("tbf", "htb", "netem", "ifb"):
        assert getattr(found, feature) is (feature not in found.refused)
    assert all(found.refused.values()), "a refusal without a reason"
    assert wait(world.run_in("node", ["tc", "qdisc", "show"])) == before
    assert tc.MIRROR not in wait(world.run_in("node", ["ip", "link"]))[1]
    # Asked in another way than the probe asks.
    status, said = wait(world.run_in("node", ["tc", "qdisc", "add", "dev", "eth0", "root", "netem", "delay", "1ms"]))
    assert found.netem is (status == 0), said


def test_an_image_without_tc_and_a_lack_of_rights_are_no_lack_of_the_kernel() -> None:
    async def no_tc(_: Command) -> tuple[int, str]:
        return 127, 'exec: "tc": executable file not found in $PATH'

    async def no_right(_: Command) -> tuple[int, str]:
        return 2, "RTNETLINK answers: Operation not permitted\n"

    with pytest.raises(EdgebedError, match="no 'tc': add the package iproute2"):
        wait(probe(no_tc))
    with pytest.raises(EdgebedError, match=r"'tc qdisc add .*Operation not permitted: .*NET_ADMIN"):
        wait(probe(no_right))


# -- what is in force


@pytest.mark.parametrize("kind", ["tbf", "htb"])
def test_what_is_in_force_is_read_back(world: World, kernel: Kernel, kind: str) -> None:
    limited = kernel.model_copy(update={"tbf": kernel.tbf and kind == "tbf"})
    if not limited.bucket or not limited.ifb:
        pytest.skip(f"this kernel has no {kind}, or no ifb: {kernel.refused}")
    links = links_of(world, link("4 Mbit/s", "16 Mbit/s"), limited, scale=2.0)
    wait(links.set_up())
    assert wait(links.in_force("node")) == {"up": InForce(2e6, 0.0, 0), "down": InForce(8e6, 0.0, 0)}
    wait(links.set_link("node", link("unlimited", "3 Mbit/s")))
    assert wait(links.in_force("node")) == {"up": InForce(math.inf, 0.0, 0), "down": InForce(1.5e6, 0.0, 0)}


@pytest.mark.parametrize("way", ["up", "down"])
@pytest.mark.parametrize("kind", ["tbf", "htb"])
def test_a_transfer_takes_its_bytes_at_the_rate(world: World, kernel: Kernel, kind: str, way: str) -> None:
    limited = kernel.model_copy(update={"tbf": kernel.tbf and kind == "tbf"})
    if not limited.bucket or not limited.ifb:
        pytest.skip(f"this kernel has no {kind}, or no ifb: {kernel.refused}")
    rate = 10e6
    other = "unlimited"
    rates = (f"{rate} bit/s", other) if way == "up" else (other, f"{rate} bit/s")
    wait(links_of(world, link(*rates), limited).set_up())
    ideal = tc.on_wire(NBYTES) * 8 / rate
    best = min(transfer(world, NBYTES, way) for _ in range(3))
    tolerance = 0.10 if kind == "tbf" else 0.10 + tc.OFFLOAD / NBYTES
    assert_close(best / ideal, 1.0, relative=tolerance, what=f"{way} by {kind}, over its bytes at the rate")


def test_a_change_is_in_force_in_the_middle_of_a_transfer(world: World, kernel: Kernel) -> None:
    if not kernel.tbf:
        pytest.skip(f"this kernel has no tbf: {kernel.refused}")
    slow, fast, nbytes = 4e6, 16e6, 2**20
    links = links_of(world, link(f"{slow} bit/s"), kernel)
    wait(links.set_up())
    took: list[float] = []
    begun = time.monotonic()
    running = threading.Thread(target=lambda: took.append(transfer(world, nbytes, "up")))
    running.start()
    time.sleep(0.8)
    wait(links.set_link("node", link(f"{fast} bit/s")))
    changed = time.monotonic() - begun
    running.join(netns.SECONDS)
    wire_bits = tc.on_wire(nbytes) * 8
    # It began somewhere between the two programs' start and the change.
    least = wire_bits / fast
    most = changed + max(0.0, wire_bits - slow * (changed - 0.6)) / fast
    assert least < took[0] < min(most * 1.15, wire_bits / slow * 0.9), (took, least, most)


# -- what goes wrong


def test_an_error_of_tc_is_shown_with_its_node_and_command(world: World, kernel: Kernel) -> None:
    links = KernelLinks({"client-3": link("4 Mbit/s")}, 1.0, kernel, lambda _, command: world.run_in("node", command))
    wait(world.run_in("node", ["ip", "link", "set", "eth0", "down"]))
    wait(world.run_in("node", ["ip", "link", "set", "eth0", "name", "other"]))
    with pytest.raises(EdgebedError) as raised:
        wait(links.set_up())
    assert str(raised.value).startswith("client-3: 'tc qdisc ")
    assert 'Cannot find device "eth0"' in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_change_that_is_refused_leaves_what_was_in_force(world: World, kernel: Kernel) -> None:
    if not kernel.limits_down or not kernel.tbf:
        pytest.skip(f"this kernel has no tbf, or no ifb: {kernel.refused}")
    refusing = False

    async def run_in(node: str, command: Command) -> tuple[int, str]:
        if refusing and tc.MIRROR in command and "rate" in command and "9000000bit" in command:
            return 2, "RTNETLINK answers: No buffer space available"
        return await world.run_in(node, command)

    links = KernelLinks({"node": link("4 Mbit/s", "4 Mbit/s")}, 1.0, kernel, run_in)
    wait(links.set_up())
    refusing = True
    with pytest.raises(EdgebedError, match="No buffer space"):
        wait(links.set_link("node", link("9 Mbit/s", "9 Mbit/s")))
    assert {state.rate for state in wait(links.in_force("node")).values()} == {4e6}


def test_a_rate_that_is_not_in_force_is_not_believed(world: World, kernel: Kernel) -> None:
    if not kernel.tbf:
        pytest.skip(f"this kernel has no tbf: {kernel.refused}")

    async def run_in(node: str, command: Command) -> tuple[int, str]:
        return await world.run_in(node, ["5000000bit" if word == "4000000bit" else word for word in command])

    with pytest.raises(EdgebedError, match=r"up link was to have 4 Mbit/s .* but the kernel says that it has 5 Mbit/s"):
        wait(KernelLinks({"node": link("4 Mbit/s")}, 1.0, kernel, run_in).set_up())


# -- the whole way: node, hub, node

PROGRAM = """
import numpy as np

async def server(node):
    for node.round in range(1, node.config["rounds"] + 1):
        await node.receive("uplink")
        await node.send("client", "downlink", tensors={"x": np.full(node.config["nbytes"], node.round, np.uint8)})
        await node.receive("end")
        await node.send("client", "next", off_clock=True)

async def client(node):
    for node.round in range(1, node.config["rounds"] + 1):
        await node.send("server", "uplink", tensors={"x": np.zeros(node.config["nbytes"], np.uint8)})
        answer = await node.receive("downlink")
        assert (answer.tensors["x"] == node.round).all()
        await node.send("server", "end", off_clock=True)
        await node.receive("next")
"""


def pair(kernel: Kernel | None, nbytes: int, **channel: str) -> Plan:
    """A server and a client with equal links; the kernel's if there is one, else the bus's."""
    plan = make_plan("server", "client", up=channel, down=channel)
    nodes = [node.model_copy(update={"program": f"kernel_program:{node.role}"}) for node in plan.nodes]
    runs = [RunPlan(name="run", config={"rounds": 3, "nbytes": nbytes})]
    links = "bus" if kernel is None else "kernel"
    return plan.model_copy(update={"nodes": nodes, "runs": runs, "links": links, "kernel": kernel})


def spans_of(plan: Plan, folder: Path) -> list[Span]:
    (folder / "kernel_program.py").write_text(textwrap.dedent(PROGRAM))
    with netns.world("server", "client") as world:
        return [Span.from_fields(entry) for entry in world.run(plan, folder) if "stage" in entry]


def test_a_round_takes_as_long_as_over_the_hubs_links(kernel: Kernel, tmp_path: Path) -> None:
    if not kernel.limits_down:
        pytest.skip(f"this kernel cannot limit both directions: {kernel.refused}")
    # The first link carries the end of a message while the second carries its beginning, as in the hub.
    of = {"nbytes": 2**18, "rate": "4 Mbit/s", "delay": "10 ms"}
    by_bus = min(latencies(spans_of(pair(None, **of), tmp_path)).values())  # type: ignore[arg-type]
    spans = spans_of(pair(kernel, **of), tmp_path)  # type: ignore[arg-type]
    by_kernel = min(latencies(spans).values())
    assert_close(by_kernel / by_bus, 1.0, relative=0.15, what="best round, kernel's links over the hub's")
    links = {node.name: node.link for node in pair(kernel, **of).nodes}  # type: ignore[arg-type]
    assert all(span.due is None for span in spans), "a promise that the hub cannot keep"
    for span, due in promised(spans, links):
        assert span.end > span.start + 2 * 0.010
        assert span.duration > 0.97 * (due - span.start), json.dumps(span.to_fields())


def test_nobody_seems_silent_while_a_message_takes_longer_than_silence_may(kernel: Kernel, tmp_path: Path) -> None:
    if not kernel.limits_down:
        pytest.skip(f"this kernel cannot limit both directions: {kernel.refused}")
    # 4 s each way at this rate, a half of the queue of heartbeats before it.
    plan = pair(kernel, nbytes=2**18, rate="500 kbit/s")
    runs = [RunPlan(name="run", config={"rounds": 1, "nbytes": 2**18})]
    deadlines = plan.deadlines.model_copy(update={"silence": 2.5})
    spans = spans_of(plan.model_copy(update={"runs": runs, "deadlines": deadlines}), tmp_path)
    assert len([span for span in spans if span.is_message and not span.off_clock]) == 2
