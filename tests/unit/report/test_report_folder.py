import json
from pathlib import Path

import pytest

from emulator.errors import InputError
from emulator.report import files
from emulator.report.folder import read
from emulator.timeline import Span
from tests.made_runs import make_run


def test_a_finished_run_is_read_back(tmp_path: Path) -> None:
    folder = read(make_run(tmp_path / "run", rounds=3))
    assert folder.name == "run"
    assert folder.word == folder.verdict.word == "VALID"
    assert folder.servers == {"server"}
    assert [*folder.spans] == [*folder.metrics] == ["gapsl", "psl"]
    assert {span.round for span in folder.spans["psl"]} == {1, 2, 3}
    recorded = {(metric.round, metric.name): metric.value for metric in folder.metrics["psl"]}
    assert folder.result is not None
    assert recorded[3, "accuracy"] == folder.result["algorithms"]["psl"]["accuracy"]["mean"]


def test_a_run_with_late_computations_is_invalid(tmp_path: Path) -> None:
    folder = read(make_run(tmp_path, late=0.05))
    assert folder.word == "INVALID"
    assert any(check.reason for check in folder.verdict.checks)


def test_of_a_run_that_broke_off_only_whole_rounds_count(tmp_path: Path) -> None:
    folder = read(make_run(tmp_path, rounds=3, finished=False))
    assert folder.word == "UNFINISHED"
    assert folder.verdict.word == "not judged"
    assert {span.round for span in folder.spans["gapsl"]} == {1, 2, 3}
    assert {span.round for span in folder.spans["psl"]} == {1, 2}


def test_what_a_run_failed_of_is_read(tmp_path: Path) -> None:
    make_run(tmp_path, finished=False)
    (tmp_path / files.FAILURE).write_text("psl: client-1 failed: out of memory\n")
    folder = read(tmp_path)
    assert (folder.word, folder.failure) == ("FAILED", "psl: client-1 failed: out of memory")


def test_a_run_without_a_round_is_empty(tmp_path: Path) -> None:
    make_run(tmp_path)
    for name in (files.TIMELINE, files.METRICS, files.RESULT):
        (tmp_path / name).unlink()
    folder = read(tmp_path)
    assert (folder.word, dict(folder.spans), dict(folder.metrics)) == ("EMPTY", {}, {})


def test_a_line_cut_short_by_a_killed_run_is_left_out(tmp_path: Path) -> None:
    make_run(tmp_path, finished=False)
    whole = read(tmp_path).spans
    with (tmp_path / files.TIMELINE).open("ab") as timeline:
        timeline.write(b'{"run":"psl","round":4,"no')
    assert read(tmp_path).spans == whole


def test_a_folder_that_is_none_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"^{tmp_path}/none: not a run's folder: it has no experiment.yaml$"):
        read(tmp_path / "none")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not the result of a run"),
        ("[]", "not the result of a run"),
        ('{"schema": 1}', r"not the result of a run \(KeyError: 'verdict'\)"),
        ('{"schema": 1, "verdict": {"valid": true, "checks": [{"name": 1}]}}', "not the result of a run"),
        ('{"schema": 7, "verdict": {"valid": true, "checks": []}}', "schema 7 is unknown to this version"),
    ],
)
def test_a_result_that_is_none_is_named(tmp_path: Path, text: str, message: str) -> None:
    make_run(tmp_path)
    (tmp_path / files.RESULT).write_text(text)
    with pytest.raises(InputError, match=f"^{tmp_path}/result.json: {message}"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("round,algorithm\n", "1: the columns algorithm, round, emulated_s, node should come first"),
        ("algorithm,round,emulated_s,node,loss\npsl,one,0,server,1\n", "2: invalid literal"),
        ("algorithm,round,emulated_s,node,loss\npsl,1,0,server,much\n", "2: could not convert"),
        ("algorithm,round,emulated_s,node,loss\npsl,1,0,server,nan\n", "2: metric loss of server in round 1 is nan"),
        ("algorithm,round,emulated_s,node,loss\npsl\n", "2: invalid literal"),
    ],
)
def test_metrics_that_are_none_are_named(tmp_path: Path, text: str, message: str) -> None:
    make_run(tmp_path)
    (tmp_path / files.METRICS).write_text(text)
    with pytest.raises(InputError, match=f"^{tmp_path}/metrics.csv:{message}"):
        read(tmp_path)


def test_a_result_of_before_runs_had_verdicts_of_their_own_is_read(tmp_path: Path) -> None:
    make_run(tmp_path)
    path = tmp_path / files.RESULT
    result = json.loads(path.read_text())
    for fields in result["algorithms"].values():
        del fields["verdict"]
    path.write_text(json.dumps(result))
    assert read(tmp_path).word == "VALID"


PREDICTION = """algorithm,round,node,stage,peer,measured_start_s,predicted_start_s,measured_s,predicted_s,error
psl,1,client-1,client_forward,,0.0,0.0,0.02,0.025,0.25
psl,1,client-1,uplink,server,0.02,0.025,0.05,0.04,-0.2
psl,1,client-2,uplink,server,0.02,,0.05,,
"""


def test_a_prediction_is_read_span_by_span(tmp_path: Path) -> None:
    make_run(tmp_path)
    (tmp_path / files.PREDICTION).write_text(PREDICTION)
    assert read(tmp_path).predicted == {
        "psl": [
            Span("psl", 1, "client-1", "client_forward", 0.0, 0.025, source="modelled"),
            Span("psl", 1, "client-1", "uplink", 0.025, 0.065, source="modelled", peer="server"),
        ]
    }


@pytest.mark.parametrize("cell", ["", "late", "nan"])
def test_a_prediction_that_is_none_is_named(tmp_path: Path, cell: str) -> None:
    make_run(tmp_path)
    (tmp_path / files.PREDICTION).write_text(PREDICTION.replace(",0.02,0.025,0.05", f",0.02,{cell},0.05"))
    with pytest.raises(InputError, match=f"^{tmp_path}/prediction.csv:3: "):
        read(tmp_path)
