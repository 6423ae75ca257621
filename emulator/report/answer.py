"""The report's first sentences: which algorithm was fastest to the target, and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emulator.critical_path import OVERHEAD
from emulator.report import text
from emulator.report.outcome import Outcome
from emulator.verdict import DEFAULT_LIMITS

STAGES = {
    "client_forward": "the clients' forward pass",
    "uplink": "the uplink",
    "server_step": "the server's step",
    "downlink": "the downlink",
    "client_backward": "the clients' backward pass",
    "model_up": "sending the models up",
    "aggregate": "averaging the models",
    "model_down": "sending the model down",
    "handover": "handing the model on",
    "wait": "waiting for a full link or for late clients",
    OVERHEAD: "gaps that the emulation left",
}
"""Stages in words; a workload's own are called by their names."""

TIE = DEFAULT_LIMITS.latency_error
"""Times that differ by no more than this share are not reported as different: the emulation may be off by as much."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A headline, and the sentences that say why."""

    headline: str
    reasons: Sequence[str]


def answer(outcomes: Sequence[Outcome], hardware: Mapping[str, str]) -> Answer:
    """What the runs say together; `hardware` says of each node what it is. `ValueError` without a run."""
    if not outcomes:
        raise ValueError("no run to speak of")
    targets = {outcome.summary.target for outcome in outcomes}
    reached = sorted((o for o in outcomes if o.summary.time_to_target is not None), key=_time)
    if len(targets) > 1 or None in targets or not any(outcome.accuracies for outcome in outcomes):
        return _by_latency(outcomes, hardware)
    (target,) = targets
    assert target is not None
    if not reached:
        rounds = max(outcome.summary.rounds for outcome in outcomes)
        return Answer(
            f"None reached {_percent(target)} accuracy in {_count(rounds, 'round')}"
            if len(outcomes) > 1
            else f"{outcomes[0].label} did not reach {_percent(target)} accuracy in {_count(rounds, 'round')}",
            [*_nearest(outcomes), *_slowest_client(min(outcomes, key=_latency), hardware)],
        )
    first, *later = reached
    ties = [outcome for outcome in later if _time(outcome) <= _time(first) * (1 + TIE)]
    together = [first, *ties]
    if len(outcomes) == 1:
        headline = f"{first.label} reached {_percent(target)} accuracy after {text.seconds(_time(first))}"
    elif ties:
        times = " and ".join(text.seconds(_time(outcome)) for outcome in (first, ties[-1]))
        headline = (
            f"{_list(together)} were first to {_percent(target)} accuracy, within {text.percent(TIE)} of each other"
        )
        headline += f": between {times}"
    else:
        headline = f"{first.label} was first to {_percent(target)} accuracy: after {text.seconds(_time(first))}"
    never = [outcome for outcome in outcomes if outcome.summary.time_to_target is None]
    reasons = [f"It needed {_needed(first)}." if not ties else f"{first.label} needed {_needed(first)}."]
    reasons += [_against(outcome, first) for outcome in later]
    if never:
        reasons.append(f"{_list(never)} did not reach {_percent(target)}.")
    return Answer(headline, [*reasons, *_slowest_client(first, hardware), *_resolution(first)])


def _by_latency(outcomes: Sequence[Outcome], hardware: Mapping[str, str]) -> Answer:
    first, *later = sorted(outcomes, key=_latency)
    if later:
        headline = f"{first.label} had the shortest rounds: {text.seconds(_latency(first))} on average"
    else:
        headline = f"A round of {first.label} took {text.seconds(_latency(first))} on average"
    reasons = [f"{o.label}: {text.seconds(_latency(o))}{_mostly(o, first)}." for o in later]
    return Answer(headline, [*reasons, *_slowest_client(first, hardware)])


def _against(outcome: Outcome, first: Outcome) -> str:
    """One that came later: how much longer it took, by its rounds and by their length."""
    ours, theirs = outcome.rounds_to_target, first.rounds_to_target
    time = f"{outcome.label} reached it after {text.seconds(_time(outcome))}"
    if not ours or not theirs or not _time(first):
        return f"{time}."
    each, each_first = _time(outcome) / ours, _time(first) / theirs
    ratio = f"{_time(outcome) / _time(first):.2f} times as long"
    said = (
        f"{time}, {ratio}: {_count(ours, 'round')} against {theirs}, "
        f"of {text.seconds(each)} against {text.seconds(each_first)} each{_mostly(outcome, first)}."
    )
    before = _tested_before(outcome)
    if ours - before <= 1 or outcome.elapsed[before] > _time(first) * (1 + TIE):
        return said
    return f"{said} Accuracy was tested too rarely to tell the two apart: it may have reached it as early."


def _mostly(outcome: Outcome, first: Outcome) -> str:
    """The stage that makes most of the difference between two mean rounds; nothing where they are about as long."""
    ours, theirs = outcome.summary, first.summary
    difference = ours.latency.mean - theirs.latency.mean
    if abs(difference) <= TIE * theirs.latency.mean:
        return ""
    sign = 1 if difference > 0 else -1
    parts = {
        stage: sign * (ours.breakdown.get(stage, 0.0) - theirs.breakdown.get(stage, 0.0))
        for stage in {**ours.breakdown, **theirs.breakdown}
    }
    stage = max(parts, key=lambda stage: parts[stage])
    values = (text.seconds(summary.breakdown.get(stage, 0.0)) for summary in (ours, theirs))
    return f" (the largest part of the difference: {STAGES.get(stage, stage)}, {' against '.join(values)})"


def _needed(outcome: Outcome) -> str:
    rounds, seconds = outcome.rounds_to_target, _time(outcome)
    if not rounds:
        return "no round: it began there"
    parts = {stage: part for stage, part in outcome.summary.breakdown.items() if stage != OVERHEAD}
    stage = max(parts, key=lambda stage: parts[stage])
    share = text.percent(parts[stage] / outcome.summary.latency.mean)
    return (
        f"{_count(rounds, 'round')} of {text.seconds(seconds / rounds)} on average, of which "
        f"{STAGES.get(stage, stage)} is the largest part ({share})"
    )


def _slowest_client(outcome: Outcome, hardware: Mapping[str, str]) -> list[str]:
    straggler = outcome.straggler
    if straggler is None or straggler.critical <= 0:
        return []
    what = f" ({hardware[straggler.name]})" if straggler.name in hardware else ""
    return [
        f"What a round of {outcome.label} waits for is mostly {straggler.name}{what}: it is on the critical path of "
        f"{text.percent(straggler.held_up)} of the rounds, with {text.percent(straggler.critical / _latency(outcome))} "
        "of their time."
    ]


def _nearest(outcomes: Sequence[Outcome]) -> list[str]:
    found = [(o.summary.accuracy.mean, o) for o in outcomes if o.summary.accuracy is not None]
    if not found or len(outcomes) == 1:
        return [f"It ended at {text.share(mean)}." for mean, _ in found]
    mean, best = max(found, key=lambda pair: pair[0])
    return [f"{best.label} came nearest: {text.share(mean)} at its end, after {text.seconds(best.summary.emulated)}."]


def _resolution(outcome: Outcome) -> list[str]:
    rounds = outcome.rounds_to_target
    if not rounds or rounds - (before := _tested_before(outcome)) <= 1:
        return []
    late = text.seconds(outcome.elapsed[rounds] - outcome.elapsed[before])
    return [
        f"Accuracy was tested every {rounds - before} rounds: a time to the target may be up to {late} later than the "
        "moment it was reached."
    ]


def _tested_before(outcome: Outcome) -> int:
    """The last round whose accuracy was tested, and was below the target."""
    rounds = outcome.rounds_to_target or 0
    return max((number for number in outcome.accuracies if number < rounds), default=0)


def _time(outcome: Outcome) -> float:
    assert outcome.summary.time_to_target is not None
    return outcome.summary.time_to_target


def _latency(outcome: Outcome) -> float:
    return outcome.summary.latency.mean


def _percent(share: float) -> str:
    return f"{100 * share:g} %"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _list(outcomes: Sequence[Outcome]) -> str:
    *most, last = (outcome.label for outcome in outcomes)
    return f"{', '.join(most)} and {last}" if most else last
