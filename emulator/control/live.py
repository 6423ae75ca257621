"""The live page, and what it asks for a few times a second: all it shows, in one answer."""

import math
from importlib.metadata import version
from typing import Any

from emulator import library
from emulator.control.state import State
from emulator.control.words import NodeView, SegmentView
from emulator.page import palette, render
from emulator.rate import mean_rate, said

DIGITS = 3


def snapshot(state: State) -> dict[str, Any]:
    """The running testbed as it is now, in plain values."""
    status = state.status()
    traffic, latest = state.history.traffic(status.last_round), state.history.timeline()
    return {
        "status": status.model_dump(mode="json"),
        "nodes": [{**_with_rates(state.node(name)), "traffic_bit_s": traffic.get(name)} for name in state.nodes],
        "segments": [_with_rates(state.segment(name)) for name in state.segments],
        "curves": state.history.curves(),
        "timeline": None if latest is None else {**latest, "colours": palette.custom_properties(latest["stages"])},
        "events": state.history.happened(),
    }


def live_page() -> str:
    """The page; it holds nothing of the testbed."""
    return render(
        "live.html.j2",
        profiles={kind: library.names(kind) for kind in ("links", "devices")},
        version=version("edgebed"),
    )


def _with_rates(view: NodeView | SegmentView) -> dict[str, Any]:
    channels = {"up": view.link.up, "down": view.link.down}
    return {
        **view.model_dump(mode="json", exclude={"link": {way: {"trace": {"rows"}} for way in channels}}),
        "rate_bit_s": {way: _rate(mean_rate(channel)) for way, channel in channels.items()},
        "rate_said": {way: said(channel, DIGITS) for way, channel in channels.items()},
    }


def _rate(rate: float) -> float | None:
    """bit/s; None for unlimited, which JSON has no number for."""
    return None if rate == math.inf else rate
