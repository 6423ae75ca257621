"""What a running testbed looks like: a line for each of its runs, and a table of its nodes."""

import sys
from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from emulator.control.words import NodeView, RunView, Status
from emulator.profiles import Channel
from emulator.rate import said
from emulator.report import text
from emulator.report.table import console
from emulator.units import SHARE, TIME, show

DIGITS = 3


def show_status(status: Status, nodes: Sequence[NodeView]) -> None:
    """Print both on standard output."""
    shown = console(sys.stdout)
    shown.print(Text("\n".join(headline(status))))
    shown.print(table(nodes))


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
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False, caption_justify="left")
    made.caption = "busy: emulated time of the last whole round in which it computed, sent or was being sent to."
    made.caption_style = ""
    for head in ("node", "state", "busy", "device", "link", "up", "down", "delay", "loss"):
        made.add_column(head, justify="right" if head == "busy" else "left", overflow="fold")
    for node in nodes:
        state = Text(node.state, "bold red" if node.state in ("failed", "silent") else "")
        made.add_row(
            Text(node.name),
            state.append(f": {node.reason}" if node.reason else ""),
            "-" if node.busy_s is None else text.seconds(node.busy_s),
            Text(node.device.name),
            Text(node.link.name),
            said(node.link.up, DIGITS),
            said(node.link.down, DIGITS),
            _both(_delay(node.link.up), _delay(node.link.down)),
            _both(_loss(node.link.up), _loss(node.link.down)),
        )
    return made


def _delay(channel: Channel) -> str:
    jitter = f" ± {show(channel.jitter, TIME, DIGITS)}" if channel.jitter else ""
    return show(channel.delay, TIME, DIGITS) + jitter


def _loss(channel: Channel) -> str:
    bursts = f", {show(channel.burst.loss, SHARE, DIGITS)} in bursts" if channel.burst else ""
    return show(channel.loss, SHARE, DIGITS) + bursts


def _both(up: str, down: str) -> str:
    """The figures of both directions, said once where they are the same."""
    return up if up == down else f"{up} up, {down} down"
