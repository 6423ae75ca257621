"""The report's first sentences: which algorithm was fastest to the target, and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

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

ONCE = "Each ran once, with one seed: with another it may need more rounds, or fewer."


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
    if len(targets) > 1 or None in targets or not any(outcome.accuracies for outcome in outcomes):
        return _by_latency(_named(outcomes), hardware)
    (target,) = targets
    assert target is not None
    said = _by_time(_named(outcomes), target, hardware)
    return Answer(said.headline, [*said.reasons, *([ONCE] if len(outcomes) > 1 else [])])


def _named(outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
    """With the names of those that are not to be believed saying so, where others are."""
    words = {outcome.summary.verdict.word for outcome in outcomes}
    if len(words) == 1:
        return outcomes
    return [
        one if one.summary.verdict.valid else replace(one, label=f"{one.label} ({one.summary.verdict.word})")
        for one in outcomes
    ]


def _by_time(outcomes: Sequence[Outcome], target: float, hardware: Mapping[str, str]) -> Answer:
    reached = sorted((o for o in outcomes if o.summary.time_to_target is not None), key=_time)
    if not reached:
        return _never(outcomes, target, hardware)
    first, *later = reached
    ties = [outcome for outcome in later if _time(outcome) <= _time(first) * (1 + TIE)]
    behind = later[len(ties) :]
    unclear = [outcome for outcome in behind if _may_be_as_early(outcome, first)]
    goal = f"{_percent(target)} accuracy"
    if len(outcomes) == 1:
        headline = f"{first.label} reached {goal} after {text.seconds(_time(first))}"
    elif ties:
        times = " and ".join(text.seconds(_time(outcome)) for outcome in (first, ties[-1]))
        together = _list([first, *ties])
        headline = f"{together} were first to {goal}, within {text.percent(TIE)} of each other: between {times}"
    else:
        seen = "the first seen at" if unclear else "first to"
        headline = f"{first.label} was {seen} {goal}: after {text.seconds(_time(first))}"
    subjects = [f"{outcome.label} needed" for outcome in (first, *ties)] if ties else ["It needed"]
    reasons = [f"{who} {_needed(outcome)}." for who, outcome in zip(subjects, (first, *ties), strict=True)]
    reasons += [_against(outcome, first) for outcome in behind]
    never = [outcome for outcome in outcomes if outcome.summary.time_to_target is None]
    if never:
        reasons.append(f"{_list(never)} did not reach {_percent(target)}.")
    return Answer(headline, [*reasons, *_slowest_client(first, hardware), *_resolution(first, unclear)])


def _never(outcomes: Sequence[Outcome], target: float, hardware: Mapping[str, str]) -> Answer:
    rounds = _count(max(outcome.summary.rounds for outcome in outcomes), "round")
    quickest = min(outcomes, key=_latency)
    slowest = _slowest_client(quickest, hardware)
    if len(outcomes) == 1:
        return Answer(
            f"{quickest.label} did not reach {_percent(target)} accuracy in {rounds}", [*_nearest(outcomes), *slowest]
        )
    shortest = f"{quickest.label} had the shortest rounds: {text.seconds(_latency(quickest))} on average."
    return Answer(f"None reached {_percent(target)} accuracy in {rounds}", [*_nearest(outcomes), shortest, *slowest])


def _by_latency(outcomes: Sequence[Outcome], hardware: Mapping[str, str]) -> Answer:
    first, *later = sorted(outcomes, key=_latency)
    if later:
        headline = f"{first.label} had the shortest rounds: {text.seconds(_latency(first))} on average"
    else:
        headline = f"A round of {first.label} took {text.seconds(_latency(first))} on average"
    reasons = [f"{o.label}: {text.seconds(_latency(o))}{_mostly(o, first)}." for o in later]
    return Answer(headline, [*reasons, *_slowest_client(first, hardware)])


def _against(outcome: Outcome, first: Outcome) -> str:
    """One that came later: how much longer it took, and whether by its rounds' number or by their length."""
    ours, theirs = outcome.rounds_to_target, first.rounds_to_target
    time = f"{outcome.label} reached it after {text.seconds(_time(outcome))}"
    if not ours or not theirs or not _time(first):
        return f"{time}."
    each, each_first = _time(outcome) / ours, _time(first) / theirs
    more, longer = ours / theirs, each / each_first
    length = f"{text.seconds(each)} against {text.seconds(each_first)} each"
    number = f"{ours} against {theirs}"
    if more >= longer:
        others = (
            "longer ones" if longer > 1 + TIE else "shorter ones" if longer < 1 - TIE else "of about the same length"
        )
        why = f"it needed more rounds, {number}, {others}, {length}{_mostly(outcome, first)}"
    else:
        others = "more of them" if more > 1 else "fewer of them" if more < 1 else "as many"
        why = f"its rounds are longer, {length}{_mostly(outcome, first)}, and it needed {others}, {number}"
    return f"{time}, {_time(outcome) / _time(first):.2f} times as long: {why}."


def _may_be_as_early(outcome: Outcome, first: Outcome) -> bool:
    """Whether accuracy was tested too rarely to say that it came later."""
    rounds, before = outcome.rounds_to_target or 0, _tested_before(outcome)
    return rounds - before > 1 and outcome.elapsed[before] <= _time(first) * (1 + TIE)


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
        f"A round of {outcome.label} waits mostly for {straggler.name}{what}: it is on the critical path of "
        f"{text.percent(straggler.held_up)} of the rounds, with {text.percent(straggler.critical / _latency(outcome))} "
        "of their time."
    ]


def _nearest(outcomes: Sequence[Outcome]) -> list[str]:
    found = [(o.summary.accuracy.mean, o) for o in outcomes if o.summary.accuracy is not None]
    if not found or len(outcomes) == 1:
        return [f"It ended at {text.share(mean)}." for mean, _ in found]
    mean, best = max(found, key=lambda pair: pair[0])
    return [f"{best.label} came nearest: {text.share(mean)} at its end, after {text.seconds(best.summary.emulated)}."]


def _resolution(outcome: Outcome, unclear: Sequence[Outcome]) -> list[str]:
    rounds = outcome.rounds_to_target
    if unclear:
        every = max(one.rounds_to_target - _tested_before(one) for one in unclear if one.rounds_to_target)
        return [
            f"Accuracy was tested every {every} rounds, too rarely to tell {outcome.label} from {_list(unclear)}: they "
            "may have been there as early."
        ]
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
