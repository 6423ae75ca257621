"""What a running testbed looks like: a line for each of its runs, and tables of its nodes and of its segments."""

import sys
from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from emulator.control.words import NodeView, RunView, SegmentView, Status
from emulator.profiles import Channel, LinkProfile
from emulator.rate import said
from emulator.report import text
from emulator.report.table import console
from emulator.units import SHARE, TIME, show

DIGITS = 3
FIGURES = ("up", "down", "delay", "loss")
"""Of a link, that both tables show."""


def show_status(status: Status, nodes: Sequence[NodeView], segments: Sequence[SegmentView]) -> None:
    """Print all on standard output."""
    shown = console(sys.stdout)
    shown.print(Text("\n".join(headline(status))))
    shown.print(table(nodes))
    if segments:
        shown.print(table_of_segments(segments))


def headline(status: Status) -> list[str]:
    """The testbed, and a line for each of its runs with what the progress display shows of it."""
    testbed = f"{status.experiment} on testbed {status.testbed}, {status.runtime} runtime"
    return [f"{testbed}, time scale {status.time_scale:g}: {status.folder}", *map(_line, status.runs)]


def _line(run: RunView) -> str:
    if run.state == "to come":
        return f"{run.run}: to come"
    parts = [f"round {run.round}/{run.rounds}" if run.state == "running" else f"done, round {run.round}/{run.rounds}"]
    if run.accuracy is not None:
        parts.append(f"accuracy {text.share(run.accuracy)}")
    if run.round_latency_s is not None:
        parts.append(text.waited_for(run.round_latency_s, run.slowest))
    if run.eta_s is not None:
        parts.append(text.eta(run.eta_s))
    return f"{run.run}: {', '.join(parts)}"


def table(nodes: Sequence[NodeView]) -> Table:
    """One row a node."""
    made = _table("node", "state", "busy", "device", "link", *FIGURES)
    made.caption = "busy: emulated time of the last whole round in which it computed, sent or was being sent to."
    for node in nodes:
        state = Text(node.state, "bold red" if node.state in ("failed", "silent") else "")
        made.add_row(
            Text(node.name),
            state.append(f": {node.reason}" if node.reason else ""),
            "-" if node.busy_s is None else text.seconds(node.busy_s),
            Text(node.device.name),
            Text(node.link.name),
            *_figures(node.link),
        )
    return made


def table_of_segments(segments: Sequence[SegmentView]) -> Table:
    """One row a segment."""
    made = _table("segment", "in", "nodes", "link", *FIGURES)
    for one in segments:
        made.add_row(Text(one.name), one.segment or "-", str(len(one.nodes)), Text(one.link.name), *_figures(one.link))
    return made


def _table(*heads: str) -> Table:
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False, caption_justify="left")
    made.caption_style = ""
    for head in heads:
        made.add_column(head, justify="right" if head in ("busy", "nodes") else "left", overflow="fold")
    return made


def _figures(link: LinkProfile) -> tuple[str, ...]:
    return (
        said(link.up, DIGITS),
        said(link.down, DIGITS),
        _both(_delay(link.up), _delay(link.down)),
        _both(_loss(link.up), _loss(link.down)),
    )


def _delay(channel: Channel) -> str:
    jitter = f" ± {show(channel.jitter, TIME, DIGITS)}" if channel.jitter else ""
    return show(channel.delay, TIME, DIGITS) + jitter


def _loss(channel: Channel) -> str:
    bursts = f", {show(channel.burst.loss, SHARE, DIGITS)} in bursts" if channel.burst else ""
    return show(channel.loss, SHARE, DIGITS) + bursts


def _both(up: str, down: str) -> str:
    """The figures of both directions, said once where they are the same."""
    return up if up == down else f"{up} up, {down} down"
