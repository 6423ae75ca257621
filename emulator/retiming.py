"""A recorded run on other devices and links: the same computations, at the CPU time that each of them was measured to
take, replayed in virtual time."""

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from emulator import timeline
from emulator.comparison import Comparison, compare
from emulator.cost import Hardware
from emulator.errors import InputError
from emulator.node import Work
from emulator.plan import Plan
from emulator.runtime.program import synchrony
from emulator.runtime.virtual import simulate
from emulator.timeline import Span


class Replay:
    """Prices each computation of one run at what it took when it was recorded."""

    def __init__(
        self, run: str, spans: Iterable[Span], slowdowns: Mapping[str, float], names: Mapping[str, str]
    ) -> None:
        """`slowdowns`: of the devices it was recorded on. `names`: recorded nodes by those that take their place."""
        self._run = run
        self._names = names
        self._left: defaultdict[tuple[str, str], deque[float]] = defaultdict(deque)
        for span in sorted(spans, key=lambda span: (span.round, span.start)):
            if span.mode:
                # What was modelled has no CPU time of its own: its device's time tells it.
                cpu = span.duration / slowdowns[span.node] if span.cpu is None else span.cpu
                self._left[span.node, span.stage].append(cpu)

    def seconds(self, node: str, role: str, stage: str, work: Work | None, device: Hardware) -> float:
        left = self._left.get((self._names[node], stage))
        if not left:
            raise InputError(
                f"{self._run}: the recorded run lacks spans: '{stage}' of {self._names[node]} was computed less often "
                f"than now: run the experiment again"
            )
        return left.popleft() * device.slowdown


def retime(recorded: Iterable[Span], old: Plan, new: Plan) -> list[Span]:
    """The spans of all of `old`'s runs as they would be with the nodes of `new`, both plans of one host.

    Raises `InputError` where the recording lacks spans, where the nodes of `new` cannot take the place of the old, or
    where what is learnt in a round depends on the times.
    """
    for node in old.nodes:
        says = synchrony(node.program)
        for run in old.runs:
            if says is None or not says(run.config):
                raise InputError(
                    f"{run.name}: what it learns in a round may depend on the times, so other times may have led to "
                    f"another accuracy: run it on the other testbed (program '{node.program}' does not say otherwise "
                    f"by a function synchronous(config))"
                )
    for role in sorted(old.peers.keys() | new.peers.keys()):
        was, is_now = len(old.peers.get(role, ())), len(new.peers.get(role, ()))
        if was != is_now:
            raise InputError(
                f"{is_now} nodes of role '{role}' cannot take the place of {was}: accuracy depends on their number"
            )
    names = {now: was for role, olds in old.peers.items() for now, was in zip(new.peers[role], olds, strict=True)}
    slowdowns = {node.name: node.slowdown for node in old.nodes}
    by_run = timeline.runs(recorded)
    for run in old.runs:
        _check_rounds(run.name, by_run.get(run.name, []), run.config["rounds"])
    plan = new.model_copy(
        update={
            "runs": [run.model_copy(update={"config": {**run.config, "training": False}}) for run in old.runs],
            "scale": 1.0,
        }
    )
    spans: list[Span] = []
    simulate(
        plan,
        lambda entry: spans.append(entry) if isinstance(entry, Span) else None,
        pricing=lambda run: Replay(run, by_run[run], slowdowns, names),
    )
    return spans


def replayed(recorded: Sequence[Span], plan: Plan) -> dict[str, Comparison]:
    """How each run of `plan` compares with itself at the CPU times that it measured: what it is off by is not the
    calibration's doing, but that of links and protocol. Nothing where it cannot be replayed."""
    try:
        again = timeline.runs(retime(recorded, plan, plan))
        return {
            run: compare(own, again[run], plan.scale) for run, own in timeline.runs(recorded).items() if run in again
        }
    except (InputError, ValueError):
        return {}


def _check_rounds(run: str, spans: list[Span], planned: int) -> None:
    try:
        there = len(timeline.rounds(spans))
    except ValueError as error:
        raise InputError(f"{run}: the recorded run lacks spans: {error}: run the experiment again") from None
    if there != planned:
        raise InputError(
            f"{run}: the recorded run lacks spans: it has {there} rounds of {planned}: run the experiment again"
        )


def check_recording(folder: Path) -> None:
    """Raises `InputError` unless `folder` is one that a finished run has left."""
    missing = [name for name in ("experiment.yaml", "timeline.jsonl", "result.json") if not (folder / name).is_file()]
    if missing:
        raise InputError(f"{folder}: no folder of a finished run: it has no {', '.join(missing)}")
