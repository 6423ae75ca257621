import fake_node
import pytest
import torch
from workloads import config

from nodes import client, practice, server
from nodes.config import read
from nodes.trainer import Trainer

ALGORITHMS = ["gapsl", "epsl", "psl", "sfl", "sl"]


@pytest.fixture(autouse=True)
def cold(monkeypatch):
    """As in a process that has computed nothing yet."""
    monkeypatch.setattr("nodes.practice._warm", set())


@pytest.fixture
def made(monkeypatch):
    """The name of each thing that was practised, as often as it was."""
    times = []

    def counted(make):
        def make_counted(*args):
            once = make(*args)

            def noted():
                times.append(make.__name__)
                once()

            return noted

        return make_counted

    for make in (practice.client_round, practice.server_step):
        monkeypatch.setattr(practice, make.__name__, counted(make))
    return times


def run(algorithm, **workload):
    made = config(algorithm, rounds=3, **workload)
    return fake_node.run({"server": server.main, "client": client.main}, made, clients=3)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_nodes_practise_before_they_train_and_it_changes_nothing(algorithm, made, monkeypatch):
    def noted(self, forward=Trainer.forward):
        made.append("forward")
        return forward(self)

    monkeypatch.setattr(Trainer, "forward", noted)
    before = torch.get_rng_state()
    warm = run(algorithm)
    assert torch.equal(torch.get_rng_state(), before)
    assert made[: 2 * practice.TIMES] == ["client_round"] * practice.TIMES + ["server_step"] * practice.TIMES
    assert set(made[2 * practice.TIMES :]) == {"forward"}
    for of in ("client", "server"):
        monkeypatch.setattr(f"nodes.practice.warm_up_{of}", lambda *args: None)
    assert run(algorithm).metrics == warm.metrics


def test_what_takes_long_is_practised_once(made, monkeypatch):
    monkeypatch.setattr(practice, "SECONDS", 0.0)
    practice.warm_up_client(read(config("psl")))
    assert made == ["client_round"]


def test_a_process_practises_once_what_it_computes_again(made):
    run("psl")
    run("psl")
    assert len(made) == 2 * practice.TIMES
    run("gapsl")  # whose clients compute what PSL's do
    assert made.count("client_round") == practice.TIMES
    assert made.count("server_step") == 2 * practice.TIMES
    run("gapsl", batch_size=8)
    assert len(made) == 5 * practice.TIMES


def test_without_training_there_is_nothing_to_practise(made):
    run_config = {**config("psl", rounds=2), "training": False}
    fake_node.run({"server": server.main, "client": client.main}, run_config, clients=2)
    assert not made


def test_a_practice_that_diverges_is_none_of_the_runs_business():
    settings = read(config("psl", optimizer={"server_rate": 1e30}))
    once = practice.server_step(settings, [100])
    once()
    with pytest.raises(FloatingPointError):
        once()
    practice.warm_up_server(settings, [100])


@pytest.mark.parametrize(("algorithm", "batches"), [("psl", 3), ("sl", 1)])
def test_a_step_in_practice_has_the_batches_of_a_real_one(algorithm, batches, monkeypatch):
    seen = []

    class Watched:
        def __init__(self, model, settings, samples):
            """Nothing is learnt."""

        def step(self, round, uploads):
            seen.append([(tuple(upload.activations.shape), upload.labels.shape[0]) for upload in uploads])

    settings = read(config(algorithm, batch_size=8))
    monkeypatch.setattr("nodes.practice.named", lambda name: Watched)
    practice.server_step(settings, [100, 250, 37])()
    shape = settings.workload.model.architecture.shapes()[settings.workload.model.client_layers]
    assert seen == [[((8, *shape), 8)] * batches]
