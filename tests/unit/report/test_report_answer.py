from dataclasses import replace
from pathlib import Path

import pytest

from emulator.report.answer import answer
from emulator.report.folder import read
from emulator.report.outcome import Outcome, outcomes
from tests.made_runs import make_run

HARDWARE = {"client-1": "raspberry-pi-3, wifi-4-far"}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[Outcome]:
    folder = make_run(tmp_path_factory.mktemp("run"), algorithms=("gapsl", "psl", "sl"), rounds=20)
    return outcomes([read(folder)])


def with_time(outcome: Outcome, number: int | None) -> Outcome:
    time = None if number is None else outcome.elapsed[number]
    return replace(outcome, summary=replace(outcome.summary, time_to_target=time))


def test_the_first_to_the_target_is_named_with_its_time_and_its_reasons(found: list[Outcome]) -> None:
    gapsl, psl, sl = (with_time(outcome, number) for outcome, number in zip(found, (12, 10, None), strict=True))
    said = answer([gapsl, psl, sl], HARDWARE)
    assert said.headline.startswith("psl was first to 60 % accuracy: after ")
    needed, later, never, client, once = said.reasons
    assert needed.startswith("It needed 10 rounds of ")
    assert later.startswith("gapsl reached it after ")
    assert "times as long: it needed more rounds, 12 against 10, of about the same length, " in later
    assert never == "sl did not reach 60 %."
    assert "client-1 (raspberry-pi-3, wifi-4-far): it is on the critical path of 100 % of the rounds" in client
    assert "one seed" in once


def test_times_that_the_emulation_cannot_tell_apart_are_a_tie(found: list[Outcome]) -> None:
    gapsl, psl, _ = found
    said = answer([with_time(gapsl, 10), with_time(psl, 10)], {})
    assert "gapsl" in said.headline
    assert "psl" in said.headline
    assert "were first to 60 % accuracy, within 5 % of each other" in said.headline


def test_a_longer_round_is_put_down_to_the_stage_that_makes_it_longer(found: list[Outcome]) -> None:
    _, psl, sl = found
    said = answer([with_time(psl, 10), with_time(sl, 10)], {})
    (later,) = (reason for reason in said.reasons if reason.startswith("sl reached"))
    parts = {stage: sl.summary.breakdown[stage] - psl.summary.breakdown.get(stage, 0) for stage in sl.summary.breakdown}
    assert max(parts, key=lambda stage: parts[stage]) == "uplink"
    assert "its rounds are longer, " in later
    assert "(the largest part of the difference: the uplink, " in later
    assert later.endswith(", and it needed as many, 10 against 10.")


def test_a_target_that_nobody_reached_is_said_and_who_came_nearest(found: list[Outcome]) -> None:
    said = answer([with_time(outcome, None) for outcome in found], {})
    assert said.headline == "None reached 60 % accuracy in 20 rounds"
    assert said.reasons[0].startswith("sl came nearest: ")
    assert said.reasons[1].startswith("psl had the shortest rounds: ")
    assert said.reasons[2].startswith("A round of psl waits mostly for client-1")


def test_one_run_alone_is_first_of_nothing(found: list[Outcome]) -> None:
    assert answer(found[:1], {}).headline.startswith("gapsl reached 60 % accuracy after ")
    assert answer([with_time(found[0], None)], {}).headline == "gapsl did not reach 60 % accuracy in 20 rounds"


def test_a_workload_without_accuracy_is_judged_by_its_rounds(found: list[Outcome]) -> None:
    without = [replace(outcome, accuracies={}, summary=replace(outcome.summary, target=None)) for outcome in found]
    assert answer(without[1:], {}).headline.startswith("psl had the shortest rounds: ")
    assert answer(without[:1], {}).headline.startswith("A round of gapsl took ")


def test_accuracy_tested_now_and_then_makes_times_late_and_says_so(tmp_path: Path) -> None:
    (outcome,) = outcomes([read(make_run(tmp_path, algorithms=("psl",), rounds=20, every=5))])
    assert answer([outcome], {}).reasons[-1].startswith("Accuracy was tested every 5 rounds: ")


def test_no_run_is_no_answer() -> None:
    with pytest.raises(ValueError, match="no run"):
        answer([], {})


def test_times_between_two_tests_of_the_accuracy_are_not_told_apart(tmp_path: Path) -> None:
    gapsl, psl = outcomes([read(make_run(tmp_path, rounds=20, every=5))])
    said = answer([with_time(gapsl, 15), with_time(psl, 10)], {})
    assert said.headline.startswith("psl was the first seen at 60 % accuracy: ")
    assert "Accuracy was tested every 5 rounds, too rarely to tell psl from gapsl: " in " ".join(said.reasons)
    said = answer([with_time(gapsl, 20), with_time(psl, 10)], {})
    assert said.headline.startswith("psl was first to 60 % accuracy: ")
    assert not any("too rarely" in reason for reason in said.reasons)


def test_one_that_is_not_to_be_believed_is_named_so_beside_others_that_are(tmp_path: Path) -> None:
    folders = [make_run(tmp_path / name, rounds=5, late=late) for name, late in (("idle", 0.0), ("busy", 0.05))]
    found = outcomes([read(folder) for folder in folders])
    said = answer([with_time(outcome, number) for outcome, number in zip(found, (5, 5, 5, 2), strict=True)], {})
    assert said.headline.startswith("busy psl (INVALID) was first to 60 % accuracy: ")
    assert not any("idle psl (" in reason for reason in said.reasons)
    alone = answer([outcome for outcome in found if "busy" in outcome.label], {})
    assert "(INVALID)" not in alone.headline
