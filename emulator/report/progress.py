"""A line for each algorithm while it runs: round, accuracy, a round's latency, the slowest client, time left.

On a terminal the lines are live; elsewhere plain ones come now and then, ever more rarely.
"""

import time
from collections.abc import Callable
from types import TracebackType

from rich import progress
from rich.console import Console
from rich.text import Text

from emulator.report import text

FIRST_SECONDS = 10.0
"""Of host time before the first plain line, and between two: a quick run says nothing where no one watches."""
GROWTH = 1.1
"""The next plain line comes when the run has lasted this many times as long."""


class Progress:
    """The display of a run on a console, which should be one on standard error."""

    def __init__(self, console: Console, host_time: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._host_time = host_time
        self._began = host_time()
        self._next = FIRST_SECONDS
        self._display = progress.Progress(
            progress.TextColumn("{task.description}", markup=False),
            progress.BarColumn(bar_width=12),
            progress.TextColumn("round {task.completed:.0f}/{task.total:.0f}"),
            progress.TextColumn("{task.fields[accuracy]}"),
            progress.TextColumn("{task.fields[latency]}", markup=False),
            _TimeLeft(),
            console=console,
            disable=not console.is_terminal,
            # What goes to standard output may be read by a program: it stays there.
            redirect_stdout=False,
            # The display shares the host's cores with the emulation: the eye needs no more than this.
            refresh_per_second=2,
            # Rounds may take minutes; an estimate needs the ends of at least two.
            speed_estimate_period=1800,
        )
        self._tasks: dict[str, progress.TaskID] = {}
        self._first_round: dict[str, float] = {}

    def say(self, line: str) -> None:
        """Say something above the display."""
        if not self._display.disable:
            self._display.console.print(line, markup=False, highlight=False)

    def begin(self, run: str, rounds: int) -> None:
        """Show a run, which is planned to have so many rounds."""
        self._tasks[run] = self._display.add_task(run, total=rounds, accuracy="", latency="")

    def round(self, run: str, n: int) -> None:
        """Round `n` has ended."""
        self._display.update(self._tasks[run], completed=n)
        if n and run not in self._first_round:
            self._first_round[run] = self._host_time()
        lasted = self._host_time() - self._began
        if not self._console.is_terminal and lasted >= self._next:
            self._next = max(lasted + FIRST_SECONDS, lasted * GROWTH)
            self._console.print(self._plain(run), markup=False, highlight=False, soft_wrap=True)

    def accuracy(self, run: str, value: float) -> None:
        """The latest accuracy, as a fraction of 1."""
        self._display.update(self._tasks[run], accuracy=f"accuracy {text.share(value)}")

    def latency(self, run: str, seconds: float, slowest: str | None) -> None:
        """The emulated latency of a recent round, and the client it waited for."""
        self._display.update(self._tasks[run], latency=text.waited_for(seconds, slowest))

    def end(self, run: str) -> None:
        """The run has ended, in whatever round."""
        self._display.stop_task(self._tasks[run])

    def _plain(self, run: str) -> str:
        task = self._display.tasks[self._tasks[run]]
        done, total = int(task.completed), int(task.total or 0)
        parts = [f"{run}: round {done}/{total}", task.fields["accuracy"], task.fields["latency"]]
        if 1 < done < total:
            each = (self._host_time() - self._first_round[run]) / (done - 1)
            parts.append(text.eta(each * (total - done)))
        return ", ".join(filter(None, parts))

    def __enter__(self) -> "Progress":
        self._display.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._display.stop()


class _TimeLeft(progress.ProgressColumn):
    """Estimated time to the last round; nothing before the first round has shown how long one takes."""

    max_refresh = 0.5

    def render(self, task: progress.Task) -> Text:
        left = task.time_remaining
        if task.finished or task.stop_time is not None or left is None:
            return Text("")
        return Text(text.eta(left))
