"""The emulation, broken on purpose: whatever is wrong, the result says INVALID, and why."""

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from tests.integration.running import PING_PONG, Command, Finished, read_result, write_experiment

NODES = [
    {
        "role": role,
        "device": "raspberry-pi-4",
        "link": {
            "source": "a test",
            "up": {"rate": "10 Mbit/s", "delay": "50 ms"},
            "down": {"rate": "10 Mbit/s", "delay": "50 ms"},
        },
    }
    for role in ("server", "client")
]
STOP, GO, STARVED_FOR = 0.15, 0.02, 8.0
"""Seconds that the hub is stopped at a time, and runs in between; and how long that goes on."""

FLOOD = """
import time
import numpy as np

async def server(node):
    for client in node.peers["client"]:
        await node.send(client, "begin", off_clock=True)
    node.round, left = 1, len(node.peers["client"])
    while left:
        left -= (await node.receive("message")).fields["last"]

async def client(node):
    load = {"x": np.zeros(2**20, np.uint8)}
    await node.receive("begin", "server")
    node.round, last = 1, False
    until = time.monotonic() + 2.5
    while not last:
        last = time.monotonic() > until
        await node.send("server", "message", {"last": last}, tensors=load)
"""
"""As much as the links take, for some seconds."""
DEPTH = 20
"""Segments in one another: what crosses them all is much work for the hub, and no more than ever for its sender."""
FASTER = 100
"""A hundred emulated seconds in each of the host's: there a link of 100 Mbit/s carries 10 Gbit/s."""

CLOCK = """
import os, time
if os.environ.get("EDGEBED_NAME") == "client":
    of_the_host = time.monotonic
    time.monotonic = lambda: of_the_host() + {skew}
"""
CAPPED = """
import sys
if "emulator.bus.hub" in sys.orig_argv:
    from emulator.network import Network
    add = Network.add
    def capped(network, node, profile, *more):
        up = profile.up.model_copy(update={"rate": profile.up.rate / 2})
        add(network, node, profile.model_copy(update={"up": up}) if node == "client" else profile, *more)
    Network.add = capped
"""
"""What Python runs first in every process that has them on its path: in one of them it breaks something."""


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Have every process of a run begin with this."""

    def begin_with(program: str) -> None:
        folder = tmp_path / "broken"
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(program)
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")])))

    return begin_with


def run(folder: Path) -> Command:
    experiment = write_experiment(folder, PING_PONG, testbed={"name": "two", "nodes": NODES}, rounds=20)
    return Command("run", experiment, "--out", "out", cwd=folder)


def selftest(folder: Path) -> Command:
    (folder / "two.yaml").write_text(yaml.safe_dump({"nodes": NODES}))
    return Command("selftest", "--testbed", "two.yaml", "--out", "out", cwd=folder)


def failed_checks(folder: Path) -> dict[str, str]:
    """The reason of each check that failed, of a run or of a self-test."""
    path = folder / "out" / "selftest.json"
    result: dict[str, Any] = json.loads(path.read_text()) if path.exists() else read_result(folder / "out")
    assert result["verdict"]["valid"] is False
    return {check["name"]: check["reason"] for check in result["verdict"]["checks"] if not check["ok"]}


def starve(command: Command) -> Finished:
    """Stop the hub again and again, and let the command end."""
    command.wait_for(lambda: "client" in command.processes(), "the start of the nodes")
    hub = command.processes()["hub"]
    until = time.monotonic() + STARVED_FOR

    def stop_and_go() -> None:
        try:
            while time.monotonic() < until:
                hub.suspend()
                time.sleep(STOP)
                hub.resume()
                time.sleep(GO)
        except psutil.NoSuchProcess:
            pass  # the command has ended before

    stopping = threading.Thread(target=stop_and_go)
    stopping.start()
    try:
        return command.finish()
    finally:
        stopping.join()


both = pytest.mark.parametrize("start", [run, selftest], ids=["run", "selftest"])


@both
def test_a_hub_that_is_starved_of_cpu_is_found_out(start: Callable[[Path], Command], tmp_path: Path) -> None:
    assert starve(start(tmp_path)).status == 3
    reasons = failed_checks(tmp_path)
    late = {"delivery_lateness", "delivery_lateness_p95", "delay_error", "together_lateness", "jitter_sd"}
    assert late & set(reasons)
    assert all("hub starved of CPU" in reasons[name] for name in late & set(reasons)), reasons


@pytest.mark.parametrize("skew", [-0.2, 0.2], ids=["behind", "ahead"])
def test_a_clock_that_is_off_is_found_out(broken: Callable[[str], None], skew: float, tmp_path: Path) -> None:
    broken(CLOCK.format(skew=skew))
    done = run(tmp_path).finish()
    assert done.status == 3
    reason = failed_checks(tmp_path)["clock_error"]
    assert "the clock of client is " in reason
    assert "off the hub's, on one host" in reason
    assert "INVALID" in done.out


def test_the_selftest_finds_a_clock_that_is_off(broken: Callable[[str], None], tmp_path: Path) -> None:
    broken(CLOCK.format(skew=-0.2))
    assert selftest(tmp_path).finish().status == 3
    reasons = failed_checks(tmp_path)
    assert "the clock of client is " in reasons["clock_offset"]
    assert "the clock of client is " in reasons["delay_error"]


@both
def test_a_link_that_is_slower_than_its_profile_is_found_out(
    start: Callable[[Path], Command], broken: Callable[[str], None], tmp_path: Path
) -> None:
    broken(CAPPED)
    assert start(tmp_path).finish().status == 3
    reasons = failed_checks(tmp_path)
    assert "the hub's links are slower than their profiles" in reasons["promise_error"]
    if start is selftest:
        assert "client up: the hub's links are slower than their profiles" in reasons["rate_error"]
    else:
        assert "from client to server" in reasons["promise_error"]


@pytest.mark.alone
def test_links_that_ask_for_more_than_the_hub_can_carry_are_found_out(tmp_path: Path) -> None:
    quick, wide = (
        {"source": "a test", "up": {"rate": rate, "queue": "16 MiB"}, "down": {"rate": rate}}
        for rate in ("100 Mbit/s", "1 Gbit/s")
    )
    slow = {
        "training": "1 MFLOP/s",
        "memory": "unlimited",
        "source": "a test",
    }  # else it would be the host that is full
    rings = {f"ring-{number}": {"link": wide} for number in range(1, DEPTH + 1)}
    for number in range(2, DEPTH + 1):
        rings[f"ring-{number}"]["segment"] = f"ring-{number - 1}"
    nodes = [
        {"role": "server", "device": slow, "link": wide},
        {"role": "client", "device": slow, "link": quick, "segment": f"ring-{DEPTH}", "count": 2},
    ]
    testbed = {"name": "flood", "segments": rings, "nodes": nodes}
    experiment = write_experiment(tmp_path, FLOOD, testbed=testbed, rounds=1, time_scale=1 / FASTER)
    done = Command("run", experiment, "--out", "out", cwd=tmp_path).finish()
    assert done.status == 3
    result, reasons = read_result(tmp_path / "out"), failed_checks(tmp_path)
    # Without priority a hub may be short of CPU before it is at its own end, where the host is busy otherwise, too.
    starved = result["host"]["hub_priority"] is not None and result["host"]["hub"]["cpu"] < 0.9
    cause = "hub starved of CPU: " if starved else "hub saturated: "
    assert {"latency_error", "delivery_lateness", "rate_error"} <= reasons.keys()
    assert all(reason.removeprefix("tiny: ").startswith(cause) for reason in reasons.values()), reasons
    said = " ".join(done.out.split())
    assert "INVALID" in said
    assert cause in said
    assert starved or f"time_scale: {2 / FASTER:g}" in said, "the remedy"
