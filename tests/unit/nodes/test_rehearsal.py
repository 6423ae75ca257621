import fake_node
import numpy as np
import pytest
from workloads import config

from nodes import client, server
from nodes.config import read
from nodes.rehearsal import RehearsedTraining
from nodes.training import Training

ALGORITHMS = ["gapsl", "epsl", "psl", "sfl", "sl"]


def run(algorithm, *, training, **workload):
    made = {**config(algorithm, rounds=3, **workload), "training": training}
    return fake_node.run({"server": server.main, "client": client.main}, made, clients=3)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_rehearsal_puts_the_same_bytes_on_the_wire_and_learns_nothing(algorithm):
    options = {"algorithms": {"sfl": {"interval": 2}}, "evaluate": {"every": 2}}
    trained, rehearsed = (run(algorithm, training=training, **options) for training in (True, False))
    assert rehearsed.traffic() == trained.traffic()
    assert sorted(rehearsed.computed) == sorted(trained.computed)
    assert "accuracy" in trained.metrics
    assert not rehearsed.metrics


@pytest.mark.parametrize(
    ("algorithm", "options"),
    [("sl", {"handover": "epoch"}), ("sfl", {"server": "v1", "interval": 1}), ("gapsl", {"memory": "low"})],
)
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_whatever_the_options_a_rehearsal_sends_the_same_bytes(algorithm, options, norm):
    workload = {"algorithms": {algorithm: options}, "model": {"name": "digits-cnn", "cut": 3, "norm": norm}}
    trained, rehearsed = (run(algorithm, training=training, **workload) for training in (True, False))
    assert rehearsed.traffic() == trained.traffic()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_rehearsal_averages_when_the_algorithm_does(algorithm):
    settings = read(config(algorithm, batch_size=16))
    samples = [100, 250, 37]
    real, rehearsed = Training(settings, samples, np.ones((3, 10))), RehearsedTraining(settings, samples)
    averages = [rehearsed.averages_after(round) for round in range(1, 40)]
    assert averages == [real.averages_after(round) for round in range(1, 40)]
    assert any(averages) == (algorithm == "sfl")
