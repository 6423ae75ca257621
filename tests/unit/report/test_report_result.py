import json

import pytest
from report_samples import HOST, spans, summary

from emulator.report import result
from emulator.report.summary import Accuracy, summarise
from emulator.timeline import Metric
from emulator.verdict import judge


def test_the_result_keeps_to_the_contract() -> None:
    built = result.build(
        [summary("gapsl"), summary("psl", target=None)],
        HOST,
        version="0.1.0",
        runtime="local",
        testbed="demo",
        seed=7,
    )
    assert list(built) == ["schema", "version", "runtime", "testbed", "seed", "host", "verdict", "algorithms"]
    assert built["schema"] == 1
    assert built["host"] == {
        "cores": 2,
        "cores_wanted": 1.25,
        "time_scale": 2.0,
        "hub_priority": None,
        "notes": ["hand-made"],
        "disturbances": [],
        "hosts": 1,
        "clock_error": 0.0,
        "clock_worst": "",
        "hub": None,
        "stolen": None,
        "kept_awake": False,
    }
    assert built["verdict"]["valid"] is True
    assert built["verdict"]["checks"][0] == {
        "name": "latency_error",
        "value": pytest.approx(0.004 / 5.0),
        "limit": 0.05,
        "unit": "share",
        "ok": True,
    }
    assert built["algorithms"]["gapsl"] == {
        "rounds": 2,
        "emulated_s": 5.0,
        "wall_s": 12.5,
        "round_latency_s": {"mean": 2.5, "median": 2.5, "p95": pytest.approx(2.95)},
        "accuracy": {"mean": 0.8125, "min": 0.75, "max": 0.875},
        "target_accuracy": 0.8,
        "time_to_accuracy_s": 5.0,
        "bytes": {"up": 6 * 2**20, "down": 2 * 2**20},
        "stages_s": {
            "client_forward": {"median": 0.5, "p95": 0.5},
            "uplink": {"median": 1.0, "p95": pytest.approx(1.45)},
            "server_step": {"median": 0.25, "p95": 0.25},
            "downlink": {"median": 0.25, "p95": 0.25},
            "client_backward": {"median": pytest.approx(0.498), "p95": pytest.approx(0.498)},
        },
        "verdict": {"valid": True, "checks": built["verdict"]["checks"]},
        "predicted": None,
    }
    assert built["algorithms"]["psl"]["target_accuracy"] is None
    assert built["algorithms"]["psl"]["time_to_accuracy_s"] is None
    assert json.loads(result.to_json(built)) == built


def test_a_failed_check_carries_its_reason() -> None:
    built = result.build([summary("gapsl", late=0.25)], HOST, version="0.1.0", runtime="local", testbed="demo", seed=7)
    assert built["verdict"]["valid"] is False
    failed = [check for check in built["verdict"]["checks"] if not check["ok"]]
    assert [check["name"] for check in failed] == ["latency_error", "compute_overrun", "timer_overshoot"]
    assert all(check["reason"] == "gapsl: the host was busy with other work" for check in failed)


def test_no_run_is_no_result() -> None:
    with pytest.raises(ValueError, match="no verdict"):
        result.build([], HOST, version="0.1.0", runtime="local", testbed="demo", seed=7)


@pytest.mark.parametrize(
    ("target", "reached"), [(0.1, 0.0), (0.3, 2.0), (0.5, 2.0), (0.51, 5.0), (0.9, None), (None, None)]
)
def test_the_time_to_a_target_ends_with_the_first_round_that_reaches_it(
    target: float | None, reached: float | None
) -> None:
    assert summary(target=target).time_to_target == reached


def test_a_workload_may_record_no_accuracy() -> None:
    made = summary(recorded=[Metric("gapsl", 1, "server", "loss", 0.5)])
    assert made.accuracy is None
    assert made.time_to_target is None


def test_accuracies_of_the_clients_themselves_are_put_together() -> None:
    made = summary(recorded=[Metric("gapsl", 2, f"c{n}", "accuracy", n / 4) for n in range(4)])
    assert made.accuracy == Accuracy(mean=0.375, min=0.0, max=0.75)


def test_the_mean_round_is_broken_down_by_stage() -> None:
    assert summary().breakdown == pytest.approx(
        {
            "client_forward": 0.5,
            "uplink": 1.0,
            "server_step": 0.25,
            "downlink": 0.25,
            "client_backward": 0.498,
            "overhead": 0.002,
        }
    )


def test_an_accuracy_without_timing_is_an_error() -> None:
    with pytest.raises(ValueError, match="an accuracy was recorded in round 3"):
        summary(recorded=[Metric("gapsl", 3, "server", "accuracy", 0.5)])


def test_a_run_without_spans_has_no_summary() -> None:
    verdict = judge(spans(), HOST)
    with pytest.raises(ValueError, match="no timing"):
        summarise([], [], servers={"server"}, wall=1.0, target=None, verdict=verdict)
