import pytest

from emulator.report.metrics import metrics_csv
from emulator.timeline import Metric

ELAPSED = {"psl": {0: 0.0, 1: 1.5, 2: 3.0}}


def test_each_node_has_a_row_a_round() -> None:
    metrics = [
        Metric("psl", 0, "server", "accuracy", 0.125),
        Metric("psl", 1, "server", "zeta", 7),
        Metric("psl", 1, "server", "loss", 2.5),
        Metric("psl", 1, "server", "accuracy", 0.5),
        Metric("psl", 1, "client, 1", "alpha", 0.25),
        Metric("psl", 2, "server", "loss", 2.0),
        Metric("psl", 2, "server", "loss", 1.0),
    ]
    assert metrics_csv(metrics, ELAPSED) == (
        "algorithm,round,emulated_s,node,accuracy,loss,alpha,zeta\n"
        "psl,0,0.0,server,0.125,,,\n"
        "psl,1,1.5,server,0.5,2.5,,7\n"
        'psl,1,1.5,"client, 1",,,0.25,\n'
        "psl,2,3.0,server,,1.0,,\n"
    )


def test_a_run_without_metrics_leaves_the_head() -> None:
    assert metrics_csv([], {}) == "algorithm,round,emulated_s,node\n"


def test_a_metric_needs_a_timed_round() -> None:
    with pytest.raises(ValueError, match="no timing: server recorded metrics in round 3 of run 'psl'"):
        metrics_csv([Metric("psl", 3, "server", "loss", 1.0)], ELAPSED)


def test_a_metric_may_not_take_a_column_of_the_table() -> None:
    with pytest.raises(ValueError, match="metric 'node' of server has the name of a column"):
        metrics_csv([Metric("psl", 1, "server", "node", 1.0)], ELAPSED)
