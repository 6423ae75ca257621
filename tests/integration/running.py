"""Runs `edgebed` as a user does, in a process of its own, and finds what it leaves behind."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from emulator.host import AWAKE, fingerprint, this_host

SECONDS = 60.0
"""The deadline of a run: far beyond what any here takes, however busy the machine is."""
MARK = "EDGEBED_TEST_RUN"

PING_PONG = """
import numpy as np

async def server(node):
    for node.round in range(1, node.config["rounds"] + 1):
        for client in node.peers["client"]:
            await node.receive("ping", client)
        for client in node.peers["client"]:
            await node.send(client, "pong", tensors={"x": np.zeros(4000, np.float32)})
        node.record("accuracy", 1 / node.round)

async def client(node):
    (server,) = node.peers["server"]
    for node.round in range(1, node.config["rounds"] + 1):
        await node.compute("think", lambda: sum(range(20_000)))
        await node.send(server, "ping", tensors={"x": np.ones(4000, np.float32)})
        await node.receive("pong", server)
"""

LINK = {
    "source": "a test",
    "up": {"rate": "10 Mbit/s", "delay": "5 ms"},
    "down": {"rate": "10 Mbit/s", "delay": "5 ms"},
}


@dataclass
class Finished:
    """What a command left."""

    status: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """The one line on standard error that says what went wrong."""
        assert self.err.count("\n") == 1, f"not one line:\n{self.err}"
        assert self.err.startswith("edgebed: "), self.err
        return self.err.removeprefix("edgebed: ").rstrip("\n")


def sleepy_host(folder: Path) -> dict[str, str]:
    """Environment in which this host is known to take long to wake up; what is known of it is kept in `folder`."""
    kept = {"fingerprint": fingerprint(), **asdict(this_host()), "waking": 2.0}
    (folder / "edgebed").mkdir()
    (folder / "edgebed" / "host.json").write_text(json.dumps(kept), encoding="utf-8")
    return {"XDG_CACHE_HOME": str(folder), AWAKE: "yes"}


Edgebed = Callable[..., Finished]
"""Runs a command, and says what it left."""


class Command:
    """A running `edgebed`, and every process that it has started, directly or not."""

    LOOK_SECONDS = 0.02
    """Between two looks whether something has happened."""

    def __init__(self, *arguments: object, cwd: Path, prefix: tuple[str, ...] = ()) -> None:
        self._mark = uuid.uuid4().hex
        self._started = time.monotonic()
        # A session of its own, so that a signal meant for it cannot reach the tests.
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "emulator.cli", *map(str, arguments)],
            cwd=cwd,
            env={**os.environ, MARK: self._mark},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def processes(self) -> dict[str, psutil.Process]:
        """All of this run's processes that are alive: nodes by name, the hub as 'hub', others by their command."""
        found = {}
        for process in psutil.process_iter():
            try:
                command = process.cmdline()  # first: one that is just being started has its parent's environment
                environment = process.environ()
                if environment.get(MARK) == self._mark and process.status() != psutil.STATUS_ZOMBIE:
                    if "emulator.bus.hub" in command:
                        found["hub"] = process
                    elif "emulator.runtime.process" in command:
                        found[environment["EDGEBED_NAME"]] = process
                    else:
                        found[" ".join(command)] = process
            except psutil.Error:
                continue
        return found

    def wait_for(self, condition: Callable[[], Any], what: str) -> None:
        """Wait until `condition` is true."""
        while not condition():
            assert time.monotonic() - self._started < SECONDS, f"{what} did not happen"
            assert self.process.poll() is None, f"it ended before {what}: {self.process.communicate()}"
            time.sleep(self.LOOK_SECONDS)

    def finish(self, seconds: float = SECONDS, *, killed: bool = False) -> Finished:
        """Wait for the end, and check what holds for every end: no traceback, and no process left."""
        try:
            out, err = self.process.communicate(timeout=seconds)
        finally:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.communicate()
        # Whoever is killed cannot wait for its children to end; the others must have.
        deadline = time.monotonic() + (5.0 if killed else 0.0)
        while (left := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.02)
        for process in left.values():
            process.kill()
        assert not left, f"left running: {', '.join(left)}"
        assert "Traceback" not in out + err, err
        return Finished(self.process.returncode, out, err)


def edgebed(*arguments: object, cwd: Path, prefix: tuple[str, ...] = ()) -> Finished:
    """Run a command to its end."""
    return Command(*arguments, cwd=cwd, prefix=prefix).finish()


def write_experiment(folder: Path, program: str = PING_PONG, *, module: str = "tiny", **keys: Any) -> Path:
    """An experiment with one server and one client over quick links, and its program; returns the YAML file.

    `keys` take the place of the file's; a `device` or a `link` that of every node's.
    """
    (folder / f"{module}.py").write_text(program)
    device, link = keys.pop("device", "host"), keys.pop("link", LINK)
    content = {
        "testbed": {
            "name": "two",
            "nodes": [{"role": role, "device": device, "link": link} for role in ("server", "client")],
        },
        "programs": {role: f"{module}:{role}" for role in ("server", "client")},
        "rounds": 2,
        **keys,
    }
    path = folder / f"{module}.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def read_result(folder: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return result
