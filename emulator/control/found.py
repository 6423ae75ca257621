"""How a command finds the running testbed: each leaves a file, that only its user may read, for as long as it runs."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
from pydantic import BaseModel, Field, ValidationError

from emulator.errors import InputError, nearest
from emulator.host import cache_file

URL = "EDGEBED_CONTROL"
TOKEN = "EDGEBED_CONTROL_TOKEN"  # noqa: S105 - the name of the variable
"""Environment that says where the testbed is, for one that cannot leave a file here, such as one in a container."""


def _now_started(pid: int) -> float:
    return psutil.Process(pid).create_time()


class Testbed(BaseModel):
    """A running testbed, and who may control it."""

    __test__ = False  # not a test class, whatever its name

    url: str
    token: str
    experiment: str = ""
    folder: str = ""
    pid: int = Field(default_factory=os.getpid)
    started: float = Field(default_factory=lambda: _now_started(os.getpid()))
    """When its process did: a process id is used again."""

    @property
    def alive(self) -> bool:
        """Whether its process is still there."""
        try:
            return abs(_now_started(self.pid) - self.started) < 1.0
        except psutil.Error:
            return False


def folder() -> Path:
    """Where running testbeds leave their files: the user's runtime folder if there is one, else the cache."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return Path(runtime) / "edgebed" if runtime and Path(runtime).is_dir() else cache_file().parent / "running"


@contextlib.contextmanager
def announced(testbed: Testbed) -> Iterator[None]:
    """Let commands find `testbed` while the context lasts."""
    path = folder() / f"{testbed.pid}.json"
    unfinished = path.with_suffix(".tmp")  # whoever finds half a file takes it for a dead testbed's, and removes it
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished.unlink(missing_ok=True)
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(testbed.model_dump_json())
        unfinished.replace(path)
    except OSError as error:
        sys.stderr.write(
            f"note: {path} cannot be written ({error.strerror}): 'edgebed status' will not find this run\n"
        )
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()


def running() -> list[Testbed]:
    """The testbeds of this user that run on this host, the oldest first; what dead ones have left is removed."""
    alive: list[Testbed] = []
    for path in folder().glob("*.json"):
        with contextlib.suppress(OSError):  # it may end at this very moment
            testbed = _read(path)
            if testbed is None or not testbed.alive:
                path.unlink()
            else:
                alive.append(testbed)
    return sorted(alive, key=lambda testbed: testbed.started)


def find(run: str | None) -> Testbed:
    """The testbed that the environment names; else the running one or, of several, the one whose folder, that folder's
    name, or whose experiment `run` is.

    Raises `InputError` when there is none, or more than one.
    """
    url = os.environ.get(URL)
    if url:
        token = os.environ.get(TOKEN)
        if not token:
            raise InputError(f"{URL} is set, {TOKEN} is not: set it to the testbed's token")
        return Testbed(url=url.rstrip("/"), token=token)
    alive = running()
    if not alive:
        raise InputError("no testbed is running: start one with 'edgebed run', or set EDGEBED_CONTROL to its address")
    matching = [testbed for testbed in alive if run is None or run in _names(testbed)]
    if not matching:
        known = {name for testbed in alive for name in (Path(testbed.folder).name, testbed.experiment)}
        raise InputError(f"--run {run}: no such testbed is running{nearest(str(run), known)}")
    if len(matching) > 1:
        shown = ", ".join(f"{testbed.folder} ({testbed.experiment})" for testbed in matching)
        raise InputError(f"{len(matching)} testbeds are running: name one with --run: {shown}")
    return matching[0]


def _names(testbed: Testbed) -> set[str]:
    path = Path(testbed.folder)
    here = os.path.relpath(path) if path.is_absolute() else testbed.folder
    return {testbed.folder, here, path.name, testbed.experiment}


def _read(path: Path) -> Testbed | None:
    try:
        return Testbed.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError):
        return None
