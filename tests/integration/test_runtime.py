"""The local runtime, by the command that users type: what a run leaves, and that it ends cleanly whatever happens."""

import asyncio
import csv
import json
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from emulator.errors import InputError
from emulator.runtime.processes import Processes
from tests.integration.running import (
    MARK,
    PING_PONG,
    Command,
    edgebed,
    read_result,
    sleepy_host,
    write_experiment,
)

INTERRUPTED = "interrupted: every process it started has been stopped"

STARTED = """
import asyncio, pathlib

async def server(node):
    pathlib.Path("server-started").touch()
    await asyncio.sleep(600)

async def client(node):
    pathlib.Path("client-started").touch()
    await asyncio.sleep(600)
"""
"""Both nodes say that they have started, and never end."""


def both_started(folder: Path) -> bool:
    return (folder / "server-started").exists() and (folder / "client-started").exists()


def start(folder: Path, program: str = STARTED, **keys: Any) -> Command:
    """A run whose nodes have started."""
    command = Command("run", write_experiment(folder, program, **keys), "--out", "out", cwd=folder)
    command.wait_for(lambda: both_started(folder), "the start of both nodes")
    return command


# -- a run that succeeds


def test_a_run_leaves_a_folder_from_which_it_runs_again(tmp_path: Path) -> None:
    experiment = write_experiment(tmp_path, algorithms=["one", "two"], seed=7)
    run = edgebed("run", experiment, cwd=tmp_path)
    folder = tmp_path / "runs" / "tiny-1"
    result = read_result(folder)
    assert run.status == (0 if result["verdict"]["valid"] else 3)
    assert run.err == ""  # no progress where nobody watches
    assert "results: runs/tiny-1" in run.out

    assert {path.name for path in folder.iterdir()} == {
        "experiment.yaml", "timeline.jsonl", "metrics.csv", "result.json", "report.html", "logs"
    }  # fmt: skip
    assert {path.name for path in (folder / "logs").iterdir()} == {"hub.log", "server.log", "client.log"}
    check_result(result, runtime="local", testbed="two", seed=7, algorithms=["one", "two"])
    spans = [json.loads(line) for line in (folder / "timeline.jsonl").read_text().splitlines()]
    for name in ("one", "two"):
        assert {span["stage"] for span in spans if span["run"] == name} >= {"think", "ping", "pong"}
    rows = list(csv.DictReader((folder / "metrics.csv").read_text().splitlines()))
    assert [(row["algorithm"], row["round"], row["accuracy"]) for row in rows] == [
        ("one", "1", "1.0"), ("one", "2", "0.5"), ("two", "1", "1.0"), ("two", "2", "0.5")
    ]  # fmt: skip
    assert all(float(row["emulated_s"]) > 0 for row in rows)

    again = edgebed("run", folder / "experiment.yaml", "--json", cwd=tmp_path)
    assert again.status in (0, 3)
    assert json.loads(again.out) == read_result(tmp_path / "runs" / "tiny-2")
    first, second = (yaml.safe_load((tmp_path / f"runs/tiny-{n}/experiment.yaml").read_text()) for n in (1, 2))
    assert first == second


def check_result(result: dict[str, Any], *, algorithms: list[str], **facts: object) -> None:
    """That `result.json` is as the contract has it."""
    assert facts.items() <= result.items()
    assert set(result) == {"schema", "version", "runtime", "testbed", "seed", "host", "verdict", "algorithms"}
    assert result["schema"] == 1
    assert list(result["algorithms"]) == algorithms
    for check in result["verdict"]["checks"]:
        assert set(check) - {"reason"} == {"name", "value", "limit", "unit", "ok"}
    for one in result["algorithms"].values():
        assert set(one) == {
            "rounds", "emulated_s", "wall_s", "round_latency_s", "accuracy", "target_accuracy", "time_to_accuracy_s",
            "bytes", "stages_s", "predicted", "verdict",
        }  # fmt: skip
        assert one["rounds"] == 2
        assert set(one["round_latency_s"]) == {"mean", "median", "p95"}
        assert set(one["accuracy"]) == {"mean", "min", "max"}
        assert one["bytes"]["up"] > 2 * 16_000 < one["bytes"]["down"]
        assert all(set(times) == {"median", "p95"} for times in one["stages_s"].values())
        assert one["predicted"] is None


def test_a_program_may_take_longer_to_import_than_a_silence_is_allowed_to_last(tmp_path: Path) -> None:
    program = "import os, time\nif 'EDGEBED_NAME' in os.environ:\n    time.sleep(3)\n"
    program += (
        "async def server(node):\n    node.round = 1\n    await node.compute('think', lambda: None)\nclient = server\n"
    )
    experiment = write_experiment(tmp_path, program, deadlines={"silence": "1 s"})
    assert edgebed("run", experiment, cwd=tmp_path).status in (0, 3)


# -- a node that does not do its part


def test_a_program_that_raises_is_named_with_its_error_and_its_log(tmp_path: Path) -> None:
    program = """
async def server(node):
    await node.receive()

async def client(node):
    raise RuntimeError("the camera\\nis not plugged in")
"""
    run = edgebed("run", write_experiment(tmp_path, program), "--out", "out", cwd=tmp_path)
    assert run.status == 1
    assert run.line == "tiny: client failed: RuntimeError: the camera is not plugged in (see out/logs/client.log)"
    assert "Traceback" in (tmp_path / "out/logs/client.log").read_text()
    assert (tmp_path / "out/experiment.yaml").exists()
    assert not (tmp_path / "out/result.json").exists()


def test_a_program_that_gives_up_on_its_peer_is_no_bug_of_its_own(tmp_path: Path) -> None:
    program = "async def server(node):\n    await node.receive('ping', timeout=0.2)\n"
    program += "async def client(node):\n    await node.receive()\n"
    run = edgebed("run", write_experiment(tmp_path, program), "--out", "out", cwd=tmp_path)
    assert run.status == 1
    assert run.line.startswith("tiny: server failed: server: no 'ping' from any peer within 0.2 s of host time")
    assert "Traceback" not in (tmp_path / "out/logs/server.log").read_text()


def test_a_program_that_never_ends_is_named_when_its_time_is_up(tmp_path: Path) -> None:
    program = "async def server(node):\n    pass\n\nasync def client(node):\n    await node.receive()\n"
    run = edgebed("run", write_experiment(tmp_path, program, deadlines={"run": "1 s"}), cwd=tmp_path)
    assert run.status == 1
    assert run.line == "client did not finish 'tiny' within 1 s (deadlines.run)"


def test_a_node_that_never_appears_is_named(tmp_path: Path) -> None:
    program = "import os, time\nif os.environ.get('EDGEBED_NAME') == 'client':\n    time.sleep(600)\n"
    program += "async def server(node): ...\nasync def client(node): ...\n"
    run = edgebed("run", write_experiment(tmp_path, program, deadlines={"start": "2 s"}), cwd=tmp_path)
    assert run.status == 1
    # On a busy machine the other one is not there by then, either.
    assert re.fullmatch(r"client(, server)? did not appear within 2 s \(deadlines.start\)", run.line)


def test_a_program_that_stops_its_event_loop_is_named_as_silent(tmp_path: Path) -> None:
    program = (
        "import time\nasync def server(node):\n    time.sleep(600)\nasync def client(node):\n    await node.receive()\n"
    )
    run = edgebed("run", write_experiment(tmp_path, program, deadlines={"silence": "1500 ms"}), cwd=tmp_path)
    assert run.status == 1
    assert re.match(r"server has been silent for \d s: stopped, or starved of CPU \(deadlines.silence\)", run.line)


def test_a_client_killed_in_the_middle_is_named_with_its_signal_and_nothing_is_left(tmp_path: Path) -> None:
    program = "import subprocess\n" + STARTED.replace(
        "touch()\n", "touch()\n    subprocess.Popen(['sleep', '600'])\n"
    )  # what a node starts is to end with it, too
    command = start(tmp_path, program)
    command.wait_for(lambda: "sleep 600" in command.processes(), "the start of a node's own process")
    command.processes()["client"].kill()
    run = command.finish()
    assert run.status == 1
    assert run.line == "client died: killed by SIGKILL; it said nothing"


def test_a_client_that_exits_is_named_with_its_status_and_its_last_lines(tmp_path: Path) -> None:
    program = "import os\nasync def server(node):\n    await node.receive()\nasync def client(node):\n"
    program += "    print('out of paper', flush=True)\n    os._exit(7)\n"
    run = edgebed("run", write_experiment(tmp_path, program), cwd=tmp_path)
    assert run.status == 1
    assert run.line == "client died: exit status 7; its last lines: out of paper"


def test_a_hub_that_is_killed_is_named(tmp_path: Path) -> None:
    command = start(tmp_path)
    command.processes()["hub"].kill()
    began = time.monotonic()
    run = command.finish()
    assert run.status == 1
    assert run.line == "hub died: killed by SIGKILL; it said nothing"
    assert time.monotonic() - began < 5


def test_a_nodes_last_words_are_waited_for_when_its_end_is_noticed_first(tmp_path: Path) -> None:
    program = STARTED.replace("await asyncio.sleep(600)", "await until_told()") + (
        "async def until_told():\n"
        "    while not pathlib.Path('now').exists():\n"
        "        await asyncio.sleep(0.02)\n"
        "    raise OSError('the last words')\n"
    )
    command = start(
        tmp_path, program.replace("until_told()\n\nasync def client", "asyncio.sleep(600)\n\nasync def client")
    )
    processes = command.processes()
    processes["hub"].suspend()
    (tmp_path / "now").touch()
    processes["client"].wait(10)
    time.sleep(0.2)
    processes["hub"].resume()
    run = command.finish()
    assert run.status == 1
    assert run.line == "tiny: client failed: OSError: the last words (see out/logs/client.log)"


def test_a_program_that_wants_more_memory_than_its_device_has_is_told_so(tmp_path: Path) -> None:
    program = """
import numpy as np

async def server(node):
    await node.receive()

async def client(node):
    await node.compute("think", lambda: np.ones(2**29, np.uint8).sum())
"""
    device = {"training": "unlimited", "memory": "300 MiB", "source": "a test"}
    run = edgebed("run", write_experiment(tmp_path, program, device={"name": "small", **device}), cwd=tmp_path)
    assert run.status == 1
    assert run.line.startswith("tiny: client failed: out of memory: its device 'small' has 300 MiB")


def test_a_device_too_small_for_the_interpreter_is_told_so(tmp_path: Path) -> None:
    device = {"name": "tiny", "training": "unlimited", "memory": "1 MiB", "source": "a test"}
    run = edgebed("run", write_experiment(tmp_path, device=device), cwd=tmp_path)
    assert run.status == 1
    assert re.search("(server|client) failed: out of memory: its device 'tiny' has 1 MiB", run.line), run.line


# -- a run that is interrupted


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_stops_everything(tmp_path: Path, number: signal.Signals) -> None:
    command = start(tmp_path)
    command.process.send_signal(number)
    run = command.finish()
    assert run.status == 1
    assert run.line == INTERRUPTED


def test_an_impatient_user_may_interrupt_twice(tmp_path: Path) -> None:
    # One of the nodes does not end when it is asked to.
    command = start(tmp_path, "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + STARTED)
    for _ in range(2):
        command.process.send_signal(signal.SIGINT)
        time.sleep(0.3)
    run = command.finish()
    assert run.status == 1
    assert run.line == INTERRUPTED


@pytest.mark.skipif(not psutil.LINUX, reason="elsewhere the hub's silence ends a node, later")
def test_a_killed_run_takes_its_processes_with_it(tmp_path: Path) -> None:
    command = start(tmp_path)
    assert {"hub", "server", "client"} <= set(command.processes())
    command.process.kill()
    assert command.finish(killed=True).status == -signal.SIGKILL


# -- a run that cannot be


def test_a_port_in_use_is_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        run = edgebed("run", write_experiment(tmp_path, bus={"port": port}), cwd=tmp_path)
    assert run.status == 2
    assert re.match(rf"port {port} of 127.0.0.1 cannot be used: Address (already )?in use: set bus.port", run.line)


def test_a_log_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    async def enter() -> None:
        async with Processes(tmp_path / "file" / "logs"):
            pass

    with pytest.raises(InputError, match=r"cannot create .*file/logs: Not a directory"):
        asyncio.run(enter())


@pytest.mark.parametrize(("blocks", "file"), [(1, "experiment.yaml"), (16, "timeline.jsonl")])
def test_a_disk_that_fills_up_ends_the_run(tmp_path: Path, blocks: int, file: str) -> None:
    # A limit on the size of files is as good as a full disk, and needs no rights. A block has 512 bytes or, in some
    # shells, twice as many.
    full = ("sh", "-c", f'ulimit -f {blocks}; exec "$@"', "sh")
    experiment = write_experiment(tmp_path, rounds=100_000, link="lan-unlimited")
    run = Command("run", experiment, "--out", "out", cwd=tmp_path, prefix=full).finish()
    assert run.status == 2
    assert run.line == f"cannot write out/{file}: File too large"


def test_the_tests_would_see_a_process_that_is_left() -> None:
    """The helper that all tests here rely on, on a process that it has to find."""
    command = Command("--version", cwd=Path.cwd())
    command.process.wait(30)
    environment = {**os.environ, MARK: command._mark}
    with subprocess.Popen(["yes"], env=environment, stdout=subprocess.PIPE, start_new_session=True) as left:
        try:
            # Until it has said something, the kernel may show it without its environment.
            assert left.stdout is not None
            assert left.stdout.read(1) == b"y"
            with pytest.raises(AssertionError, match="left running: yes"):
                command.finish()
        finally:
            left.kill()


@pytest.mark.alone
def test_cores_that_wake_up_slowly_are_kept_awake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cache").mkdir()
    for key, value in sleepy_host(tmp_path / "cache").items():
        monkeypatch.setenv(key, value)
    command = start(tmp_path)
    keepers = [process for what, process in command.processes().items() if "emulator.awake" in what]
    assert keepers
    assert all(os.sched_getscheduler(process.pid) == os.SCHED_IDLE for process in keepers)
    command.process.send_signal(signal.SIGINT)
    assert command.finish().line == INTERRUPTED  # and none of them is left
    edgebed("run", write_experiment(tmp_path), "--out", "whole", cwd=tmp_path)
    assert read_result(tmp_path / "whole")["host"]["kept_awake"] is True
    monkeypatch.setenv("EDGEBED_AWAKE", "no")
    edgebed("run", write_experiment(tmp_path), "--out", "asleep", cwd=tmp_path)
    assert read_result(tmp_path / "asleep")["host"]["kept_awake"] is False


def test_messages_that_nobody_received_are_said(tmp_path: Path) -> None:
    program = """
import numpy as np

async def server(node):
    node.round = 1
    await node.receive("uplink")

async def client(node):
    node.round = 1
    for _ in range(3):
        await node.send("server", "uplink", tensors={"x": np.zeros(200_000, np.uint8)})
"""
    link = {"source": "a test", "up": {"rate": "10 Mbit/s"}, "down": {"rate": "unlimited"}}
    run = edgebed("run", write_experiment(tmp_path, program, link=link, rounds=1), "--out", "out", cwd=tmp_path)
    assert run.status in (0, 3)
    assert "2 messages were not received before the run ended" in run.err


def test_what_a_program_prints_is_in_its_log(tmp_path: Path) -> None:
    program = PING_PONG.replace(
        "async def server(node):", "async def server(node):\n    print('hello from the server')", 1
    )
    assert edgebed("run", write_experiment(tmp_path, program), "--out", "out", cwd=tmp_path).status in (0, 3)
    assert "hello from the server" in (tmp_path / "out" / "logs" / "server.log").read_text()
