"""A line for each algorithm while it runs: round, accuracy, time left. Says nothing where no one watches."""

from datetime import timedelta
from types import TracebackType

from rich import progress
from rich.console import Console
from rich.text import Text

from emulator.report import text


class Progress:
    """The live display of a run, for a console on standard error; no output at all unless that is a terminal."""

    def __init__(self, console: Console) -> None:
        self._display = progress.Progress(
            progress.TextColumn("{task.description}", markup=False),
            progress.BarColumn(bar_width=24),
            progress.TextColumn("round {task.completed:.0f}/{task.total:.0f}"),
            progress.TextColumn("{task.fields[accuracy]}"),
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

    def say(self, line: str) -> None:
        """Say something above the display."""
        if not self._display.disable:
            self._display.console.print(line, markup=False, highlight=False)

    def begin(self, run: str, rounds: int) -> None:
        """Show a run, which is planned to have so many rounds."""
        self._tasks[run] = self._display.add_task(run, total=rounds, accuracy="")

    def round(self, run: str, n: int) -> None:
        """Round `n` has ended."""
        self._display.update(self._tasks[run], completed=n)

    def accuracy(self, run: str, value: float) -> None:
        """The latest accuracy, as a fraction of 1."""
        self._display.update(self._tasks[run], accuracy=f"accuracy {text.share(value)}")

    def end(self, run: str) -> None:
        """The run has ended, in whatever round."""
        self._display.stop_task(self._tasks[run])

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
        return Text(f"ETA {timedelta(seconds=round(left))}")
