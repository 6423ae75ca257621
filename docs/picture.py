"""Draws a run's accuracy against emulated time: python docs/picture.py RUN_DIR OUT.svg (needs matplotlib)."""

import csv
import sys
from collections import defaultdict
from pathlib import Path

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot


def main(run: Path, out: Path) -> None:
    curves: defaultdict[str, list[tuple[float, float, float, float]]] = defaultdict(list)
    with (run / "metrics.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["accuracy"]:
                low, mean, high = (100 * float(row[name]) for name in ("accuracy_min", "accuracy", "accuracy_max"))
                curves[row["algorithm"]].append((float(row["emulated_s"]), low, mean, high))

    pyplot.rcParams.update({"svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9})
    figure, axes = pyplot.subplots(figsize=(7.2, 3.4), layout="constrained")
    for name, points in curves.items():
        seconds, low, mean, high = zip(*points, strict=True)
        (line,) = axes.plot(seconds, mean, marker="o", markersize=3, label=name)
        axes.fill_between(seconds, low, high, color=line.get_color(), alpha=0.12, linewidth=0)
    axes.set(xlabel="emulated time (s)", ylabel="test accuracy (%)", ylim=(0, 100))
    axes.set_xlim(left=0)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, title="mean and range over clients")
    figure.savefig(out, metadata={"Date": None})


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
