"""The self-test's figures as tables and as JSON."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from emulator.causes import HostFacts
from emulator.report import result, text
from emulator.selftest.figures import Figure
from emulator.units import RATE, show
from emulator.verdict import Verdict

SCHEMA = 1
LINKS = {
    "64 B\nto": "largest_message",
    "rate\nachieved": "rate_error",
    "loss\nleaves": "loss_effect",
    "one-way delay\nachieved": "delay_error",
    "jitter (sd)\nachieved": "jitter_sd",
    "its\nshape": "jitter_distance",
    "all at\nonce": "together_lateness",
}
DEVICES = {
    "CPU share\nachieved": "cpu_share",
    "all at once\nachieved": "cpu_share_together",
    "timer\novershoot": "timer_overshoot",
    "memory\nin force": "memory_limit",
    "clock\noffset": "clock_offset",
}
ONE_LINE = ("largest_message", "jitter_distance", "together_lateness", "timer_overshoot", "clock_offset")
"""What is configured to be 0, which goes without saying, or not at all."""
NO_ERROR = ("memory_limit", "loss_effect")
"""Of which the two figures, or another column, say enough."""


def show_all(
    console: Console, figures: Sequence[Figure], verdict: Verdict, *, testbed: str, runtime: str, time_scale: float
) -> None:
    """Print it all, the verdict last."""
    by_name: dict[str, dict[str, Figure]] = {}
    for figure in figures:
        by_name.setdefault(figure.name, {})[figure.of] = figure
    for title, columns in (("link", LINKS), ("device", DEVICES)):
        subjects = list(dict.fromkeys(of for name in columns.values() for of in by_name.get(name, ())))
        if subjects:
            console.print(_table(title, subjects, columns, by_name))
    for link, figure in by_name.get("unfairness", {}).items():
        total = by_name["together_rate"][link]
        index = _judged(f"Jain's index {figure.achieved:.4f}", figure)
        rates = f"{_quantity(total.configured, total)}, achieved {_quantity(total.achieved, total)}"
        console.print(Text.assemble(f"{link}, all at once: {rates}, ", index, f" ({figure.note})"))
    console.print(
        Text(
            f"testbed {testbed}, {runtime} runtime, time scale {time_scale:g}. {verdict.summary()}\n"
            "Upper line: configured; lower line: achieved, and its error; ! is outside its limit. Shape: distance of "
            "the\njitter's distribution from the profile's (Kolmogorov-Smirnov). All at once: how late messages are, "
            "median. Emulated\ntimes; CPU shares in cores of this host."
        )
    )


def to_json(
    figures: Sequence[Figure], verdict: Verdict, facts: HostFacts, cpu: str, *, testbed: str, runtime: str, version: str
) -> str:
    """All figures, in SI units, and the verdict as in `result.json`. What is unlimited is null."""
    built = {
        "schema": SCHEMA,
        "version": version,
        "runtime": runtime,
        "testbed": testbed,
        "host": {**asdict(facts), "notes": list(facts.notes), "disturbances": list(facts.disturbances), "cpu": cpu},
        "verdict": result.verdict_fields(verdict),
        "figures": [_fields(figure) for figure in figures],
    }
    return result.to_json(built)


def _fields(figure: Figure) -> dict[str, Any]:
    fields = {**asdict(figure), "ok": figure.ok}
    return {key: None if isinstance(value, float) and math.isinf(value) else value for key, value in fields.items()}


def _table(
    title: str, subjects: Sequence[str], columns: Mapping[str, str], by_name: Mapping[str, Mapping[str, Figure]]
) -> Table:
    used = {head: by_name[name] for head, name in columns.items() if name in by_name}
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), show_edge=False)
    made.add_column(title)
    for head in used:
        made.add_column(Text(head), justify="right", no_wrap=True)
    for of in subjects:
        made.add_row(Text(of), *(_cell(figures.get(of)) for figures in used.values()))
    return made


def _cell(figure: Figure | None) -> Text:
    if figure is None:
        return Text("-")
    achieved = _quantity(figure.achieved, figure) if figure.achieved is not None else figure.note or "-"
    if figure.name not in ONE_LINE:
        error = "" if figure.error is None or figure.name in NO_ERROR else f" {_error(figure)}"
        if figure.name == "memory_limit" and figure.achieved is not None:
            error = f", {figure.note.partition(':')[0]}"
        return Text.assemble(_quantity(figure.configured, figure), "\n", _judged(f"{achieved}{error}", figure))
    return _judged(achieved, figure)


def _judged(shown: str, figure: Figure) -> Text:
    return Text(f"{shown} !" if figure.ok is False else shown, "bold red" if figure.ok is False else "")


def _quantity(value: float | None, figure: Figure) -> str:
    if value is None:
        return "-"
    match figure.quantity:
        case "bit/s":
            return show(value, RATE, 4)
        case "s":
            return f"{1e3 * value:.3g} ms"
        case "share":
            return f"{100 * value:.2f} %"
        case "bytes":
            return "unlimited" if math.isinf(value) else text.size(value)
        case _:
            return f"{value:.3g}"


def _error(figure: Figure) -> str:
    assert figure.error is not None
    value, unit = (1e3 * figure.error, "ms") if figure.unit == "s" else (100 * figure.error, "%")
    return f"{value:+.2g} {unit}" if abs(value) < 99.5 else f"{value:+.0f} {unit}"
