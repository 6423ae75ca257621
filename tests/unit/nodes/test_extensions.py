"""What is not the paper's: logit adjustment, proximal pull, a falling client rate."""

import fake_node
import numpy as np
import pytest
import torch
from workloads import algorithm, config, uploads, weights

from nodes import client, server
from nodes.config import read
from nodes.extensions import LabelPriors, ProximalPull
from nodes.options import ClientSchedule
from nodes.trainer import Trainer

ALGORITHMS = ["gapsl", "epsl", "psl", "sfl", "sl"]
ALL = {"logit_adjustment": 1.0, "proximal": 1.0, "client_schedule": {"shape": "cosine", "until": "50 %"}}


def run(name, rounds=4, **options):
    programs = {"server": server.main, "client": client.main}
    return fake_node.run(programs, config(name, rounds=rounds, algorithms={name: options}), 3)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_extensions_leave_every_algorithms_bytes_as_they_are_and_change_what_it_learns(name):
    plain, extended = run(name), run(name, **ALL)
    assert extended.traffic() == plain.traffic()
    assert extended.metrics["loss"] != plain.metrics["loss"]


def test_the_prior_is_what_the_server_counted_with_one_more_of_each_class():
    priors = LabelPriors(3, strength=2.0)
    priors.count("a", torch.tensor([0, 0, 1]))
    priors.count("a", torch.tensor([0]))
    adjusted = priors.adjust("a", torch.zeros(2, 3))
    assert adjusted[1].tolist() == pytest.approx((2 * np.log([4 / 7, 2 / 7, 1 / 7])).tolist())
    assert priors.adjust("b", torch.zeros(1, 3))[0].tolist() == pytest.approx([2 * np.log(1 / 3)] * 3)


@pytest.mark.parametrize("name", ["psl", "gapsl", "sfl", "epsl", "sl"])
def test_the_prior_enters_the_loss(name):
    clients = 1 if name == "sl" else 3
    batches = uploads(clients)
    for batch in batches:
        batch.labels.fill_(4)  # one class alone: its prior takes most of the loss away
    plain = algorithm(name, clients=clients).step(1, batches).losses
    adjusted = algorithm(name, clients=clients, logit_adjustment=1.0).step(1, batches).losses
    assert all(a < p for a, p in zip(adjusted, plain, strict=True))


def test_no_pull_at_the_start_and_a_pull_back_from_anywhere_else():
    weight = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    pull = ProximalPull([weight], 0.5)
    weight.grad = torch.zeros(2)
    pull.add_to_gradients()
    assert weight.grad.tolist() == [0, 0]
    with torch.no_grad():
        weight += torch.tensor([1.0, -2.0])
    pull.add_to_gradients()
    assert weight.grad.tolist() == [0.5, -1.0]


def test_a_schedule_falls_to_its_end_and_stays_there():
    constant, linear, cosine = (
        ClientSchedule.model_validate({"shape": shape, "until": "50 %", "end": "20 %"})
        for shape in ("constant", "linear", "cosine")
    )
    assert [constant.factor(round, 8) for round in (1, 8)] == [1, 1]
    assert [linear.factor(round, 8) for round in (1, 3, 5, 8)] == pytest.approx([1, 0.6, 0.2, 0.2])
    assert [cosine.factor(round, 8) for round in (1, 3, 5, 8)] == pytest.approx([1, 0.6, 0.2, 0.2])


def test_a_schedule_that_ends_in_0_freezes_the_client_from_then_on():
    schedule = {"shape": "linear", "until": "50 %"}
    trainer = Trainer(read(config("psl", rounds=4, algorithms={"psl": {"client_schedule": schedule}})), 0, 4)
    changed = []
    for round in (1, 2, 3, 4):
        before = weights(trainer.model)
        activations = trainer.forward()["activations"]
        trainer.backward(np.ones_like(activations), round)
        changed.append(any(not torch.equal(before[name], value) for name, value in weights(trainer.model).items()))
    assert changed == [True, True, False, False]


def test_a_pull_keeps_the_client_nearer_to_its_start():
    def distance(proximal):
        settings = read(config("psl", algorithms={"psl": {"proximal": proximal}}))
        trainer = Trainer(settings, 0, 4)
        start = weights(trainer.model)
        for _ in range(20):
            activations = trainer.forward()["activations"]
            trainer.backward(0.01 * np.ones_like(activations), 1)
        return sum(float((value - start[name]).norm()) for name, value in weights(trainer.model).items())

    assert distance(10.0) < 0.7 * distance(0.0)


def test_adamw_steps_by_its_rate():
    optimizer = {"name": "adamw", "server_rate": 0.003, "client_rate": 0.001}
    trainer = Trainer(read(config("psl", optimizer=optimizer)), 0, 4)
    before = weights(trainer.model)
    activations = trainer.forward()["activations"]
    trainer.backward(np.ones_like(activations), 1)
    moved = (weights(trainer.model)["0.bias"] - before["0.bias"]).abs()
    assert moved.tolist() == pytest.approx([0.001] * len(moved), rel=1e-3)  # whatever the gradient
    assert run("gapsl").metrics["loss"].keys() == {1, 2, 3, 4}
