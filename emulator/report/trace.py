"""Timelines in the Trace Event format, which Perfetto (https://ui.perfetto.dev) and chrome://tracing open.

The format is described in Google's document "Trace Event Format".
"""

import json
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from emulator.event import is_event, title
from emulator.lanes import MICROSECONDS, Lane, lanes_of
from emulator.report import files
from emulator.report.folder import Folder
from emulator.timeline import Span


def make(folders: Sequence[Folder], out: Path) -> Path:
    """Write the timelines of the runs to `out`, all that was noted of them. `InputError` if it cannot be written."""
    events: list[dict[str, Any]] = []
    runs = [(folder, run) for folder in folders for run in folder.spans]
    for number, (folder, run) in enumerate(runs, start=1):
        label = run if len(folders) == 1 else f"{folder.name} {run}"
        order = [str(node.name) for node in folder.testbed.nodes]
        events += _process(number, label, folder.spans[run], order, folder.servers)
    text = json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}, separators=(",", ":"), ensure_ascii=False)
    files.write(out, text + "\n")
    return out


def _process(
    number: int, label: str, spans: Iterable[Span], order: Sequence[str], servers: Collection[str]
) -> list[dict[str, Any]]:
    """A run as a process, each of its lanes as a thread; lanes where spans overlap as several; events across them."""
    placed: dict[Lane, list[Span]] = {}
    events = [_meta("process_name", number, 0, {"name": label})]
    for span in sorted(spans, key=lambda span: span.start):
        if is_event(span):
            events.append(_instant(span, number))
            continue
        for lane in lanes_of(span, servers):
            placed.setdefault(lane, []).append(span)
    thread = 0
    rank = {name: place for place, name in enumerate(order)}
    for lane in sorted(placed, key=lambda lane: (rank.get(lane.node, len(rank)), lane)):
        for row in _rows(placed[lane]):
            thread += 1
            name = lane.node if lane.way == "compute" else f"{lane.node} {lane.way}"
            events.append(_meta("thread_name", number, thread, {"name": name}))
            events.append(_meta("thread_sort_index", number, thread, {"sort_index": thread}))
            events += [_event(span, number, thread) for span in row]
    return events


def _rows(spans: Iterable[Span]) -> list[list[Span]]:
    """The spans of a lane, which come by start, in as few rows as it takes for none to overlap."""
    rows: list[list[Span]] = []
    for span in spans:
        free = next((row for row in rows if row[-1].end <= span.start), None)
        if free is None:
            rows.append([span])
        else:
            free.append(span)
    return rows


def _event(span: Span, process: int, thread: int) -> dict[str, Any]:
    return {
        "name": span.stage,
        "cat": "message" if span.is_message else "compute",
        "ph": "X",
        "ts": span.start * MICROSECONDS,
        "dur": span.duration * MICROSECONDS,
        "pid": process,
        "tid": thread,
        "args": _arguments(span),
    }


def _instant(event: Span, process: int) -> dict[str, Any]:
    at = event.start * MICROSECONDS
    named = {"name": title(event), "cat": "event", "args": _arguments(event)}
    return {**named, "ph": "i", "s": "p", "ts": at, "pid": process, "tid": 0}


def _arguments(span: Span) -> dict[str, Any]:
    said = span.to_fields()
    return {name: said[name] for name in said if name not in ("run", "node", "stage", "start", "end")}


def _meta(name: str, process: int, thread: int, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "ph": "M", "pid": process, "tid": thread, "args": arguments}
