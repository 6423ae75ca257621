"""`edgebed report --text`: the report for those who work over ssh, as tables and small charts of characters."""

import string
from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console, Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from emulator.page import palette
from emulator.report import text
from emulator.report.answer import answer
from emulator.report.figures.parts import stage_name
from emulator.report.folder import Folder
from emulator.report.html import MEANINGS, hardware
from emulator.report.outcome import Outcome, outcomes
from emulator.report.table import table

CURVE = 48  # characters
COLOURS = {"VALID": "bold green", "INVALID": "bold red", "FAILED": "bold red"}


def render(folders: Sequence[Folder]) -> RenderableType:
    """What `report.html` says, as far as characters can."""
    found = outcomes(folders)
    return Group(*_parts(folders, found))


def show(folders: Sequence[Folder], console: Console) -> None:
    console.print(render(folders))


def _parts(folders: Sequence[Folder], found: Sequence[Outcome]) -> Iterator[RenderableType]:
    for folder in folders:
        yield Text(f"{folder.name}: ").append(folder.word, COLOURS.get(folder.word, "bold yellow"))
        yield Text(MEANINGS[folder.word])
        if folder.failure is not None:
            yield Text(f"  {folder.failure}")
        for check in folder.verdict.checks:
            if not check.ok:
                yield Text(f"  {check}: {check.reason}")
    if not found:
        return
    said = answer(found, {node: what for folder in folders for node, what in hardware(folder).items()})
    yield Text(f"\n{said.headline}", "bold")
    for reason in said.reasons:
        yield Text(f"- {reason}")
    for folder in folders:
        own = [outcome for outcome in found if outcome.folder is folder]
        if own:
            yield Text()
            yield table(
                [outcome.summary for outcome in own],
                folder.verdict,
                testbed=folder.testbed.name,
                runtime=str(folder.result["runtime"]) if folder.result else "unknown",
                time_scale=float(folder.experiment.time_scale) if folder.experiment.time_scale != "auto" else 1.0,
            )
    if any(outcome.accuracies for outcome in found):
        yield Rule("test accuracy against emulated time", style="dim")
        yield _curves(found)
    yield Rule("the mean round along its critical path", style="dim")
    yield _bars(found)
    yield Rule("the slowest client", style="dim")
    yield _stragglers(found)


def _curves(found: Sequence[Outcome]) -> Table:
    """A line of blocks for each run, over one time axis; a blank where a run has not begun or has ended."""
    end = max(max(outcome.elapsed.values()) for outcome in found)
    grid = _grid()
    for outcome in found:
        marks = [" "] * CURVE
        for number, accuracy in outcome.accuracies.items():
            place = min(CURVE - 1, int(CURVE * outcome.elapsed[number] / end)) if end else 0
            marks[place] = text.BLOCKS[min(len(text.BLOCKS) - 1, int(len(text.BLOCKS) * accuracy.mean))]
        last = outcome.summary.accuracy
        grid.add_row(outcome.label, "".join(_filled(marks)), "-" if last is None else text.share(last.mean))
    grid.add_row("", f"0 s{text.seconds(end):>{CURVE - 3}}", "")
    return grid


def _filled(marks: Sequence[str]) -> Iterator[str]:
    """The marks, each held until the next one, up to the last."""
    last = max((place for place, mark in enumerate(marks) if mark != " "), default=-1)
    held = " "
    for place, mark in enumerate(marks):
        held = mark if mark != " " else held
        yield held if place <= last else " "


def _bars(found: Sequence[Outcome]) -> Table:
    """A stacked bar of letters for each run: a letter for each stage."""
    longest = max(outcome.summary.latency.mean for outcome in found)
    letters = _letters(palette.stages(stage for outcome in found for stage in outcome.summary.breakdown))
    grid = _grid()
    for outcome in found:
        parts = outcome.summary.breakdown
        counts = {stage: round(CURVE * parts.get(stage, 0.0) / longest) if longest else 0 for stage in letters}
        bar = "".join(letters[stage] * count for stage, count in counts.items())
        grid.add_row(outcome.label, bar, text.seconds(outcome.summary.latency.mean))
    legend = "  ".join(f"{letter} {stage_name(stage)}" for stage, letter in letters.items())
    grid.add_row("", Text(legend, overflow="fold"), "")
    return grid


def _letters(stages: Iterable[str]) -> dict[str, str]:
    """A letter for each stage, of its last word where that is free."""
    found: dict[str, str] = {}
    for stage in stages:
        words = stage_name(stage).split()
        candidates = "".join([*words[::-1], *string.ascii_letters])
        found[stage] = next((one for one in candidates if one not in found.values()), "?")
    return found


def _stragglers(found: Sequence[Outcome]) -> Table:
    grid = _grid()
    for outcome in found:
        straggler = outcome.straggler
        if straggler is None:
            grid.add_row(outcome.label, "only one client", "")
        else:
            share = text.percent(straggler.held_up)
            grid.add_row(outcome.label, f"{straggler.name}, on the critical path of {share} of the rounds", "")
    return grid


def _grid() -> Table:
    made = Table.grid(padding=(0, 2))
    made.add_column(overflow="fold")
    made.add_column(overflow="fold")
    made.add_column(justify="right")
    return made
