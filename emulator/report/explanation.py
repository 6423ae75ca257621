"""A prediction in words, and as JSON."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from emulator.comparison import Comparison
from emulator.critical_path import OVERHEAD
from emulator.explanation import Explanation, shares
from emulator.report import prediction, text
from emulator.timeline import Span

SHOWN = 3
GAPS = {OVERHEAD: "gaps"}


@dataclass(frozen=True)
class Curve:
    """Accuracy against time: round, emulated seconds then and now, accuracy; and the target, if there is one."""

    points: Sequence[tuple[int, float, float, float]]
    target: float | None

    def reached(self, now: bool) -> float | None:
        """Emulated seconds until the target; None: never, or no target."""
        if self.target is None:
            return None
        return next((point[2 if now else 1] for point in self.points if point[3] >= self.target), None)


def to_text(
    found: Sequence[Explanation],
    agreed: Mapping[str, Comparison],
    curves: Mapping[str, Curve],
    replayed: Mapping[str, Comparison] | None = None,
) -> str:
    """A paragraph for each run. `replayed`: with the CPU times that were measured in place of the modelled ones."""
    again = replayed or {}
    return "\n\n".join(_paragraph(one, agreed.get(one.run), curves.get(one.run), again.get(one.run)) for one in found)


def _paragraph(one: Explanation, agreed: Comparison | None, curve: Curve | None, replayed: Comparison | None) -> str:
    lines = [f"{one.run}: a round takes {text.seconds(one.mean)} (median {text.seconds(one.median)})"]
    if agreed is not None:
        lines[0] += (
            f"; measured {text.seconds(agreed.latency.measured_mean)}, off by {100 * agreed.latency.error:+.1f} %"
        )
    if replayed is not None:
        lines.append(
            f"  replayed        {text.seconds(replayed.latency.predicted_mean)} with the CPU times that were measured, "
            f"off by {100 * replayed.latency.error:+.1f} %"
        )
    if curve is not None and curve.target is not None:
        then, now = (curve.reached(now) for now in (False, True))
        lines.append(f"  to {text.share(curve.target)}     {_time(now)}, where it was recorded {_time(then)}")
    lines.append(f"  time goes to    {_list(shares(one))}")
    lines.append(f"  straggler       {_list(one.stragglers)} of the rounds")
    lines.append(f"  bottleneck      {_list({name: seconds / one.mean for name, seconds in one.resources.items()})}")
    steps = [f"{step.span.stage} {_way(step.span)} {text.seconds(step.seconds)}" for step in one.path]
    if len(steps) > 3 * SHOWN:
        steps = [*steps[: 2 * SHOWN], "...", *steps[-SHOWN:]]
    lines.append(f"  critical path   {', '.join(steps)}")
    if agreed is not None:
        furthest = {stage: each.furthest for stage, each in agreed.stages.items()}
        errors = [f"{stage} {100 * error:+.1f} % ({where})" for stage, (where, error) in furthest.items()]
        lines.append(f"  stage medians   off by most: {', '.join(errors)}")
    return "\n".join(lines)


def to_json(
    found: Sequence[Explanation],
    agreed: Mapping[str, Comparison],
    curves: Mapping[str, Curve],
    replayed: Mapping[str, Comparison] | None = None,
) -> str:
    """All of it, SI units."""
    again = replayed or {}
    runs = {}
    for one in found:
        curve = curves.get(one.run)
        runs[one.run] = {
            "rounds": one.rounds,
            "round_latency_s": {"mean": one.mean, "median": one.median},
            "breakdown_s": {GAPS.get(stage, stage): seconds for stage, seconds in one.stages.items()},
            "stragglers": dict(one.stragglers),
            "bottleneck": one.bottleneck,
            "resources_s": dict(one.resources),
            "critical_path": [
                {"stage": step.span.stage, "node": step.span.node, "peer": step.span.peer, "seconds": step.seconds}
                for step in one.path
            ],
            "agreement": prediction.fields(agreed[one.run]) if one.run in agreed else None,
            "replayed": prediction.fields(again[one.run]) if one.run in again else None,
            "curve": None
            if curve is None
            else {
                "target_accuracy": curve.target,
                "time_to_accuracy_s": curve.reached(True),
                "recorded_time_to_accuracy_s": curve.reached(False),
                "points": [
                    {"round": number, "emulated_s": now, "recorded_s": then, "accuracy": accuracy}
                    for number, then, now, accuracy in curve.points
                ],
            },
        }
    return json.dumps({"schema": 1, "runs": runs}, indent=2, allow_nan=False) + "\n"


def curves_csv(curves: Mapping[str, Curve]) -> str:
    """Accuracy against time, a row for each run and evaluated round."""
    lines = io.StringIO()
    table = csv.writer(lines, lineterminator="\n")
    table.writerow(["algorithm", "round", "emulated_s", "recorded_s", "accuracy"])
    for run, curve in curves.items():
        table.writerows([run, number, now, then, accuracy] for number, then, now, accuracy in curve.points)
    return lines.getvalue()


def _list(parts: Mapping[str, float]) -> str:
    shown = [f"{GAPS.get(name, name)} {100 * share:.0f} %" for name, share in islice(parts.items(), SHOWN + 2)]
    return ", ".join(shown)


def _time(seconds: float | None) -> str:
    return "never" if seconds is None else text.seconds(seconds)


def _way(span: Span) -> str:
    return f"{span.node}>{span.peer}" if span.peer else span.node
