"""A testbed of Compose, as a user starts it, and what the engine has of it."""

import contextlib
import os
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import yaml

from emulator.compose import TESTBED
from emulator.host import CORE_FLOPS, this_host
from tests.integration.running import edgebed

SECONDS = 300.0
OVERRIDE = "compose.override.yaml"


def write(folder: Path, *arguments: object, speed: str = "") -> None:
    """Write a file for Compose into `folder`, and what Compose adds to it: the host's speed (FLOP/s), which is measured
    there where it is not known."""
    assert edgebed("compose", *arguments, "--out", "compose.yaml", cwd=folder).status == 0
    override(folder, {TESTBED: known_speed(speed)})


def known_speed(speed: str = "") -> dict[str, Any]:
    """For the service `testbed`; by default what this host was measured at."""
    return {"environment": {CORE_FLOPS: speed or f"{this_host().core_flops:.0f}"}}


def override(folder: Path, services: dict[str, Any], **keys: Any) -> None:
    """Have Compose add this to the services of the file in `folder`."""
    (folder / OVERRIDE).write_text(yaml.safe_dump({**keys, "services": services}))


class Project:
    """A testbed of Compose in a folder, under a name that no other has; removed at the end, whatever happens."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = f"edgebed-test-{uuid.uuid4().hex[:8]}"

    def start(self, *arguments: str, port: int = 0, options: str = "") -> subprocess.Popen[str]:
        """Run `docker compose` with these arguments; `options` are added to the testbed's command."""
        return subprocess.Popen(
            ["docker", "compose", "--project-name", self.name, "--ansi", "never", *arguments],
            cwd=self.folder,
            env={**os.environ, "EDGEBED_PORT": str(port), "EDGEBED_ARGS": options},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str, port: int = 0, options: str = "") -> tuple[int, str]:
        """Exit status and output."""
        process = self.start(*arguments, port=port, options=options)
        try:
            output = process.communicate(timeout=SECONDS)[0]
        finally:
            process.kill()
        return process.returncode, output.replace("\x1b[2K", "")  # Compose clears lines even of a pipe

    def containers(self, engine: docker.DockerClient) -> dict[str, Any]:
        """By service."""
        label = "com.docker.compose"
        filters = {"label": f"{label}.project={self.name}"}
        found = engine.containers.list(all=True, filters=filters, ignore_removed=True)
        return {container.labels[f"{label}.service"]: container for container in found}


def wait_for(condition: Callable[[], bool], what: str, running: subprocess.Popen[str]) -> None:
    """Wait until `condition` is true, as long as it is `running`."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen"
        assert running.poll() is None, f"it ended before {what}: {running.communicate()[0]}"
        time.sleep(0.2)


@contextlib.contextmanager
def killed_at_last(process: subprocess.Popen[str]) -> Iterator[None]:
    """Whatever happens meanwhile, the process ends."""
    try:
        yield
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
