"""What the experiment file may say, and how it is told what it may not."""

from pathlib import Path

import pytest
import yaml
from workloads import config

from nodes import client, server
from nodes.config import check, prepare, read, sizes
from nodes.options import Algorithms

FOUR = {"server": ["server"], "client": ["a", "b", "c", "d"]}
EXPERIMENTS = Path(__file__).parents[3] / "profiles" / "experiments"


def spoilt(path: str, value: object) -> dict:
    """A good configuration with the value at `path` replaced."""
    whole = config(optimizer={}, evaluate={}, algorithms={name: {} for name in Algorithms.model_fields}, devices={})
    *steps, last = path.split(".")
    at = whole
    for step in steps:
        at = at[step]
    at[last] = value
    return whole


def test_a_good_configuration_passes():
    check(config("gapsl"), FOUR)
    assert client.check is server.check is check


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("algorithm", "gaspl", "did you mean 'gapsl'"),
        ("algorithm", "zzzzzz", "choose one of epsl, gapsl, psl, sfl, sl"),
        ("rounds", 0, "rounds"),
        ("workload.data.name", "mnist", "'digits', 'cifar10' or 'cifar100'"),
        ("workload.data.alpha", 0, "greater than or equal to 0.001"),
        ("workload.data.alpha", float("nan"), "finite number"),
        ("workload.data.partition", "random", "'iid' or 'dirichlet'"),
        ("workload.data.train_samples", 2000, "train_samples is 2000, but digits has 1437"),
        ("workload.data.test_samples", 0, "greater than 0"),
        ("workload.data.tests", 5, "Extra inputs"),
        ("workload.model.name", "digit-cnn", "did you mean 'digits-cnn'"),
        ("workload.model.name", "vgg16", "made for 3x32x32 images and digits has 1x8x8: choose digits-cnn"),
        ("workload.data.resize", 4, "resize is 4, but images of digits have 8 pixels a side"),
        ("workload.data.resize", 16, "digits has 1x16x16: choose another data.resize"),
        ("workload.data.augment", True, "a mirrored digit is another one or none"),
        ("workload.model.norm", "layer", "'none', 'group' or 'batch'"),
        (
            "workload.model",
            {"name": "resnet18", "norm": "none", "cut": 3},
            "cannot have norm none: it takes norm group or",
        ),
        ("workload.model", {"name": "vit-base-4", "norm": "group", "cut": 3}, "has layer norms of its own"),
        ("workload.model.cut", 9, "cut 9 lies outside digits-cnn, which has 9 layers"),
        ("workload.model.cut", "relu9", "no layer 'relu9': did you mean"),
        ("workload.batch_size", 0, "greater than 0"),
        ("workload.batch_size", 1438, "batch_size is 1438, but there are 1437 training samples"),
        ("workload.batch_size", 400, "4 clients need 1600 training samples"),
        ("workload.optimizer.momentum", 1.0, "less than 1"),
        ("workload.optimizer.server_rate", 0, "greater than 0"),
        ("workload.optimizer.client_rate", -0.1, "greater than or equal to 0"),
        ("workload.evaluate.every", 0, "greater than 0"),
        ("workload.algorithms.gapsl.k_min", 0.2, "has no unit"),
        ("workload.algorithms.gapsl.k_min", "90 %", "k_min lies above k_max"),
        ("workload.algorithms.gapsl.k_max", "120 %", "less than or equal to 1"),
        ("workload.algorithms.gapsl.lambda", -1, "greater than or equal to 0"),
        ("workload.algorithms.gapsl.gda", "excat", "'selection', 'exact' or 'steered'"),
        ("workload.algorithms.gapsl.outside", "drop", "'own' or 'freeze'"),
        ("workload.algorithms.gapsl.update", "median", "'mean' or 'sum'"),
        ("workload.algorithms.gapsl.local_steps", 0, "greater than 0"),
        ("workload.algorithms.gapsl.ablation", "non-gdl", "'non-lgi', 'rand-lgi', 'non-gda' or 'rand-gda'"),
        ("workload.algorithms.gapsl.ablation", ["non-lgi", "rand-lgi"], "non-lgi and rand-lgi exclude each other"),
        ("workload.algorithms.gapsl", {"ablation": "non-gda", "gda": "exact"}, "non-gda leaves nothing to align"),
        ("workload.algorithms.gapsl", {"memory": "low", "gda": "exact"}, "which gda: exact needs: take memory: full"),
        ("workload.algorithms.gapsl", {"local_steps": 2, "gda": "exact"}, "it takes local_steps: 1"),
        ("workload.algorithms.epsl.phi", 1.5, "less than or equal to 1"),
        ("workload.algorithms.psl.passes", "one", "'together' or 'separate'"),
        ("workload.algorithms.sfl.server", "v3", "'v1' or 'v2'"),
        ("workload.algorithms.sl.handover", "day", "'batch' or 'epoch'"),
        ("workload.algorithms.psl.logit_adjustment", -1, "greater than or equal to 0"),
        ("workload.algorithms.psl.proximal", float("inf"), "finite number"),
        ("workload.algorithms.psl.client_schedule", {"shape": "steps"}, "'constant', 'linear' or 'cosine'"),
        ("workload.algorithms.psl.client_schedule", {"until": "0 %"}, "greater than 0"),
        ("workload.optimizer.name", "adam", "'sgd' or 'adamw'"),
        ("workload.optimizer", {"name": "adamw", "momentum": 0.9}, "momentum is for sgd: adamw has none"),
        ("workload.devices.server", "gpu", "'cpu' or 'cuda'"),
        ("workload.algorithms.sfl.interval", 0, "greater than 0"),
        ("workload.algorithms.fedavg", {}, "Extra inputs"),
    ],
)
def test_bad_input_is_a_value_error_that_says_what_is_wrong(path, value, message):
    with pytest.raises(ValueError, match=message):
        check(spoilt(path, value), FOUR)


@pytest.mark.parametrize("role", ["server", "clients"])
def test_cuda_is_refused_where_there_is_none(role, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=rf"devices.{role} is cuda, but this host's PyTorch .*: take cpu"):
        prepare(spoilt(f"workload.devices.{role}", "cuda"), FOUR)


def test_a_draw_without_a_batch_for_everyone_is_refused_before_anything_starts():
    uneven = spoilt("workload.data.alpha", 0.001)
    twelve = {**FOUR, "client": [f"client-{k}" for k in range(12)]}
    with pytest.raises(ValueError, match=r"alpha 0.001 leaves client \d+ of 12 without a sample: raise alpha"):
        prepare(uneven, twelve)
    uneven["workload"]["data"]["fill"] = True
    prepare(uneven, twelve)


def test_where_nothing_is_trained_no_data_are_drawn():
    prepare({**spoilt("workload.data.alpha", 0.001), "training": False}, {**FOUR, "client": ["many"] * 12})


@pytest.mark.parametrize(
    ("peers", "message"),
    [
        ({"server": ["s"]}, "0 nodes of role 'client'"),
        ({"client": ["c"]}, "0 nodes of role 'server'"),
        ({"server": ["s", "t"], "client": ["c"]}, "2 nodes of role 'server'"),
    ],
)
def test_a_testbed_without_one_server_and_clients_is_refused(peers, message):
    with pytest.raises(ValueError, match=message):
        check(config(), peers)


def test_the_nodes_own_keys_beside_the_workload_are_left_alone():
    assert read({**config(), "name": "client-1"}).rounds == 3


def test_an_algorithm_may_have_its_own_rates():
    own = {"sl": {"server_rate": 0.001}, "gapsl": {"client_rate": 0, "eta": 0.5, "k_min": "30 %"}}
    rates = [read(config(name, algorithms=own)).optimizer for name in ("psl", "sl", "gapsl")]
    assert [(rate.server_rate, rate.client_rate) for rate in rates] == [(0.05, 0.01), (0.001, 0.01), (0.05, 0)]
    assert read(config("gapsl", algorithms=own)).options.k_min == pytest.approx(0.3)


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_shipped_experiments_are_read(path):
    experiment = yaml.safe_load(path.read_text())
    if experiment["programs"]["server"] != "nodes.server:main":
        pytest.skip("another workload")
    for name in experiment["algorithms"]:
        settings = read({**experiment, "algorithm": name})
        assert settings.options is not None


def test_the_demos_messages_are_small():
    workload = read({**yaml.safe_load((EXPERIMENTS / "demo.yaml").read_text()), "algorithm": "psl"}).workload
    channels, height, width = workload.model.architecture.shapes()[workload.model.client_layers]
    assert 4 * workload.batch_size * channels * height * width <= 8 * 1024


def test_reading_a_configuration_imports_no_pytorch():
    import subprocess
    import sys

    program = "import sys, nodes.client, nodes.server; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=EXPERIMENTS.parents[1], check=False).returncode == 0


def test_sizes_halve_the_batch_and_have_every_stage_in_few_rounds():
    made = {"algorithm": "sfl", "rounds": 3, "seed": 1, "workload": {**config()["workload"], "batch_size": 12}}
    found = sizes(made)
    assert [one["workload"]["batch_size"] for one in found] == [12, 6, 3, 1]
    for made in found:
        settings = read(made)
        assert settings.options.rounds_between([1000], 12) == 1
        assert settings.workload.evaluate.every > 1000
