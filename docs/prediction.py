"""Draws each run's measured rounds beside the predicted ones: python docs/prediction.py RUN_DIR OUT.svg
(needs matplotlib)."""

import csv
import sys
from collections import defaultdict
from pathlib import Path

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot

SOURCES = ("measured", "predicted")


def rounds(run: Path) -> dict[str, dict[str, list[float]]]:
    """The latency of every round in milliseconds, by algorithm and source."""
    ends: defaultdict[tuple[str, str, int], float] = defaultdict(float)
    with (run / "prediction.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            for source in SOURCES:
                if row[f"{source}_s"]:
                    key = row["algorithm"], source, int(row["round"])
                    ends[key] = max(ends[key], float(row[f"{source}_start_s"]) + float(row[f"{source}_s"]))
    found: defaultdict[str, dict[str, list[float]]] = defaultdict(lambda: {source: [] for source in SOURCES})
    for (algorithm, source, _), end in ends.items():
        found[algorithm][source].append(1000 * end)
    return found


def main(run: Path, out: Path) -> None:
    pyplot.rcParams.update({"svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9})
    found = rounds(run)
    figure, all_axes = pyplot.subplots(1, len(found), figsize=(7.2, 2.6), layout="constrained")
    for axes, (algorithm, sources) in zip(all_axes, found.items(), strict=True):
        for source, colour in zip(SOURCES, ("tab:gray", "tab:blue"), strict=True):
            ordered = sorted(sources[source])
            shares = [100 * (place + 1) / len(ordered) for place in range(len(ordered))]
            axes.step(ordered, shares, where="post", color=colour, label=source)
            axes.axvline(sum(ordered) / len(ordered), color=colour, linewidth=0.8, linestyle=":")
        error = sum(sources["predicted"]) / sum(sources["measured"]) - 1
        axes.set(title=f"{algorithm} ({100 * error:+.1f} %)", ylim=(0, 100))
        shown = sorted(sources["measured"])[: max(1, round(0.97 * len(sources["measured"])))]
        axes.set_xlim(0.9 * min(min(shown), min(sources["predicted"])), 1.1 * shown[-1])
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    all_axes[0].set_ylabel("rounds no longer than that (%)")
    lines, labels = all_axes[0].get_legend_handles_labels()
    figure.legend(lines, labels, loc="outside upper right", ncols=2, frameon=False)
    figure.supxlabel("latency of a round, emulated (ms); dotted: the means", fontsize=9)
    figure.savefig(out, metadata={"Date": None})


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
