"""Who a container belongs to: labels that tell the next command what a killed one has left."""

import os
from collections.abc import Mapping
from pathlib import Path

import psutil

from emulator.system import host_id

EDGEBED = "edgebed"
RUN = "edgebed.run"
OWNER = "edgebed.owner"
NODE = "edgebed.node"
COMPOSE = "com.docker.compose.project"
"""An image that Compose has built has this label, and so would its containers: Compose would take them for its own."""
START_TOLERANCE = 2.0
"""Seconds: a process's start is counted from the host's, which adjusting its clock moves."""


def labels(run: str) -> dict[str, str]:
    """What every object of this process's run `run` is labelled with."""
    process = psutil.Process()
    owner = f"{host_id()}/{_namespace()}/{process.pid}/{process.create_time():.2f}"
    return {EDGEBED: "1", RUN: run, OWNER: owner, COMPOSE: ""}


def is_orphan(found: Mapping[str, str], running: bool) -> bool:
    """Whether the process that made an object with these labels, `running` or not, is known to have ended."""
    try:
        host, namespace, pid, started = found[OWNER].split("/")
        if host != host_id():
            return not running  # since then this host has started anew, or it is another one's
        if namespace != _namespace():
            return False  # of a process that cannot be seen from here
        return abs(psutil.Process(int(pid)).create_time() - float(started)) > START_TOLERANCE
    except psutil.NoSuchProcess:
        return True
    except (KeyError, ValueError, psutil.Error):
        return False  # none of ours


def _namespace() -> str:
    """Where process numbers mean what they mean here."""
    try:
        return str(Path(f"/proc/{os.getpid()}/ns/pid").stat().st_ino)
    except OSError:
        return "-"
