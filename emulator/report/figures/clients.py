"""What each client does, and what crosses its link."""

from collections.abc import Sequence

from emulator.page import palette
from emulator.report import text
from emulator.report.figures.parts import (
    ROW,
    WIDTH,
    Figure,
    Row,
    Spec,
    bars,
    in_order,
    names,
    number,
    spec,
    stage_colours,
    stage_name,
    words,
)
from emulator.report.outcome import Client, Outcome

DIRECTIONS = {"up": palette.ORANGE, "down": palette.VERMILION}


def clients(outcomes: Sequence[Outcome]) -> Figure | None:
    """Each client's part of the mean round, stage by stage; the straggler is marked."""
    shown = [outcome for outcome in outcomes if outcome.clients]
    if not shown:
        return None
    colours = stage_colours([*(s for o in shown for c in o.clients for s in c.stages), "waiting"])
    drawn = {"concat": [_of_run(outcome, colours) for outcome in shown], "columns": 2, "spacing": 24}
    note = (
        "Each client's own work and messages in the mean round, critical or not; the rest of the round it waits. Of "
        "what goes on at once, what began first counts. "
        "The straggler is the client on which the critical path spends most."
    )
    return Figure("clients", "What each client does in a round", note, drawn, wide=True)


def _of_run(outcome: Outcome, colours: Spec) -> Spec:
    rows = [row for client in outcome.clients for row in _client(outcome, client)]
    y: Spec = {"field": "client", "type": "nominal", "title": None, "sort": [client.name for client in outcome.clients]}
    title: Spec = {"text": outcome.label}
    straggler = outcome.straggler
    if straggler is not None:
        is_it = f"datum.label == '{straggler.name}'"
        bold = {"condition": {"test": is_it, "value": "bold"}, "value": "normal"}
        y["axis"] = {"labelExpr": f"{is_it} ? '\u2192 ' + datum.label : datum.label", "labelFontWeight": bold}
        held_up = text.percent(straggler.held_up)
        title["subtitle"] = f"\u2192 straggler: {straggler.name}, on the critical path of {held_up} of the rounds"
    return {
        "title": title,
        "data": {"values": in_order(rows, colours)},
        "width": WIDTH - 80,
        "height": 0.7 * ROW * len(outcome.clients),
        "encoding": {"x": number("x", "mean round (s)", stack=True), "y": y},
        "layer": [bars(colours, ordered=True)],
    }


def _client(outcome: Outcome, client: Client) -> list[Row]:
    parts = {**client.stages, "waiting": client.waiting}
    return [
        {
            "run": outcome.label,
            "client": client.name,
            "stage": stage,
            "x": seconds,
            "says": f"{outcome.label}, {client.name}, {stage_name(stage)}: {text.seconds(seconds)} a round",
        }
        for stage, seconds in parts.items()
    ]


def traffic(outcomes: Sequence[Outcome]) -> Figure | None:
    """Bytes over the clients' links, up and down."""
    rows = [
        {
            "run": outcome.label,
            "way": way,
            "x": count / 2**20,
            "shown": text.size(count),
            "says": f"{outcome.label}, {way}: {count} bytes",
        }
        for outcome in outcomes
        for way, count in (("up", outcome.summary.traffic.up), ("down", outcome.summary.traffic.down))
    ]
    colours = {"field": "way", "scale": {"domain": [*DIRECTIONS], "range": [*DIRECTIONS.values()]}, "title": None}
    offset = {"yOffset": {"field": "way", "sort": [*DIRECTIONS]}}
    layer = [bars(colours, extra=offset), words("shown", extra=offset)]
    x = number("x", "data over the clients' links (MiB)")
    drawn = spec(rows, layer, x, height=1.4 * ROW * len(outcomes), y=names(outcomes))
    note = "All rounds together, headers included; up is away from the clients."
    return Figure("bytes", "Bytes up and down", note, drawn)
