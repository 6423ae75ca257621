"""The server steps against each other and against plain autograd."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from workloads import algorithm, uploads, weights

from nodes import config
from nodes.algorithms import ALGORITHMS, Averaging, named
from nodes.algorithms.gapsl import GAPSL
from nodes.alignment import angles, consistent, scores


def assert_same(one, other, *, exactly=False):
    tolerance = {"rtol": 0, "atol": 0} if exactly else {"rtol": 1e-4, "atol": 1e-6}
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, **tolerance)


def several_steps(method, clients, batch=8, rounds=4):
    """All activation gradients, losses and final weights of some rounds."""
    results = []
    for round in range(1, rounds + 1):
        step = method.step(round, uploads(clients, batch, seed=round))
        results += [*step.gradients, torch.tensor(step.losses)]
    return [*results, *weights(method.model).values()]


def own_gradients(model, upload):
    """Gradients of one client's own mean loss: of its activations, and of the server-side model."""
    activations = upload.activations.clone().requires_grad_()
    loss = cross_entropy(model(activations), upload.labels)
    of_activations, *of_parameters = torch.autograd.grad(loss, [activations, *model.parameters()])
    return of_activations, of_parameters


def test_psl_steps_along_the_mean_and_returns_each_clients_own_gradient():
    method = algorithm("psl", clients=3)
    before = copy.deepcopy(method.model)
    batches = uploads(3)
    own = [own_gradients(before, upload) for upload in batches]

    step = method.step(1, batches)

    assert_same(step.gradients, [of_activations for of_activations, _ in own])
    mean = [sum(parts) / 3 for parts in zip(*(of_parameters for _, of_parameters in own), strict=True)]
    rate = method.settings.optimizer.server_rate
    expected = [p - rate * g for p, g in zip(before.parameters(), mean, strict=True)]
    assert_same(method.parameters, expected)


def test_epsl_with_phi_0_is_psl_to_the_last_bit():
    psl = several_steps(algorithm("psl", clients=3), clients=3)
    epsl = several_steps(algorithm("epsl", clients=3, phi=0), clients=3)
    assert_same(epsl, psl, exactly=True)


@pytest.mark.parametrize("phi", [0.01, 0.5, 1.0])
def test_epsl_broadcasts_one_gradient_for_the_averaged_samples(phi):
    step = algorithm("epsl", clients=3, phi=phi).step(1, uploads(3))
    averaged = {0.01: 1, 0.5: 4, 1.0: 8}[phi]
    assert all(gradient.shape == (8, 8, 4, 4) for gradient in step.gradients)
    first = step.gradients[0]
    for other in step.gradients[1:]:
        assert torch.equal(first[:averaged], other[:averaged])
        assert not any(torch.equal(first[k], other[k]) for k in range(averaged, 8))


def test_epsl_goes_back_through_the_averaged_activations():
    method = algorithm("epsl", clients=2, phi=1)
    model = copy.deepcopy(method.model)
    batches = uploads(2)
    last_layer = []
    for upload in batches:
        scores = model(upload.activations).detach().requires_grad_()
        cross_entropy(scores, upload.labels).backward()
        last_layer.append(scores.grad)
    mean = ((batches[0].activations + batches[1].activations) / 2).requires_grad_()
    expected, *of_parameters = torch.autograd.grad(
        model(mean), [mean, *model.parameters()], (last_layer[0] + last_layer[1]) / 2
    )

    step = method.step(1, batches)

    assert_same(step.gradients, [expected, expected])
    rate = method.settings.optimizer.server_rate
    assert_same(method.parameters, [p - rate * g for p, g in zip(model.parameters(), of_parameters, strict=True)])


def test_epsl_of_equal_clients_is_psl():
    batches = [uploads(1)[0]] * 3
    psl, epsl = algorithm("psl", clients=3), algorithm("epsl", clients=3, phi=0.5)
    assert_same(epsl.step(1, batches).gradients, psl.step(1, batches).gradients)
    assert_same(epsl.parameters, psl.parameters)


@pytest.mark.parametrize("memory", ["full", "low"])
def test_gapsl_with_nothing_filtered_is_psl(memory):
    gapsl = several_steps(algorithm("gapsl", clients=3, ablation=["non-lgi", "non-gda"], memory=memory), clients=3)
    assert_same(gapsl, several_steps(algorithm("psl", clients=3), clients=3))


@pytest.mark.parametrize(
    "options", [{}, {"gda": "steered", "lambda": 0.5}, {"update": "sum"}, {"ablation": "rand-gda"}]
)
def test_gapsl_in_less_memory_is_the_same(options):
    full, low = (several_steps(algorithm("gapsl", clients=4, memory=m, **options), clients=4) for m in ("full", "low"))
    assert_same(full, low)


def test_gapsl_may_add_up_over_the_aligned_clients():
    mean, total = (algorithm("gapsl", clients=4, update=update) for update in ("mean", "sum"))
    before = [parameter.detach().clone() for parameter in mean.parameters]
    aligned = mean.step(1, uploads(4)).metrics["aligned"]
    assert total.step(1, uploads(4)).metrics["aligned"] == aligned > 1
    for start, one, sum_ in zip(before, mean.parameters, total.parameters, strict=True):
        torch.testing.assert_close(sum_ - start, aligned * (one - start), rtol=1e-4, atol=1e-6)


def test_gapsl_may_freeze_the_clients_outside():
    alike, other = uploads(1)[0], uploads(1, seed=5)[0]
    step = algorithm("gapsl", clients=4, eta=0.0, outside="freeze").step(1, [alike, alike, alike, other])
    assert [gradient is None for gradient in step.gradients] == [False, False, False, True]


def test_gapsl_aligned_twice_differentiated_is_the_gradient_of_eq_8():
    lam, batches = 0.5, uploads(3)
    method = algorithm("gapsl", clients=3, gda="exact", eta=-9.0, k_min="50 %", update="sum", **{"lambda": lam})
    model = copy.deepcopy(method.model)
    activations = [upload.activations.clone().requires_grad_() for upload in batches]
    losses = [cross_entropy(model(own), upload.labels) for own, upload in zip(activations, batches, strict=True)]
    gradients = [
        torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()), create_graph=True)])
        for loss in losses
    ]

    step = method.step(1, batches)

    gram = np.array([[(a @ b).item() for a in gradients] for b in gradients])
    leaders = consistent(scores(angles(gram)), 0.5)
    leader = torch.stack([gradients[k] for k in leaders]).mean(dim=0)
    chosen = [k for k in range(3) if gradients[k] @ leader >= 0]  # eta so low that the limit is a right angle
    cosines = [gradients[k] @ leader / gradients[k].norm() / leader.norm() for k in chosen]
    regulariser = lam * sum(1 - cosine for cosine in cosines)
    total = sum(losses[k] for k in chosen) + regulariser
    of_parameters = torch.autograd.grad(total, list(model.parameters()), retain_graph=True)
    rate = method.settings.optimizer.server_rate
    assert_same(method.parameters, [p - rate * g for p, g in zip(model.parameters(), of_parameters, strict=True)])
    assert_same(step.gradients, torch.autograd.grad(sum(losses) + regulariser, activations))


def test_gapsl_aligns_what_several_batches_add_up_to():
    method = algorithm("gapsl", clients=2, local_steps=2, ablation=["non-lgi", "non-gda"])
    model, rate = copy.deepcopy(method.model), method.settings.optimizer.server_rate
    ways = [copy.deepcopy(model) for _ in range(2)]
    sums = [[torch.zeros_like(p) for p in model.parameters()] for _ in range(2)]
    for round in (1, 2):
        batches = uploads(2, seed=round)
        step = method.step(round, batches)
        assert bool(step.metrics) == (round == 2)
        expected = []
        for way, total, upload in zip(ways, sums, batches, strict=True):
            of_activations, of_parameters = own_gradients(way, upload)
            expected.append(of_activations)
            with torch.no_grad():
                for parameter, part, gradient in zip(way.parameters(), total, of_parameters, strict=True):
                    parameter -= rate * gradient
                    part += gradient
        assert_same(step.gradients, expected)
        if round == 1:
            assert_same(method.parameters, list(model.parameters()), exactly=True)
    mean = [(a + b) / 2 for a, b in zip(*sums, strict=True)]
    assert_same(method.parameters, [p - rate * g for p, g in zip(model.parameters(), mean, strict=True)])


def test_gapsl_leaves_out_the_client_that_points_elsewhere_and_still_gives_it_its_gradient():
    alike, other = uploads(1)[0], uploads(1, seed=5)[0]
    batches = [alike, alike, alike, other]
    method = algorithm("gapsl", clients=4, eta=0.0)
    before = copy.deepcopy(method.model)

    step = method.step(1, batches)

    assert step.metrics["aligned"] == 3
    of_alike, of_parameters = own_gradients(before, alike)
    of_other, _ = own_gradients(before, other)
    assert_same(step.gradients, [of_alike, of_alike, of_alike, of_other])
    rate = method.settings.optimizer.server_rate
    assert_same(method.parameters, [p - rate * g for p, g in zip(before.parameters(), of_parameters, strict=True)])


def test_gapsl_reports_what_it_decided():
    method = algorithm("gapsl", clients=5)
    assert isinstance(method, GAPSL)
    first = method.step(1, uploads(5)).metrics
    assert first["k_t"] == pytest.approx(0.2)
    assert first["leaders"] == 1
    assert 1 <= first["aligned"] <= 5
    assert 0 < first["mean_angle"] < np.pi
    assert method.step(10, uploads(5, seed=1)).metrics["k_t"] in (pytest.approx(0.2), pytest.approx(0.8))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("psl", {}),
        ("sfl", {}),
        ("sfl", {"server": "v1"}),
        ("psl", {"passes": "separate"}),
        ("epsl", {"phi": 0.5}),
        ("gapsl", {}),
        ("gapsl", {"update": "sum", "outside": "freeze"}),
        ("gapsl", {"gda": "steered", "lambda": 0.5}),
        ("gapsl", {"gda": "exact", "lambda": 0.5}),
        ("gapsl", {"memory": "low", "ablation": ["rand-lgi", "rand-gda"]}),
    ],
)
def test_with_one_client_all_algorithms_are_equal(name, options):
    reference = several_steps(algorithm("sl", clients=1), clients=1)
    assert_same(several_steps(algorithm(name, clients=1, **options), clients=1), reference)


def test_sfl_averages_once_an_epoch_unless_told_otherwise():
    once_an_epoch = algorithm("sfl", clients=3)  # 100 samples each, batches of 8
    assert [round for round in range(1, 30) if once_an_epoch.averages_after(round)] == [13, 26]
    often = algorithm("sfl", clients=3, interval=2)
    assert [round for round in range(1, 7) if often.averages_after(round)] == [2, 4, 6]


def test_sfl_weighs_clients_by_their_samples():
    method = algorithm("sfl", clients=2)
    method.samples = [300, 100]
    states = [{"weight": np.full((2, 2), value, dtype=np.float32)} for value in (1.0, 5.0)]
    averaged = method.average(dict(enumerate(states)))["weight"]
    assert averaged.dtype == np.float32
    assert averaged == pytest.approx(np.full((2, 2), 2.0))


def test_sfl_v1_trains_each_clients_server_side_model_on_that_client_alone():
    method = algorithm("sfl", clients=3, server="v1")
    alone = []
    for k in range(3):
        one = algorithm("sl", clients=1)
        for round in (1, 2):
            one.step(round, [uploads(3, seed=round)[k]])
        alone.append(one.parameters)
    for round in (1, 2):
        method.step(round, uploads(3, seed=round))
    for model, own in zip(method.models(), alone, strict=True):
        assert_same(list(model.parameters()), own)

    method.samples = [1, 1, 2]
    state = {"weight": np.zeros(1, dtype=np.float32)}
    method.average(dict.fromkeys(range(3), state))
    expected = [(a + b + 2 * c) / 4 for a, b, c in zip(*alone, strict=True)]
    for model in method.models():
        assert_same(list(model.parameters()), expected)


@pytest.mark.parametrize("name", ["psl", "sfl"])
def test_psl_and_sfl_are_the_same_step_and_psl_may_take_it_client_by_client(name):
    reference = several_steps(algorithm(name, clients=3), clients=3)
    assert_same(several_steps(algorithm("psl", clients=3, passes="separate"), clients=3), reference)


def test_only_sfl_averages():
    assert {name for name, method in ALGORITHMS.items() if issubclass(method, Averaging)} == {"sfl"}


@pytest.mark.parametrize("name", ["psl", "sfl", "epsl", "gapsl"])
def test_a_loss_that_is_no_number_names_round_and_client(name):
    batches = uploads(3)
    batches[1].activations[0, 0, 0, 0] = float("nan")
    with pytest.raises(FloatingPointError, match="round 7: the loss of client-2 is nan"):
        algorithm(name, clients=3, **({"phi": 0.0} if name == "epsl" else {})).step(7, batches)


def test_every_algorithm_of_the_configuration_exists():
    assert set(ALGORITHMS) == set(config.Algorithms.model_fields)


def test_an_unknown_algorithm_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match=r"no algorithm is called 'gaspl': did you mean 'gapsl'\?"):
        named("gaspl")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("psl", {}),
        ("psl", {"passes": "separate"}),
        ("epsl", {}),
        ("sfl", {}),
        ("gapsl", {}),
        ("gapsl", {"memory": "low"}),
    ],
)
def test_a_step_with_some_of_the_clients_is_that_of_a_testbed_of_these(name, options):
    some = [upload for upload in uploads(5) if upload.place in (1, 3, 4)]
    of_five, of_three = algorithm(name, clients=5, **options), algorithm(name, clients=3, **options)
    one, other = of_five.step(1, some), of_three.step(1, some)
    assert_same(one.gradients, other.gradients, exactly=True)
    assert_same(of_five.parameters, of_three.parameters, exactly=True)
    assert (one.losses, one.metrics) == (other.losses, other.metrics)
    assert len(of_five.step(2, uploads(5)).gradients) == 5  # and back with all


def test_gapsl_adds_up_each_clients_own_updates_whoever_else_takes_part():
    method = algorithm("gapsl", clients=3, local_steps=2, ablation=["non-lgi", "non-gda"])
    alone = algorithm("gapsl", clients=1, local_steps=2, ablation=["non-lgi", "non-gda"])
    method.step(1, uploads(3, seed=1))
    method.step(2, uploads(3, seed=2)[2:])  # what the others have added up is forgotten
    for round in (1, 2):
        alone.step(round, [dataclasses.replace(uploads(3, seed=round)[2], place=0)])
    assert_same(method.parameters, alone.parameters)


def test_sfl_averages_those_who_are_there():
    method = algorithm("sfl", clients=3)
    method.samples = [300, 1000, 100]
    states = {place: {"weight": np.full(2, value, dtype=np.float32)} for place, value in ((0, 1.0), (2, 5.0))}
    assert method.average(states)["weight"] == pytest.approx(np.full(2, 2.0))


def test_sfl_v1_leaves_the_models_of_absent_clients_alone():
    method = algorithm("sfl", clients=3, server="v1")
    before = [weights(model) for model in method.models()]
    method.step(1, [upload for upload in uploads(3) if upload.place != 1])
    method.average({place: {"weight": np.zeros(1, dtype=np.float32)} for place in (0, 2)})
    after = [weights(model) for model in method.models()]
    assert all(torch.equal(after[1][name], value) for name, value in before[1].items())
    assert all(torch.equal(after[0][name], value) for name, value in after[2].items())
    assert not all(torch.equal(after[0][name], value) for name, value in before[0].items())
