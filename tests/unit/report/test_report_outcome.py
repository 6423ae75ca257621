import json
from pathlib import Path

import pytest

from emulator.errors import InputError
from emulator.report import files
from emulator.report.folder import Folder, read
from emulator.report.outcome import Outcome, outcomes
from emulator.timeline import Span
from tests.made_runs import make_run
from tests.tolerance import assert_close


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return read(make_run(tmp_path_factory.mktemp("run"), algorithms=("gapsl", "psl", "sl"), rounds=4))


@pytest.fixture(scope="module")
def found(folder: Folder) -> dict[str, Outcome]:
    return {outcome.label: outcome for outcome in outcomes([folder])}


def test_an_outcome_has_the_numbers_of_the_result(folder: Folder, found: dict[str, Outcome]) -> None:
    assert folder.result is not None
    assert [*found] == [*folder.result["algorithms"]]
    for run, fields in folder.result["algorithms"].items():
        summary = found[run].summary
        assert summary.verdict.valid is fields["verdict"]["valid"] is True
        assert summary.rounds == fields["rounds"]
        assert summary.wall == fields["wall_s"]
        assert summary.time_to_target == fields["time_to_accuracy_s"]
        assert summary.traffic._asdict() == fields["bytes"]
        assert_close(summary.latency.p95, fields["round_latency_s"]["p95"])
        assert_close(sum(found[run].latencies.values()), fields["emulated_s"])


def test_the_client_behind_a_slow_device_and_link_is_the_straggler(found: dict[str, Outcome]) -> None:
    straggler = found["psl"].straggler
    assert straggler is not None
    assert (straggler.name, straggler.held_up) == ("client-1", 1.0)
    assert straggler.waiting < min(client.waiting for client in found["psl"].clients if client is not straggler)


def test_a_clients_round_is_its_stages_and_its_waiting(found: dict[str, Outcome]) -> None:
    for outcome in found.values():
        for client in outcome.clients:
            assert {"client_forward", "uplink", "downlink", "client_backward"} <= {*client.stages}
            assert_close(sum(client.stages.values()) + client.waiting, outcome.summary.latency.mean, what=client.name)
            assert client.critical <= outcome.summary.latency.mean


def test_what_goes_on_at_once_counts_once(tmp_path: Path) -> None:
    make_run(tmp_path, algorithms=("psl",), rounds=1)
    own = [span for span in read(tmp_path).spans["psl"] if span.node == "client-1" and not span.off_clock]
    forward = next(span for span in own if span.stage == "client_forward")
    beside = Span("psl", 1, "client-1", "beside", forward.start + forward.duration / 2, forward.end + 0.001)
    with (tmp_path / files.TIMELINE).open("a") as timeline:
        timeline.write(json.dumps(beside.to_fields()) + "\n")
    (outcome,) = outcomes([read(tmp_path)])
    client = next(client for client in outcome.clients if client.name == "client-1")
    assert_close(client.stages["client_forward"], forward.duration)
    assert_close(client.stages["beside"], 0.001)
    assert_close(sum(client.stages.values()) + client.waiting, outcome.summary.latency.mean)


def test_in_turns_every_client_is_on_the_critical_path(found: dict[str, Outcome]) -> None:
    assert [client.held_up for client in found["sl"].clients] == [1.0] * 4


def test_rounds_to_the_target_go_with_the_time_to_it(found: dict[str, Outcome]) -> None:
    outcome = found["psl"]
    assert outcome.rounds_to_target is not None
    assert outcome.elapsed[outcome.rounds_to_target] == outcome.summary.time_to_target
    assert outcome.accuracies[outcome.rounds_to_target].mean >= 0.6
    assert all(
        accuracy.mean < 0.6 for number, accuracy in outcome.accuracies.items() if number < outcome.rounds_to_target
    )


def test_runs_of_several_folders_have_their_folders_names(tmp_path: Path) -> None:
    folders = [read(make_run(tmp_path / name)) for name in ("slow", "fast")]
    assert [outcome.label for outcome in outcomes(folders)] == ["slow gapsl", "slow psl", "fast gapsl", "fast psl"]


def test_a_run_that_broke_off_in_its_first_round_has_no_outcome(tmp_path: Path) -> None:
    folder = read(make_run(tmp_path, rounds=1, finished=False))
    (outcome,) = outcomes([folder])
    assert outcome.label == "gapsl"
    assert outcome.summary.verdict.word == "not judged"


def test_a_prediction_is_read_from_the_result(tmp_path: Path) -> None:
    make_run(tmp_path)
    path = tmp_path / files.RESULT
    result = json.loads(path.read_text())
    result["algorithms"]["psl"]["predicted"] = {"round_latency_s": {"mean": 0.5, "median": 0.4}, "error": -0.1}
    path.write_text(json.dumps(result))
    gapsl, psl = outcomes([read(tmp_path)])
    assert gapsl.predicted is None
    assert psl.predicted == {"mean": 0.5, "median": 0.4, "error": -0.1}


def test_a_timeline_without_a_round_in_between_names_the_folder(tmp_path: Path) -> None:
    make_run(tmp_path, rounds=3)
    path = tmp_path / files.TIMELINE
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if '"round":2' not in line))
    with pytest.raises(InputError, match=f"^{tmp_path}: gapsl: no timing: run 'gapsl' has no span in round 2 of 3$"):
        outcomes([read(tmp_path)])
