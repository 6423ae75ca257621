"""Server and clients, from the first message to the last, in one event loop."""

import fake_node
import pytest
from workloads import config

from emulator.errors import InputError
from nodes import client, server
from nodes.config import read
from nodes.models import build
from nodes.options import SLOptions
from nodes.server import orders
from nodes.state import take
from nodes.trainer import Trainer

ALGORITHMS = ["gapsl", "epsl", "psl", "sfl", "sl"]


def run(algorithm, clients=4, rounds=4, **workload):
    return fake_node.run(
        {"server": server.main, "client": client.main}, config(algorithm, rounds=rounds, **workload), clients
    )


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_learns(algorithm):
    metrics = run(algorithm, rounds=40, evaluate={"every": 25}).metrics
    assert list(metrics["accuracy"]) == [25, 40]
    assert list(metrics["loss"]) == list(range(1, 41))
    assert metrics["accuracy"][40] > 0.3  # ten classes
    assert metrics["accuracy_min"][40] <= metrics["accuracy"][40] <= metrics["accuracy_max"][40]


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_what_a_client_computes_may_be_repeated_alone_for_its_weights_stay(optimizer, monkeypatch):
    models = []

    def kept(*layers, **which):
        models.append(build(*layers, **which))
        return models[-1]

    monkeypatch.setattr("nodes.practice.build", kept)
    once = client.computation(config(optimizer={"name": optimizer}))
    (model,) = models
    before = take(model)
    for _ in range(3):
        once()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert all((weights == before[name]).all() for name, weights in take(model).items())


def test_gapsl_puts_psls_bytes_on_the_wire_round_by_round():
    gapsl, psl = run("gapsl").traffic(), run("psl").traffic()
    assert gapsl == psl
    assert {kind for _, _, _, kind in psl} == {"uplink", "downlink"}


def test_a_batch_of_the_demo_is_8_kib_each_way():
    traffic = run("psl", clients=1, rounds=1).traffic()
    up, down = traffic[1, "client-1", "server", "uplink"], traffic[1, "server", "client-1", "downlink"]
    assert 8 * 1024 <= down < up < 8 * 1024 + 200


def test_gapsls_frozen_clients_get_no_gradient_and_do_nothing():
    world = run("gapsl", clients=4, rounds=8, algorithms={"gapsl": {"outside": "freeze", "eta": 0.5}})
    for round in range(1, 9):
        downlinks = [sent for sent in world.sent if sent.kind == "downlink" and sent.round == round]
        steps = [name for name, at, stage in world.computed if (at, stage) == (round, "client_backward")]
        assert len(steps) == world.metrics["aligned"][round] < 4
        assert sorted(steps) == sorted(sent.receiver for sent in downlinks if sent.nbytes > 1000)


@pytest.mark.parametrize("algorithm", ["gapsl", "epsl", "psl"])
def test_parallel_rounds_have_their_stages_once_per_client(algorithm):
    world = run(algorithm, clients=3, rounds=2)
    for round in (1, 2):
        stages = [(name, stage) for name, at, stage in world.computed if at == round]
        clients = ["client-1", "client-2", "client-3"]
        assert sorted(stages) == sorted(
            [(name, stage) for name in clients for stage in ("client_forward", "client_backward")]
            + [("server", "server_step")]
        )


def test_sfl_moves_models_only_in_the_rounds_it_averages():
    world = run("sfl", clients=3, rounds=5, algorithms={"sfl": {"interval": 2}})
    moved = [(round, kind) for round, _, _, kind in world.traffic() if kind.startswith("model")]
    assert sorted(moved) == sorted((round, kind) for round in (2, 4) for kind in ("model_up", "model_down") * 3)
    assert [(name, round) for name, round, stage in world.computed if stage == "aggregate"] == [
        ("server", 2),
        ("server", 4),
    ]


def test_after_an_average_all_sfl_clients_are_equal():
    metrics = run("sfl", rounds=2, algorithms={"sfl": {"interval": 2}}).metrics
    assert metrics["accuracy_min"][2] == metrics["accuracy_max"][2]


def test_sl_hands_the_model_around_within_the_round():
    world = run("sl", clients=3, rounds=2)
    on_the_clock = [(s.kind, s.sender, s.receiver) for s in world.sent if not s.off_clock and s.round == 2]
    expected = []
    for k in (1, 2, 3):
        name = f"client-{k}"
        expected += [("uplink", name, "server"), ("downlink", "server", name)]
        expected += [("handover", name, f"client-{k % 3 + 1}")]
    assert on_the_clock == expected
    assert [stage for _, round, stage in world.computed if round == 2] == [
        "client_forward",
        "server_step",
        "client_backward",
    ] * 3


def test_a_client_alone_keeps_its_model():
    kinds = {kind for _, _, _, kind in run("sl", clients=1).traffic()}
    assert kinds == {"uplink", "downlink"}


def test_with_one_client_sl_psl_sfl_and_gapsl_are_equal():
    reference = run("sl", clients=1, rounds=6).metrics
    for algorithm, options in (
        ("psl", {}),
        ("sfl", {}),
        ("sfl", {"server": "v1", "interval": 2}),
        ("epsl", {}),
        ("gapsl", {}),
        ("sl", {"handover": "epoch"}),
    ):
        metrics = run(algorithm, clients=1, rounds=6, algorithms={algorithm: options}).metrics
        assert metrics["loss"] == pytest.approx(reference["loss"], rel=1e-4)
        assert metrics["accuracy"] == pytest.approx(reference["accuracy"], abs=0.01)


def test_epsl_with_phi_0_is_psl_over_a_whole_run():
    epsl = run("epsl", rounds=6, algorithms={"epsl": {"phi": 0}})
    psl = run("psl", rounds=6)
    assert epsl.metrics == psl.metrics
    assert epsl.traffic() == psl.traffic()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_same_seed_gives_the_same_run(algorithm):
    one, other = run(algorithm), run(algorithm)
    assert one.metrics == other.metrics
    assert one.traffic() == other.traffic()


def test_gapsl_records_what_it_decides_each_round():
    metrics = run("gapsl").metrics
    for name in ("k_t", "leaders", "aligned", "dispersion", "mean_angle"):
        assert list(metrics[name]) == [1, 2, 3, 4]


def test_a_loss_that_is_no_number_stops_the_run_and_names_round_and_client():
    with pytest.raises(FloatingPointError, match=r"round \d+: the loss of client-\d is (nan|inf)"):
        run("psl", rounds=30, optimizer={"server_rate": 1e12, "client_rate": 1e12})


def test_clients_that_cannot_all_have_a_batch_are_refused():
    with pytest.raises(InputError, match="not enough for 4 clients with a batch of 400"):
        run("psl", batch_size=400)


def test_a_client_that_the_draw_leaves_nothing_is_refused():
    with pytest.raises(InputError, match=r"alpha 0.001 leaves client \d+ of 12 without a sample"):
        run("psl", clients=12, data={"name": "digits", "partition": "dirichlet", "alpha": 0.001})


def test_all_three_views_of_the_models_are_recorded():
    metrics = run("psl", rounds=2).metrics
    for name in ("accuracy", "accuracy_own"):
        assert metrics[f"{name}_min"][2] <= metrics[name][2] <= metrics[f"{name}_max"][2]
    assert 0 <= metrics["accuracy_ensemble"][2] <= 1


def test_all_clients_start_with_the_same_weights_and_with_data_of_their_own():
    settings = read(config())
    trainers = [Trainer(settings, index, clients=4) for index in range(4)]
    states = [trainer.state() for trainer in trainers]
    assert all((state[name] == states[0][name]).all() for state in states for name in state)
    assert sum(len(trainer.samples) for trainer in trainers) == 1437
    batches = [trainer.forward() for trainer in trainers]
    assert all(batch["labels"].dtype.itemsize == 1 for batch in batches)
    assert not (batches[0]["activations"] == batches[1]["activations"]).all()


def test_in_turns_the_model_goes_around_once():
    taken = orders(["a", "b", "c"], 7, [0, 1, 2, 0], average=False, evaluate=True)
    assert [order["take_from"] for order in taken] == [None, "a", "b"]
    assert [order["give_to"] for order in taken] == ["b", "c", "a"]
    assert [order["batches"] for order in taken] == [1, 1, 1]
    assert [order["take_on_from"] for order in taken] == ["c", None, None]
    assert [order["evaluate"] for order in taken] == [True, False, False]
    assert {order["round"] for order in taken} == {7}


def test_in_turns_of_an_epoch_the_model_stays_until_it_is_over():
    taken = orders(["a", "b", "c"], 1, [0, 0, 1, 1], average=False, evaluate=True)
    assert [order["batches"] for order in taken] == [2, 1, 0]
    assert [order["take_from"] for order in taken] == [None, "a", None]
    assert [order["give_to"] for order in taken] == ["b", None, None]
    assert {order["take_on_from"] for order in taken} == {None}
    assert [order["evaluate"] for order in taken] == [False, True, False]


def test_the_turns_of_an_epoch_are_each_clients_own_number_of_batches():
    options = SLOptions(handover="epoch")
    rounds = [options.turns(round, [20, 10, 45], 10) for round in (1, 2, 3)]
    assert rounds == [[0, 0, 1, 2], [2, 2, 2, 2], [2, 0, 0, 1]]
    assert SLOptions().turns(2, [20, 10, 45], 10) == [0, 1, 2, 0]


def test_sl_by_the_epoch_hands_the_model_over_when_it_is_over():
    samples = [len(Trainer(read(config()), index, 3).samples) for index in range(3)]
    assert min(samples) >= 32
    world = run("sl", clients=3, rounds=40, algorithms={"sl": {"handover": "epoch"}})
    handovers = [(sent.sender, sent.receiver) for sent in world.sent if sent.kind == "handover"]
    assert (
        handovers[:3]
        == [("client-1", "client-2"), ("client-2", "client-3"), ("client-3", "client-1")][: len(handovers)]
    )
    steps = [name for name, _, stage in world.computed if stage == "client_forward"]
    assert len(steps) == 120
    assert steps[: samples[0] // 16] == ["client-1"] * (samples[0] // 16)
    assert steps[samples[0] // 16] == "client-2"


def test_sfl_v1_has_a_server_side_model_for_each_client_until_they_are_averaged():
    metrics = run("sfl", rounds=3, algorithms={"sfl": {"interval": 2, "server": "v1"}}, evaluate={"every": 1}).metrics
    assert metrics["accuracy_min"][2] == metrics["accuracy_max"][2]
    assert metrics["loss"] != run("sfl", rounds=3, algorithms={"sfl": {"interval": 2}}).metrics["loss"]
