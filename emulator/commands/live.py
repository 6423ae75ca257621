"""The commands on a running testbed: what it does, and what may be changed of it."""

import json
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote

import click

from emulator.errors import InputError, nearest

DIRECTIONS = ("up", "down")
FIGURES = {"trace": "TRACE", "delay": "TIME", "jitter": "TIME", "loss": "SHARE", "queue": "SIZE"}

_run = click.option("--run", "run", metavar="FOLDER|NAME", help="Which one, where several testbeds are running.")


@click.command()
@_run
@click.option("--json", "as_json", is_flag=True, help="Print what the API says and nothing else.")
def status(run: str | None, as_json: bool) -> None:
    """Show a running testbed: its nodes and segments, the round, and how long each node was busy in the last one."""
    from emulator.control.client import Client
    from emulator.control.found import find

    place = find(run)
    with Client(place) as testbed:
        now, nodes, segments = testbed.status(), testbed.nodes(), testbed.segments()
    if as_json:
        shown = {
            **now.model_dump(mode="json"),
            "nodes": [node.model_dump(mode="json") for node in nodes],
            "segments": [segment.model_dump(mode="json") for segment in segments],
        }
        click.echo(json.dumps(shown, indent=2, ensure_ascii=False))
        return
    from emulator.report.live import show_status

    show_status(now, nodes, segments)
    click.echo(f"live page: {place.url}/#token={quote(place.token)}")


@click.command()
@click.argument("profile", metavar="PROFILE")
@click.option("--node", "nodes", multiple=True, required=True, metavar="NODE", help="May be repeated.")
@_run
def apply(profile: str, nodes: tuple[str, ...], run: str | None) -> None:
    """Give nodes of a running testbed the link or device PROFILE: a name, or a YAML file.

    It takes effect at once, on what is in transit or being computed as well, and lasts over the runs that follow.
    """
    from emulator.control.client import Client
    from emulator.control.found import find
    from emulator.control.references import to_send
    from emulator.control.words import Application

    application = Application(profile=to_send(profile))
    with Client(find(run)) as testbed:
        known, segments = _names(testbed.nodes()), _names(testbed.segments())
        for node in nodes:  # all of them before any is changed
            if node in segments:
                raise InputError(f"'{node}' is a segment, and no node: use edgebed link {node} {profile}")
            if node not in known:
                raise InputError(f"the testbed has no node '{node}'{nearest(node, known)}")
        for node in dict.fromkeys(nodes):
            _say(testbed.apply(node, application))


def _figures(command: Callable[..., None]) -> Callable[..., None]:
    """Options for each figure of a link: for both directions, and for one."""
    for figure, unit in reversed(FIGURES.items()):
        for direction in reversed(DIRECTIONS):
            option = click.option(f"--{direction}-{figure}", metavar=unit, help=f"Only {direction}.")
            command = option(command)
        command = click.option(f"--{figure}", metavar=unit, help="In both directions.")(command)
    return command


@click.command()
@click.argument("name", metavar="NODE|SEGMENT")
@click.argument("profile", metavar="[PROFILE]", required=False)
@click.option("--up", metavar="RATE", help="Away from the node or segment, such as '2 Mbit/s' or unlimited.")
@click.option("--down", metavar="RATE", help="Towards it.")
@_figures
@_run
def link(
    name: str, profile: str | None, up: str | None, down: str | None, run: str | None, **figures: str | None
) -> None:
    """Change the link of a node or segment in a running testbed: to PROFILE (a name, or a YAML file), to other figures,
    or to PROFILE with other figures; what is not mentioned stays as it is.

    A rate takes the place of a trace that the link follows, and a trace (a name, or a file) that of a rate.

    It takes effect at once, on what is in transit as well, and lasts over the runs that follow.
    """
    from emulator.control.client import Client
    from emulator.control.found import find
    from emulator.control.references import link_to_send
    from emulator.control.words import NodePatch, SegmentPatch

    patch: dict[str, Any] = {}
    for direction, rate in zip(DIRECTIONS, (up, down), strict=True):
        wanted = {figure: figures[f"{direction}_{figure}"] or figures[figure] for figure in FIGURES}
        said = {key: value for key, value in {"rate": rate, **wanted}.items() if value is not None}
        patch |= {direction: said} if said else {}
    if profile is None and not patch:
        raise click.UsageError("nothing to change: give a PROFILE, --up, --down, --delay or another figure")
    with Client(find(run)) as testbed:
        nodes, segments = _names(testbed.nodes()), _names(testbed.segments())
        if name not in [*nodes, *segments]:
            what = "node or segment" if segments else "node"
            raise InputError(f"the testbed has no {what} '{name}'{nearest(name, [*nodes, *segments])}")
        words = link_to_send(profile, patch)
        if name in segments:
            _say(testbed.alter_segment(name, SegmentPatch(link=words)))
        else:
            _say(testbed.alter(name, NodePatch(link=words)))


def _names(views: Iterable[Any]) -> list[str]:
    return [view.name for view in views]


def _say(change: Any) -> None:
    from emulator.change import told

    for line in told(change.node, change.model_dump()) or [f"{change.node}: it was so before"]:
        click.echo(line)
