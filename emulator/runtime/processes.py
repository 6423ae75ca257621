"""The operating-system processes of a run: started, watched, and always stopped."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from emulator.errors import InputError

TERMINATE_SECONDS = 2.0
LAST_LINES = 3


class Processes:
    """An async context: whatever ends it, no process that was started in it is left behind.

    Each process writes to `<logs>/<name>.log` and leads a group of its own, so that Ctrl-C reaches only the parent. All
    are of one session: the kernel may share cores out to sessions, and priorities then count only within one.
    """

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self._watchers: dict[asyncio.Task[int], str] = {}

    async def __aenter__(self) -> "Processes":
        try:
            self._logs.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot create {self._logs}: {error.strerror}") from error
        return self

    async def __aexit__(self, *_: object) -> None:
        for watcher in self._watchers:
            watcher.cancel()
        for process in self._running.values():
            _signal(process, signal.SIGTERM)
        ended = [asyncio.create_task(process.wait()) for process in self._running.values()]
        try:
            if ended:
                await asyncio.wait(ended, timeout=TERMINATE_SECONDS)
        finally:  # even if the user does not want to wait
            for process in self._running.values():
                _signal(process, signal.SIGKILL)
            # Waited for anew, because a second Ctrl-C cancels the tasks above.
            await asyncio.gather(*(process.wait() for process in self._running.values()))

    async def start(
        self, name: str, command: Sequence[str], env: Mapping[str, str], *, talks: bool = False
    ) -> asyncio.subprocess.Process:
        """Start `command`; with `talks`, its standard input and output are pipes."""
        try:
            log = self.log(name).open("wb")
        except OSError as error:
            raise InputError(f"cannot write {self.log(name)}: {error.strerror}") from error
        with log:
            process = await asyncio.create_subprocess_exec(
                *command,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **env},
                stdin=asyncio.subprocess.PIPE if talks else asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE if talks else log,
                stderr=log,
                process_group=0,
            )
        self._running[name] = process
        self._watchers[asyncio.create_task(process.wait(), name=name)] = name
        return process

    async def any_exit(self) -> str:
        """The name of a process that has ended and was not reported before."""
        ended, _ = await asyncio.wait(self._watchers, return_when=asyncio.FIRST_COMPLETED)
        return self._watchers.pop(ended.pop())

    def exit_code(self, name: str) -> int | None:
        """What the process ended with; negative for a signal, None while it runs."""
        return self._running[name].returncode

    def obituary(self, name: str) -> str:
        """How the process ended and its last lines, in one line."""
        code = self.exit_code(name)
        how = f"exit status {code}"
        if code is not None and code < 0:
            how = f"killed by {signal.Signals(-code).name}"
        return f"{name} died: {how}; {last_words(self.log(name).read_text(encoding='utf-8', errors='replace'))}"

    def why_silent(self, name: str) -> str:
        """A process that does not answer: nothing more is known."""
        return "stopped, or starved of CPU"

    async def limit(self) -> None:
        """Processes have no limits but those that they set themselves."""

    def where(self, name: str) -> str:
        """Where to read what the process says."""
        return str(self.log(name))

    def log(self, name: str) -> Path:
        """Where the process's output goes."""
        return self._logs / f"{name}.log"


def last_words(log: str) -> str:
    """The last lines of what a node said, in one."""
    lines = [line.strip() for line in log.split("\n") if line.strip()][-LAST_LINES:]
    return f"its last lines: {' | '.join(lines)}" if lines else "it said nothing"


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    """Signal the process's whole group, be it dead itself: what it started is to end with it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
