"""Keeps what happens in an experiment's runs, as it comes, and says what each came to."""

import contextlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from emulator import kernel_fidelity, quota, replay, timeline, verdict
from emulator.change import is_live
from emulator.comparison import Comparison, compare, drift, join
from emulator.control.rounds import Rounds
from emulator.cost import CostModel
from emulator.errors import EdgebedError
from emulator.plan import SERVER_ROLES, Plan
from emulator.report import files, prediction
from emulator.report.metrics import metrics_csv
from emulator.report.progress import Progress
from emulator.report.summary import Summary, summarise
from emulator.retiming import replayed
from emulator.speeds import sensed, times_as_long
from emulator.timeline import Entry, Metric, Span
from emulator.verdict import HostFacts

DRIFT = 0.10
"""By how much the host's own speed may differ from its calibration, or between runs, before the reader is told."""


class Recorder:
    """Keeps what the nodes noted, writes it down in `folder` as it comes, and shows the progress."""

    def __init__(self, folder: Path, writer: files.TimelineWriter, plan: Plan, progress: Progress) -> None:
        self.folder = folder
        self._writer = writer
        self._scale = plan.scale
        self._rounds = int(plan.runs[0].config["rounds"])
        self._servers = {name for role in SERVER_ROLES for name in plan.peers.get(role, ())}
        self._progress = progress
        self._spans: dict[str, list[Span]] = {}
        self._metrics: dict[str, list[Metric]] = {}
        self._wall: dict[str, float] = {}
        self._round: dict[str, int] = {}
        self._recent: dict[str, Rounds] = {}

    def entry(self, entry: Entry) -> None:
        """One span or metric, as it came from a node."""
        run = entry.run
        if run not in self._spans:
            self._begin(run)
        if isinstance(entry, Span):
            self._spans[run].append(entry)
            self._writer.write(entry)
            self._recent[run].note(entry)
            if entry.round > self._round[run]:
                self._round[run] = entry.round
                self._show(run, entry.round - 1)
        else:
            self._metrics[run].append(entry)
            if entry.name == "accuracy":
                self._progress.accuracy(run, entry.value)

    def _show(self, run: str, ended: int) -> None:
        recent = self._recent[run]
        latency = recent.latency()
        if latency is not None:
            busy = {name: seconds for name, seconds in recent.busy().items() if name not in self._servers}
            self._progress.latency(run, latency, max(busy, key=lambda name: busy[name], default=None))
        self._progress.round(run, ended)

    def finished(self, run: str, wall_s: float) -> None:
        """A run is over."""
        if run not in self._spans:
            self._begin(run)
        self._wall[run] = wall_s
        self._progress.round(run, self._rounds)
        self._progress.end(run)
        self._writer.flush()
        with named(run):
            # The next run may have begun, but its timing is not complete.
            self._write_metrics(self._wall)

    def keep(self) -> None:
        """Write down the metrics of the whole rounds of a run that breaks off."""
        for run, spans in self._spans.items():
            if run not in self._wall:
                self._spans[run] = [span for span in spans if span.round < self._round[run]]
                self._metrics[run] = [metric for metric in self._metrics[run] if metric.round < self._round[run]]
        with contextlib.suppress(ValueError, EdgebedError):  # what the run broke off for is what the user is told
            self._write_metrics([run for run, last in self._round.items() if run in self._wall or last > 1])

    def _write_metrics(self, runs: Collection[str]) -> None:
        metrics = [metric for run in runs for metric in self._metrics[run]]
        elapsed = {run: timeline.elapsed_at(timeline.latencies(self._spans[run])) for run in runs}
        files.write(self.folder / files.METRICS, metrics_csv(metrics, elapsed))

    @property
    def spans(self) -> list[Span]:
        """All that came of all runs."""
        return [span for spans in self._spans.values() for span in spans]

    def entries(self, run: str) -> tuple[list[Span], list[Metric]]:
        """All that came of a run."""
        return self._spans[run], self._metrics[run]

    def short_stages(self) -> list[str]:
        """What the CPU quotas could not slow down, one line for each kind of stage."""
        return quota.short_stages(self.spans)

    def summary(self, run: str, plan: Plan, facts: HostFacts, target: float | None) -> Summary:
        """What a finished run comes to."""
        spans, metrics, wall = self._spans[run], self._metrics[run], self._wall[run]
        with named(run):
            links = {node.name: node.link for node in plan.nodes}
            ideal = kernel_fidelity.promised(spans, links) if plan.links == "kernel" else ()
            promised = replay.promises(spans, plan) if plan.links == "bus" else ()
            judged = verdict.judge(spans, facts, ideal=ideal, promised=promised)
            return summarise(spans, metrics, servers=self._servers, wall=wall, target=target, verdict=judged)

    def slower(self, cost: CostModel) -> dict[str, float]:
        """How many times as long each run's computations took, by the probe next to each, as they would have at the
        speed at which this host was calibrated; without those of which that is not known."""
        found = {}
        for run, spans in self._spans.items():
            probe = cost.probe(run)
            times = times_as_long((call for _, call in sensed(spans, self._scale)), probe) if probe else None
            if times is not None:
                found[run] = times
        return found

    def compare(self, predicted: list[Span]) -> dict[str, Comparison]:
        """Each run beside its prediction, and a file of all of it.

        Raises `EdgebedError` when the testbed was changed while it ran, and not by its scenario: what was predicted is
        another one.
        """
        if any(is_live(span) for spans in self._spans.values() for span in spans):
            raise EdgebedError("the testbed was changed while it ran")
        said = timeline.runs(predicted)
        found: dict[str, Comparison] = {}
        for run, spans in self._spans.items():
            with named(run):
                found[run] = compare(spans, said[run], self._scale)
        pairs = [pair for run, spans in self._spans.items() for pair in join(spans, said[run])]
        files.write(self.folder / files.PREDICTION, prediction.prediction_csv(pairs, self._scale))
        return found

    def drifts(self, predicted: list[Span], plan: Plan, slower: Mapping[str, float]) -> list[str]:
        """Where this host was not as quick as when it was calibrated, a line or two for each run, and one where it was
        not as quick, beside that, in one run as in another.

        `plan` is the one that was predicted; `slower` how many times as long computations took in each run by the speed
        of their cores, which the prediction knows of.
        """
        said, slowdowns = timeline.runs(predicted), {node.name: node.slowdown for node in plan.nodes}
        found = {run: drift(spans, said[run], slowdowns) for run, spans in self._spans.items()}
        ratios = {run: ratio for run, ratio in found.items() if ratio is not None}
        drifted = {run: ratio for run, ratio in ratios.items() if abs(ratio - 1) > DRIFT}
        again = replayed(self.spans, plan) if drifted else {}
        lines = [
            f"{run}: by the probe next to each, its computations took {times:.2f} times the CPU time that they would "
            f"have at the speed at which this host was calibrated: that is in its latencies, and in their prediction"
            for run, times in slower.items()
            if abs(times - 1) > DRIFT
        ]
        for run, ratio in drifted.items():
            known = again.get(run)
            at_that = f", and by {100 * known.latency.error:+.1f} % at the CPU time that they took" if known else ""
            lines.append(
                f"{run}: its computations took {ratio:.2f} times the CPU time that was predicted: other work slowed "
                f"this host down, then or now, and the prediction is off by that{at_that} (edgebed calibrate measures "
                f"anew)"
            )
        if ratios:
            beside = {run: ratio * slower.get(run, 1.0) for run, ratio in ratios.items()}
            slow, quick = max(beside, key=beside.__getitem__), min(beside, key=beside.__getitem__)
            between = beside[slow] / beside[quick]
            if between > 1 + DRIFT:
                lines.append(
                    f"{slow} and {quick}: beside what this host was calibrated at, the one's computations took "
                    f"{between:.2f} times the CPU time of the other's: a difference between them may be the host's"
                )
        return lines

    def _begin(self, run: str) -> None:
        self._spans[run], self._metrics[run], self._round[run] = [], [], 0
        self._recent[run] = Rounds()
        self._progress.begin(run, self._rounds)


@contextlib.contextmanager
def named(run: str) -> Iterator[None]:
    """Turn timing that is missing or makes no sense into one line that names the run."""
    try:
        yield
    except ValueError as error:
        raise EdgebedError(f"{run}: {error}") from error
