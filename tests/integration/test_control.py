"""Control of a running testbed as a user does it: by the commands, and by the HTTP API."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
import yaml

from emulator.control import found
from tests.integration.running import SECONDS, Command, Edgebed, Finished, edgebed, write_experiment
from tests.tolerance import assert_close

LINK = {"name": "wire", "source": "a test", "up": {"rate": "20 Mbit/s"}, "down": {"rate": "unlimited"}}
SLOW = {**LINK, "up": {"rate": "2 Mbit/s"}}
"""The upload takes 16 s: whatever a change of it takes to arrive, it arrives in the middle."""

UPLOAD = """
import asyncio, pathlib
import numpy as np

async def server(node):
    node.round = 1
    await node.receive("upload")
    node.record("accuracy", 0.5)
    node.round = 2
    await node.compute("think", lambda: None)
    pathlib.Path("received").touch()
    while not pathlib.Path("enough").exists():
        await asyncio.sleep(0.01)

async def client(node):
    node.round = 1
    pathlib.Path("sending").touch()
    await node.send("server", "upload", tensors={"x": np.zeros(4_000_000, np.uint8)})
"""
"""One upload, of 1.6 s by `LINK`; then both stay until the file `enough` is there."""


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No testbed but the test's own is to be found."""
    folder = tmp_path / "runtime"
    folder.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    for name in (found.URL, found.TOKEN):
        monkeypatch.delenv(name, raising=False)
    return folder / "edgebed"


class Running:
    """A testbed of two that runs in `folder` until it is told that it is enough."""

    def __init__(self, folder: Path, program: str = UPLOAD, link: dict[str, Any] = LINK, **keys: Any) -> None:
        self.folder = folder
        experiment = write_experiment(folder, program, link=link, **keys)
        self.command = Command("run", experiment, "--out", "out", cwd=folder)
        self.command.wait_for(lambda: found.running(), "its control")
        (self.testbed,) = found.running()
        headers = {"Authorization": f"Bearer {self.testbed.token}"}
        self.http = httpx.Client(base_url=self.testbed.url, headers=headers, timeout=SECONDS)

    def wait_for(self, file: str) -> None:
        self.command.wait_for((self.folder / file).exists, f"the file '{file}'")

    def say(self, *arguments: object) -> Finished:
        """A command on the running testbed."""
        return edgebed(*arguments, cwd=self.folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()
        if self.command.process.poll() is None:
            self.finish()

    def finish(self) -> Finished:
        (self.folder / "enough").touch()
        return self.command.finish()

    def spans(self, stage: str) -> list[dict[str, Any]]:
        lines = (self.folder / "out/timeline.jsonl").read_text().splitlines()
        return [span for span in map(json.loads, lines) if span["stage"] == stage]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    with Running(tmp_path) as one:
        yield one


# -- what a change does


@pytest.mark.alone
def test_a_rate_changed_in_the_middle_of_a_message_holds_from_then_on(tmp_path: Path) -> None:
    with Running(tmp_path, link=SLOW) as running:
        running.wait_for("sending")
        time.sleep(0.4)
        answer = running.http.patch("/nodes/client", json={"link": {"up": {"rate": "20 Mbit/s"}}})
        running.wait_for("received")
        assert answer.status_code == 200
        assert running.finish().status in (0, 3)
    (upload,) = running.spans("upload")
    at = answer.json()["at"]
    before = at - upload["start"]
    assert 0 < before < upload["bytes"] * 8 / 2e6, "the change was not in the middle"
    predicted = before + (upload["bytes"] * 8 - before * 2e6) / 20e6
    assert_close(upload["end"] - upload["start"], predicted, relative=0.02, what="seconds of the upload")
    (change,) = running.spans("link_change")
    assert (change["start"], change["end"], change["node"], change["round"]) == (at, at, "client", 1)
    assert change["detail"] == "wire -> wire-changed (up 20 Mbit/s; down unlimited)"


def test_the_user_sees_what_runs_changes_it_and_puts_it_back(running: Running) -> None:
    running.wait_for("received")
    shown = running.say("status")
    assert (shown.status, shown.err) == (0, "")
    assert "tiny on testbed two, local runtime, time scale 1: out\n" in shown.out
    for line in ("server  running", "client  done", "wire", "20 Mbit/s", "accuracy 50.0 %"):
        assert line in shown.out

    applied = running.say("apply", "lte", "--node", "client", "--node", "server")
    assert (applied.status, applied.err) == (0, "")
    first, second = applied.out.splitlines()
    assert first.startswith("client: link wire -> lte (up 7.6 Mbit/s, delay 10.5 ms, jitter 4 ms, loss 0.001 %, queue")
    assert " s of tiny, round 1" in first
    assert second.startswith("server: link wire -> lte")

    changed = running.say("link", "client", "--up", "2 Mbit/s", "--delay", "50 ms", "--down-delay", "5 ms")
    assert changed.out.startswith("client: link lte -> lte-changed (up 2 Mbit/s, delay 50 ms,")
    now = json.loads(running.say("status", "--json").out)
    (client,) = (node for node in now["nodes"] if node["name"] == "client")
    assert client["link"]["up"] == {
        "rate": "2 Mbit/s", "trace": None, "offset": "spread", "sharing": "fifo",
        "delay": "50 ms", "jitter": "4 ms", "loss": "0.001 %", "burst": None, "queue": "4 MiB",
    }  # fmt: skip
    assert (client["link"]["down"]["rate"], client["link"]["down"]["delay"]) == ("29.5 Mbit/s", "5 ms")
    assert now["last_round"] == 1
    assert client["busy_s"] == pytest.approx(now["round_latency_s"], rel=0.01)  # it uploads for the whole round

    (running.folder / "wire.yaml").write_text(yaml.safe_dump(LINK))
    (running.folder / "elsewhere").mkdir()
    back = edgebed("apply", "../wire.yaml", "--node", "client", cwd=running.folder / "elsewhere")
    assert back.out.startswith("client: link lte-changed -> wire (up 20 Mbit/s, queue 64 MiB; down unlimited, queue")
    assert running.say("apply", "./wire.yaml", "--node", "client").out == "client: it was so before\n"

    end = running.finish()
    assert end.status in (0, 3)
    notes = [line for line in end.err.splitlines() if "link wire -> lte" in line]
    assert notes == [f"note: {first}", f"note: {second}"]
    assert not found.running()


def test_another_device_is_in_force_and_in_the_timeline(running: Running, core_flops: float) -> None:
    running.wait_for("received")
    board = {"training": f"{core_flops / 4e9:.6g} GFLOP/s", "memory": "1 GiB", "source": "a test"}
    (running.folder / "slow.yaml").write_text(yaml.safe_dump(board))
    applied = running.say("apply", "slow.yaml", "--node", "client")
    assert applied.out.startswith("client: device host -> slow (")
    assert running.finish().status in (0, 3)
    (span,) = running.spans("device_change")
    assert (span["node"], span["off_clock"]) == ("client", True)


def test_a_device_with_less_memory_than_is_in_use_ends_the_node_and_names_the_device(running: Running) -> None:
    running.wait_for("received")
    tiny = {"name": "tiny", "training": "unlimited", "memory": "8 MiB", "source": "a test"}
    assert running.http.post("/nodes/server/apply", json={"profile": tiny}).status_code == 200
    end = running.command.finish()
    assert end.status == 1
    assert "server failed: out of memory: its device 'tiny' has 8 MiB" in end.line


# -- what is refused


def test_what_cannot_be_is_refused_in_one_line_and_changes_nothing(running: Running, command: Edgebed) -> None:
    running.wait_for("received")

    def in_force() -> list[Any]:
        return [(node["link"], node["device"]) for node in running.http.get("/nodes").json()]

    before = in_force()
    (running.folder / "broken.yaml").write_text("source: a test\nup:\n  rate: 5 Mbps\ndown:\n  rate: 1 Mbit/s\n")
    for arguments, line in (
        (["apply", "lt", "--node", "client"], "unknown profile 'lt': did you mean 'lte'?"),
        (["apply", "lte", "--node", "client", "--node", "clint"], "the testbed has no node 'clint': did you mean"),
        (["apply", "broken.yaml", "--node", "client"], "broken.yaml:3: up.rate: 'Mbps' is no unit of rate"),
        (["apply", "absent.yaml", "--node", "client"], "absent.yaml: cannot be read: No such file or directory"),
        (["apply", "tiny.yaml", "--node", "client"], "tiny.yaml: neither a link nor a device"),
        (["link", "clint", "--up", "5 Mbit/s"], "the testbed has no node 'clint': did you mean 'client'?"),
        (["link", "client", "--up", "5"], "up.rate: '5' has no unit: write a rate such as '10 Mbit/s'"),
        (["link", "client", "--loss", "100 %"], "up.loss: Input should be less than 1"),
        (["link", "client", "host"], "unknown link 'host': choose one of"),
        (["link", "client", "lte", "--up-trace", "absent.csv"], "absent.csv: cannot be read"),
        (["link", "client"], "nothing to change: give a PROFILE, --up, --down, --delay or another figure"),
        (["status", "--run", "other"], "--run other: no such testbed is running: did you mean 'out'?"),
    ):
        refused = command(*arguments)
        assert refused.status == 2
        assert refused.out == ""
        assert line in refused.line
    assert in_force() == before
    assert running.finish().status in (0, 3)
    assert not running.spans("link_change")


def test_a_wrong_token_is_refused(running: Running, command: Edgebed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(found.URL, running.testbed.url)
    monkeypatch.setenv(found.TOKEN, "a guess")
    refused = command("status")
    assert refused.status == 2
    assert refused.line == ("the token is wrong: send 'Authorization: Bearer TOKEN' with the token of this testbed")
    monkeypatch.setenv(found.TOKEN, running.testbed.token)
    assert command("status").status == 0


def test_without_a_testbed_the_commands_say_so(command: Edgebed, monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments in (["status"], ["apply", "lte", "--node", "client"], ["link", "client", "--up", "1 Mbit/s"]):
        refused = command(*arguments)
        assert refused.status == 2
        assert refused.line.startswith("no testbed is running: start one with 'edgebed run'")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        monkeypatch.setenv(found.URL, f"http://127.0.0.1:{taken.getsockname()[1]}")
        monkeypatch.setenv(found.TOKEN, "any")
        unreachable = command("status")
    assert unreachable.status == 1
    assert "cannot be reached" in unreachable.line


# -- segments


def cells(link: dict[str, Any]) -> dict[str, Any]:
    """The testbed of two with the client in a segment, `cell`, of this link."""
    ends = [{"role": role, "device": "host", "link": LINK} for role in ("server", "client")]
    return {
        "name": "cells",
        "segments": {"cell": {"link": link}},
        "nodes": [ends[0], {**ends[1], "segment": "cell"}],
    }


@pytest.fixture
def behind_a_cell(tmp_path: Path) -> Iterator[Running]:
    with Running(tmp_path, testbed=cells(LINK)) as one:
        yield one


@pytest.mark.alone
def test_a_segments_rate_changed_in_the_middle_of_a_message_holds_from_then_on(tmp_path: Path) -> None:
    with Running(tmp_path, testbed=cells(SLOW)) as running:
        running.wait_for("sending")
        time.sleep(0.4)
        changed = running.say("link", "cell", "--up", "10 Mbit/s")
        running.wait_for("received")
        assert (changed.status, changed.err) == (0, "")
        end = running.finish()
        assert end.status in (0, 3)
    (upload,), (change,) = running.spans("upload"), running.spans("segment_change")
    at = change["start"]
    assert changed.out == (
        f"cell: segment wire -> wire-changed (up 10 Mbit/s; down unlimited) at {at:.3f} s of tiny, round 1\n"
    )
    assert f"note: {changed.out}" in end.err
    assert (change["end"], change["node"], change["round"], "due" in change) == (at, "cell", 1, False)
    before = at - upload["start"]
    assert 0 < before < upload["bytes"] * 8 / 2e6, "the change was not in the middle"
    # The link behind is a chunk later than the first: 16 KiB of the 4 MB.
    predicted = before + (upload["bytes"] * 8 - before * 2e6) / 10e6
    assert_close(upload["end"] - upload["start"], predicted, relative=0.02, what="seconds of the upload")


def test_the_user_sees_segments_and_changes_them(behind_a_cell: Running) -> None:
    running = behind_a_cell
    running.wait_for("received")
    shown = running.say("status")
    assert (shown.status, shown.err) == (0, "")
    assert "cell     -       1  wire  20 Mbit/s  unlimited" in shown.out
    applied = running.say("link", "cell", "lte", "--delay", "50 ms")
    assert applied.out.startswith("cell: segment wire -> lte-changed (up 7.6 Mbit/s, delay 50 ms, jitter 4 ms")
    followed = running.say("link", "cell", "--down-trace", "wifi")
    assert "; down trace wifi, 13.12 Mbit/s mean, offset" in followed.out
    (running.folder / "slow.csv").write_text("seconds,rate Mbit/s\n0,1\n1,3\n2,3\n")
    followed = running.say("link", "cell", "--up-trace", "slow.csv")
    assert "(up trace slow, 2 Mbit/s mean, offset" in followed.out
    now = json.loads(running.say("status", "--json").out)
    (cell,) = now["segments"]
    assert (cell["name"], cell["segment"], cell["nodes"]) == ("cell", None, ["client"])
    assert (cell["link"]["up"]["trace"]["name"], cell["link"]["up"]["delay"]) == ("slow", "50 ms")
    (running.folder / "wire.yaml").write_text(yaml.safe_dump(LINK))
    assert running.say("link", "cell", "./wire.yaml").out.startswith("cell: segment lte-changed -> wire (up 20 Mbit/s")
    assert running.say("link", "client", "wifi-5").out.startswith("client: link wire -> wifi-5 (up 200 Mbit/s")
    assert running.finish().status in (0, 3)


def test_what_cannot_be_done_to_a_segment_is_refused_in_one_line(behind_a_cell: Running) -> None:
    running = behind_a_cell
    running.wait_for("received")
    for arguments, line in (
        (["link", "cel", "lte"], "the testbed has no node or segment 'cel': did you mean 'cell'?"),
        (["link", "x", "lte"], "the testbed has no node or segment 'x': choose one of cell, client, server"),
        (["link", "cell", "phone-mid"], "unknown link 'phone-mid': "),
        (["link", "cell", "--up", "0 bit/s"], "up.rate: Input should be greater than 0"),
        (["apply", "lte", "--node", "cell"], "'cell' is a segment, and no node: use edgebed link cell lte"),
        (["apply", "phone-mid", "--node", "cell"], "'cell' is a segment, and no node"),
    ):
        refused = running.say(*arguments)
        assert (refused.status, refused.out) == (2, "")
        assert line in refused.line
    assert running.finish().status in (0, 3)
    assert not running.spans("segment_change")


# -- the API's own life


def test_the_token_of_the_environment_and_the_port_of_the_experiment_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(found.TOKEN, "known beforehand")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = Running(tmp_path, control={"port": port})
    assert (running.testbed.url, running.testbed.token) == (f"http://127.0.0.1:{port}", "known beforehand")
    running.http.close()
    assert running.finish().status in (0, 3)


def test_a_port_that_is_taken_is_named_with_its_key(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        run = edgebed("run", write_experiment(tmp_path, control={"port": port}), cwd=tmp_path)
    assert run.status == 2
    assert run.line == (
        f"port {port} of 127.0.0.1 cannot be used: Address already in use: "
        "set control.port to another, or to 0 for a free one"
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_reader_of_events_hears_of_changes_and_does_not_hold_up_the_end(
    running: Running, number: signal.Signals, own_folder: Path
) -> None:
    running.wait_for("received")
    with running.http.stream("GET", "/events") as events:
        lines = events.iter_lines()
        assert next(lines).startswith(":")
        running.http.patch("/nodes/client", json={"link": "lte"})
        told = next(json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: "))
        assert (told["event"], told["node"]) == ("changed", "client")
        assert told["details"]["link_change"].startswith("wire -> lte")
        began = time.monotonic()
        os.kill(running.command.process.pid, number)
        end = running.command.finish()
        list(lines)  # the stream has an end
    assert end.status == 1
    assert end.line.startswith("interrupted")
    assert time.monotonic() - began < SECONDS / 2
    assert not list(own_folder.iterdir())


def test_several_testbeds_are_told_apart_by_folder(tmp_path: Path, command: Edgebed) -> None:
    folders = [tmp_path / name for name in ("one", "two")]
    started = []
    for folder in folders:
        folder.mkdir()
        experiment = write_experiment(folder, UPLOAD, link=LINK)
        started.append(Command("run", experiment, "--out", folder.name + "-out", cwd=folder))
    started[0].wait_for(lambda: len(found.running()) == 2, "the control of both")
    refused = command("status")
    assert refused.status == 2
    assert refused.line.startswith("2 testbeds are running: name one with --run: ")
    assert ": two-out\n" in command("status", "--run", "two-out").out
    for folder, run in zip(folders, started, strict=True):
        (folder / "enough").touch()
        assert run.finish().status in (0, 3)


@pytest.mark.parametrize("name", ["status", "apply", "link"])
def test_every_command_explains_itself(name: str, command: Edgebed) -> None:
    shown = command(name, "--help")
    assert shown.status == 0
    assert "running testbed" in shown.out


def test_the_api_is_imported_by_no_command_that_does_not_need_it() -> None:
    look = (
        "import sys, emulator.cli, emulator.runtime.process\n"
        "print(sorted({'fastapi', 'uvicorn', 'httpx', 'starlette'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, timeout=SECONDS)
    assert (done.stdout, done.stderr) == ("[]\n", "")
