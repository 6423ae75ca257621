"""`report.html`: one page that needs neither network nor server, of one run or of several to compare."""

import base64
import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

from emulator import change
from emulator.event import Placed
from emulator.lanes import MICROSECONDS, view
from emulator.page import ours, palette, render
from emulator.profiles import Channel, DeviceProfile, LinkProfile, NodeSpec, Testbed
from emulator.rate import said
from emulator.report import drawing, files, text
from emulator.report.answer import answer
from emulator.report.figures import figures
from emulator.report.folder import Folder, read
from emulator.report.outcome import Outcome, outcomes
from emulator.timeline import Span
from emulator.units import SIZE, THROUGHPUT, TIME, show
from emulator.verdict import Check, Unit

SIGNS = {"VALID": "\u2713", "INVALID": "\u2717", "FAILED": "\u2717"}
MEANINGS = {
    "VALID": "The emulation kept within its limits: the latencies below can be believed.",
    "INVALID": "The emulation did not keep within its limits: draw no conclusions from the latencies below.",
    "FAILED": "The run broke off. What is shown is what had been measured until then, and nobody judged it.",
    "UNFINISHED": "The run has not ended, or was killed. What is shown is what was measured, and nobody judged it.",
    "EMPTY": "No round was run: there is nothing to show but the set-up.",
}
CAUTIONS = {
    "INVALID": "Not to be believed: see the verdict above.",
    "FAILED": "Of whole rounds until the run broke off, which nobody judged.",
    "UNFINISHED": "Of whole rounds so far, which nobody judged.",
}
CHECKS = {
    "latency_error": "share of the measured latency that the emulation itself added",
    "compute_overrun": "how much longer than promised the emulated computations took",
    "timer_overshoot": "how much later than due the emulated computations were let go, median",
    "delivery_lateness": "how much later than due messages arrived, median",
    "delivery_lateness_p95": "how much later than due messages arrived, 95th percentile",
    "rate_error": "how far large messages were off the rate of their link",
    "promise_error": "how far the hub's links were off their profiles, over the worst way between two nodes",
    "clock_error": "by how much the clock of a node's host may have been off the hub's",
    "kernel_rate_error": "how far messages over links of the kernel were off their rate",
    "kernel_lateness": "how much later than promised messages over links of the kernel arrived",
}


def make(folders: Sequence[Path], out: Path) -> Path:
    """Write the report of the runs in `folders` to `out`. `InputError` where one cannot be read, or `out` written."""
    files.write(out, page([read(folder) for folder in folders]))
    return out


def page(folders: Sequence[Folder]) -> str:
    """The text of the page."""
    # What draws the figures works outside of Python's lock, and begins slowly.
    with ThreadPoolExecutor(max_workers=1) as artist:
        if any(any(folder.spans.values()) for folder in folders):
            artist.submit(drawing.begin)
        found = outcomes(folders)
        shown = figures(found)
        drawn = artist.map(drawing.inline_svg, shown)
        timelines = [
            {"id": f"timeline-{place}", "label": outcome.label, "packed": _packed(_timeline(outcome))}
            for place, outcome in enumerate(found)
        ]
        pictures = [(figure, ours(svg)) for figure, svg in zip(shown, drawn, strict=True)]
    nodes = {node: what for folder in folders for node, what in hardware(folder).items()}
    return render(
        "report.html.j2",
        title=_title(folders),
        subtitle=_subtitle(folders),
        banners=[_banner(folder) for folder in folders],
        answer=answer(found, nodes) if found else None,
        caution=next((CAUTIONS[folder.word] for folder in folders if folder.word in CAUTIONS), None),
        table=_table(found),
        figures=pictures,
        stage_colours=json.dumps(palette.custom_properties(_stages(found))),
        timelines=timelines,
        parts=[_part(folder, [one for one in found if one.folder is folder]) for folder in folders],
        version=version("edgebed"),
    )


def _title(folders: Sequence[Folder]) -> str:
    if len(folders) > 1:
        return f"Comparison of {', '.join(folder.name for folder in folders)}"
    return f"{folders[0].experiment.name} on testbed {folders[0].testbed.name}"


def _subtitle(folders: Sequence[Folder]) -> str:
    if len(folders) > 1:
        return f"{len(folders)} runs"
    experiment, result = folders[0].experiment, folders[0].result
    clients = len(folders[0].testbed.nodes) - len(folders[0].servers)
    parts = [f"{clients} client{'s' if clients != 1 else ''}", f"{experiment.rounds} rounds", f"seed {experiment.seed}"]
    if experiment.time_scale != "auto":
        parts.append(f"time scale {experiment.time_scale:g}")
    return ", ".join([*([f"{result['runtime']} runtime"] if result else []), *parts, f"folder {folders[0].name}"])


def _banner(folder: Folder) -> dict[str, Any]:
    failed = [check for check in folder.verdict.checks if not check.ok]
    reasons = [f"{check}, {CHECKS.get(check.name, 'a check')}: {check.reason}" for check in failed]
    if folder.failure is not None:
        reasons = [folder.failure]
    meaning = MEANINGS[folder.word]
    error = next((check for check in folder.verdict.checks if check.name == "latency_error"), None)
    if folder.word == "VALID" and error is not None:
        added, limit = _quantity(error.value, error.unit), _quantity(error.limit, error.unit)
        meaning += f" It added {added} to them at most (limit {limit})."
    return {
        "name": folder.name,
        "word": folder.word,
        "sign": SIGNS.get(folder.word, "?"),
        "meaning": meaning,
        "reasons": reasons,
    }


def _table(found: Sequence[Outcome]) -> dict[str, Any]:
    targets = sorted({o.summary.target for o in found if o.summary.target is not None})
    shown = "/".join(f"{100 * target:g}" for target in targets)
    learns = any(outcome.accuracies for outcome in found)
    predicted = any(outcome.predicted for outcome in found)
    heads = ["run", "verdict", "rounds", *(["accuracy"] if learns else [])]
    heads += [f"time to {shown} %", "rounds to it"] if targets and learns else []
    losing = any(outcome.summary.client_rounds for outcome in found)
    heads += ["client rounds lost"] if losing else []
    heads += ["round, median", "95th percentile", *(["predicted, off by"] if predicted else []), "up", "down"]
    rows = []
    for outcome in found:
        summary = outcome.summary
        row = [outcome.label, summary.verdict.word, str(summary.rounds)]
        if learns:
            row.append(_accuracy(outcome))
        if targets and learns:
            reached = summary.time_to_target
            row.append("never" if reached is None else text.seconds(reached))
            row.append("\u2013" if outcome.rounds_to_target is None else str(outcome.rounds_to_target))
        if losing:
            counted = summary.client_rounds
            row.append("\u2013" if counted is None else f"{counted.lost} of {counted.planned}")
        row += [text.seconds(summary.latency.median), text.seconds(summary.latency.p95)]
        if predicted:
            row.append("\u2013" if outcome.predicted is None else f"{100 * outcome.predicted['error']:+.1f} %")
        rows.append([*row, text.size(summary.traffic.up), text.size(summary.traffic.down)])
    return {"heads": heads, "rows": rows, "losing": losing}


def _accuracy(outcome: Outcome) -> str:
    accuracy = outcome.summary.accuracy
    if accuracy is None:
        return "\u2013"
    return f"{text.share(accuracy.mean)} ({100 * accuracy.min:.0f}\u2013{100 * accuracy.max:.0f})"


def _timeline(outcome: Outcome) -> dict[str, Any]:
    nodes = [str(node.name) for node in outcome.folder.testbed.nodes]
    starts, servers = outcome.starts, outcome.folder.servers
    made = view(outcome.rounds, starts, nodes, servers, outcome.paths, outcome.events)
    made["rounds"] = [round(seconds * MICROSECONDS) for seconds in outcome.elapsed.values()]
    predicted: dict[int, list[Span]] = {}
    for span in outcome.folder.predicted.get(outcome.summary.run, ()):
        if span.round in starts:
            predicted.setdefault(span.round, []).append(span)
    return {**made, "predicted": view(predicted, starts, nodes, servers) if predicted else None}


def _packed(data: Mapping[str, Any]) -> str:
    plain = json.dumps(data, separators=(",", ":")).encode()
    return base64.b64encode(gzip.compress(plain, compresslevel=6, mtime=0)).decode()


def _stages(found: Sequence[Outcome]) -> set[str]:
    return {span.stage for outcome in found for spans in outcome.rounds.values() for span in spans}


# -- what was run, on what


def _part(folder: Folder, found: Sequence[Outcome]) -> dict[str, Any]:
    host = folder.result["host"] if folder.result else {}
    runtime = f" --runtime {folder.result['runtime']}" if folder.result else ""
    refused = [f"the hub ran without raised priority: {host['hub_priority']}"] if host.get("hub_priority") else []
    return {
        "name": folder.name,
        "checks": [_check(check) for check in folder.verdict.checks],
        "testbed": folder.testbed.name,
        "description": folder.testbed.description,
        "nodes": [*map(_node, folder.testbed.nodes), *_segments(folder.testbed)],
        "sources": _sources(folder),
        "events": [_event(outcome.label, one) for outcome in found for one in outcome.events if one.event.detail],
        "host": _host(host),
        "notes": [*refused, *host.get("notes", ()), *host.get("disturbances", ())],
        "command": f"edgebed run {folder.path / files.EXPERIMENT}{runtime}",
        "experiment": (folder.path / files.EXPERIMENT).read_text(encoding="utf-8"),
    }


def _event(label: str, one: Placed) -> str:
    said = change.said(one.event.node, one.event.stage, one.event.detail)
    return f"{label}, round {one.round}, {text.seconds(one.at)}: {said}"


def _check(check: Check) -> dict[str, Any]:
    return {
        "name": check.name,
        "meaning": CHECKS.get(check.name, ""),
        "value": _quantity(check.value, check.unit),
        "limit": _quantity(check.limit, check.unit),
        "ok": check.ok,
    }


def _quantity(value: float, unit: Unit) -> str:
    return f"{100 * value:.2g} %" if unit == "share" else f"{1000 * value:.2g} ms"


def _host(host: Mapping[str, Any]) -> str:
    if not host:
        return ""
    cpu = f"{host['cpu']}, " if "cpu" in host else ""
    speed = f" of {show(host['core_flops'], THROUGHPUT, 3)} each" if "core_flops" in host else ""
    wanted = f"the emulated devices together wanted {host['cores_wanted']:.3g} of them"
    return f"{cpu}{host['cores']} cores{speed}; {wanted} at time scale {host['time_scale']:g}."


def _profiles(node: NodeSpec) -> tuple[DeviceProfile, LinkProfile]:
    assert isinstance(node.device, DeviceProfile)
    assert isinstance(node.link, LinkProfile)
    return node.device, node.link


def hardware(folder: Folder) -> dict[str, str]:
    """Of each node, what device and link it has."""
    found = {}
    for node in folder.testbed.nodes:
        device, link = _profiles(node)
        found[str(node.name)] = f"{device.name}, {link.name}"
    return found


def _node(node: NodeSpec) -> dict[str, str]:
    device, link = _profiles(node)
    return {
        "name": str(node.name),
        "role": node.role,
        "device": device.name,
        "training": show(device.training, THROUGHPUT, 3),
        "memory": show(device.memory, SIZE, 3),
        "link": f"{link.name}, in {node.segment}" if node.segment else link.name,
        "up": _channel(link.up),
        "down": _channel(link.down),
    }


def _segments(testbed: Testbed) -> Iterator[dict[str, str]]:
    """A row each, below the nodes'."""
    for name, segment in testbed.segments.items():
        assert isinstance(segment.link, LinkProfile)
        link = segment.link
        around = f", in {segment.segment}" if segment.segment else ""
        yield {
            **dict.fromkeys(("device", "training", "memory"), ""),
            "name": name,
            "role": "segment",
            "link": link.name + around,
            "up": _channel(link.up),
            "down": _channel(link.down),
        }


def _channel(channel: Channel) -> str:
    parts = [said(channel, 3), show(channel.delay, TIME, 3)]
    parts += ["shared fairly"] if channel.sharing == "fair" else []
    if channel.jitter:
        parts[1] += f" \u00b1 {show(channel.jitter, TIME, 3)}"
    parts += [f"{100 * channel.loss:.3g} % loss"] if channel.loss else []
    parts += [f"{100 * channel.burst.loss:.3g} % loss in bursts"] if channel.burst else []
    return ", ".join(parts)


def _sources(folder: Folder) -> dict[str, str]:
    found: dict[str, str] = {}
    testbed = folder.testbed
    used: list[DeviceProfile | LinkProfile] = [profile for node in testbed.nodes for profile in _profiles(node)]
    used += [segment.link for segment in testbed.segments.values() if isinstance(segment.link, LinkProfile)]
    for profile in used:
        description = f"{profile.description}. " if profile.description else ""
        found[profile.name] = f"{description}{profile.source}"
    return found
