"""What was learnt, and how soon."""

from collections.abc import Sequence

from emulator.report import text
from emulator.report.figures.parts import (
    ROW,
    Figure,
    Spec,
    bars,
    by_round,
    lines,
    names,
    number,
    rule_at,
    series,
    spec,
    thinned,
    words,
)
from emulator.report.outcome import Outcome

SHARE_AXIS = {"format": ".0%"}


def accuracy_by_time(outcomes: Sequence[Outcome]) -> Figure | None:
    """Mean and range over the clients against emulated seconds."""
    return _accuracy(
        outcomes, "accuracy-time", "Accuracy against emulated time", number("x", "emulated time (s)"), by_time=True
    )


def accuracy_by_round(outcomes: Sequence[Outcome]) -> Figure | None:
    """Mean and range over the clients against rounds."""
    return _accuracy(outcomes, "accuracy-rounds", "Accuracy against rounds", by_round(), by_time=False)


def _accuracy(outcomes: Sequence[Outcome], name: str, title: str, x: Spec, *, by_time: bool) -> Figure | None:
    rows = [
        {
            "run": outcome.label,
            "x": outcome.elapsed[number] if by_time else number,
            "mean": accuracy.mean,
            "low": accuracy.min,
            "high": accuracy.max,
            "says": f"{outcome.label}: {text.share(accuracy.mean)} after round {number}, "
            f"{text.seconds(outcome.elapsed[number])} (clients {text.share(accuracy.min)} to "
            f"{text.share(accuracy.max)})",
        }
        for outcome in outcomes
        for number, accuracy in outcome.accuracies.items()
    ]
    if not rows:
        return None
    rows = thinned(rows)
    labels = [outcome.label for outcome in outcomes]
    y = {"type": "quantitative", "title": "test accuracy", "scale": {"domain": [0, 1]}, "axis": SHARE_AXIS}
    layer: list[Spec] = [
        {
            "mark": {"type": "area", "opacity": 0.14, "aria": False},
            "encoding": {"y": {"field": "low", **y}, "y2": {"field": "high"}, "color": series(labels)},
        },
        *lines(labels, rows, {"field": "mean", **y}),
    ]
    targets = {o.summary.target for o in outcomes if o.summary.target is not None}
    for target in sorted(targets):
        layer += rule_at(target, f"target {100 * target:g} %")
    note = "Mean over the clients, with the range between the worst and the best."
    if by_time:
        note += " Further left is faster."
    return Figure(name, title, note, spec(rows, layer, x, height=240))


def time_to_target(outcomes: Sequence[Outcome]) -> Figure | None:
    """A bar for each run that reached the target, and a word for each that did not."""
    if not any(outcome.summary.time_to_target is not None for outcome in outcomes):
        return None
    rows = [
        {
            "run": outcome.label,
            "x": outcome.summary.time_to_target or 0.0,
            "shown": "never reached"
            if outcome.summary.time_to_target is None
            else text.seconds(outcome.summary.time_to_target),
        }
        for outcome in outcomes
        if outcome.summary.target is not None
    ]
    for row in rows:
        row["says"] = f"{row['run']}: {row['shown']}"
    layer = [bars(series([outcome.label for outcome in outcomes], legend=False)), words("shown")]
    note = "Emulated time until the test accuracy, mean over the clients, first was the target's. Shorter is better."
    x = number("x", "emulated time to target (s)")
    drawn = spec(rows, layer, x, height=ROW * len(rows), y=names(outcomes))
    return Figure("time-to-accuracy", "Time to the target accuracy", note, drawn)
