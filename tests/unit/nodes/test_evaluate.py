"""The three views of the same models, and the checkpoint."""

import numpy as np
import pytest
import torch
from workloads import config

from nodes import checkpoint
from nodes.config import read
from nodes.data import KINDS, Samples
from nodes.evaluate import Spread, evaluate
from nodes.models import build
from nodes.state import take
from nodes.training import Training


class Favour(torch.nn.Module):
    """Scores that favour the class its weight names, whatever the image."""

    def __init__(self):
        super().__init__()
        self.favourite = torch.nn.Parameter(torch.zeros(10))

    def forward(self, images):
        return self.favourite.expand(len(images), 10)


class Scale(torch.nn.Module):
    def __init__(self, by):
        super().__init__()
        self.by = torch.nn.Parameter(torch.tensor(by))

    def forward(self, scores):
        return self.by * scores


def samples(labels):
    return Samples(np.zeros((len(labels), 1, 8, 8), dtype=np.uint8), np.array(labels), KINDS["digits"])


def favourite(label):
    return {"favourite": torch.eye(10)[label].numpy()}


def mix(**held):
    return [held.get(f"c{label}", 0) for label in range(10)]


def test_each_pair_is_tested_on_everything_and_on_its_own_label_mix():
    mixes = np.array([mix(c0=5), mix(c0=1, c1=3)], dtype=float)
    found = evaluate(Favour(), [favourite(0), favourite(1)], [Scale(1.0), Scale(2.0)], mixes, samples([0, 0, 0, 1]))
    assert found.everyone == Spread(0.5, 0.25, 0.75)
    assert found.own == Spread((1.0 + 0.75) / 2, 0.75, 1.0)
    assert found.ensemble == 0.25  # the second pair is surer of itself
    assert found.metrics()["accuracy_own_max"] == 1.0


def test_one_model_for_all_is_tested_on_each_clients_mix():
    mixes = np.array([mix(c0=1), mix(c1=1), mix(c0=1, c1=1)], dtype=float)
    found = evaluate(Favour(), [favourite(0)], [Scale(1.0)] * 3, mixes, samples([0, 1, 1, 1]))
    assert found.everyone == Spread(0.25, 0.25, 0.25)
    assert found.own == Spread(0.5, 0.0, 1.0)


def test_classes_that_the_test_set_lacks_count_for_nobody():
    mixes = np.array([mix(c0=1, c9=99), mix(c9=1)], dtype=float)
    found = evaluate(Favour(), [favourite(0)] * 2, [Scale(1.0)] * 2, mixes, samples([0, 1]))
    assert found.own == Spread(0.5, 0.0, 1.0)


def training(**evaluate_options):
    workload = {"evaluate": {"samples": 50, **evaluate_options}}
    return Training(read(config("psl", **workload)), [100, 100], np.ones((2, 10)))


def upload(value):
    return {"activations": np.full((4, 8, 4, 4), value, np.float32), "labels": np.zeros(4, np.uint8)}


def test_a_loss_that_is_no_number_says_where_the_last_good_models_are(tmp_path):
    one = training(checkpoint=str(tmp_path / "kept"))
    states = [take(build(read(config()).workload.model.architecture, 1, stop=2))] * 2
    one.evaluate(6, dict(enumerate(states)))
    server = take(one._algorithm.model)
    with pytest.raises(FloatingPointError, match=r"round 7: the loss of b is nan.*the models of round 6 are in .*kept"):
        one.step(7, [("a", upload(1.0)), ("b", upload(float("nan")))])

    round, models = checkpoint.read(tmp_path / "kept" / "psl-seed-1.npz")
    assert round == 6
    assert sorted(models) == ["client-0", "client-1", "server"]
    assert all((models["server"][name] == value).all() for name, value in server.items())
    assert all((models["client-1"][name] == value).all() for name, value in states[1].items())
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["psl-seed-1.npz"]


def test_models_that_are_no_numbers_do_not_take_the_place_of_those_that_were_kept(tmp_path):
    one = training(checkpoint=str(tmp_path))
    state = take(build(read(config()).workload.model.architecture, 1, stop=2))
    one.evaluate(1, {0: state, 1: state})
    one.evaluate(2, {0: state, 1: {name: value * np.nan for name, value in state.items()}})
    assert checkpoint.read(tmp_path / "psl-seed-1.npz")[0] == 1


def test_without_a_checkpoint_the_failure_says_how_to_have_one(tmp_path):
    with pytest.raises(FloatingPointError, match=r"loss of a is nan.*set workload.evaluate.checkpoint"):
        training().step(1, [("a", upload(float("nan"))), ("b", upload(1.0))])
    with pytest.raises(FloatingPointError, match="no round had been evaluated yet"):
        training(checkpoint=str(tmp_path)).step(1, [("a", upload(float("nan"))), ("b", upload(1.0))])
