import fake_node
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


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_rehearsal_takes_turns_and_averages_when_the_algorithm_does(algorithm):
    settings = read(config(algorithm, batch_size=16))
    samples = [100, 250, 37]
    real, rehearsed = Training(settings, samples), RehearsedTraining(settings, samples)
    assert rehearsed.in_turns == real.in_turns
    averages = [rehearsed.averages_after(round) for round in range(1, 40)]
    assert averages == [real.averages_after(round) for round in range(1, 40)]
    assert any(averages) == (algorithm == "sfl")
