"""What the options do to the counted work; see test_work.py for the counts themselves."""

import pytest
from workloads import config

from nodes import counting, work
from nodes.architectures import architecture
from nodes.config import read


def of(name, clients=4, **options):
    optimizer = options.pop("optimizer", {})
    return work.server_step(read(config(name, algorithms={name: options}, optimizer=optimizer)), clients)


@pytest.mark.parametrize("name", ["vgg16", "resnet18", "vit-base-4"])
@pytest.mark.parametrize("norm", ["none", "group", "batch"])
def test_every_model_can_be_counted(name, norm):
    try:
        made = architecture(name, norm)
    except ValueError:
        return
    whole = counting.count(made, 0, len(made.layers), 2)
    assert whole.parameters > 1e7
    # Backward is forward twice, less the images' own gradient; norms and activations move memory alone.
    assert 1.9 < whole.backward.flops / whole.forward.flops <= 2.0


def test_what_costs_more_counts_more():
    psl, separate = of("psl"), of("psl", passes="separate")
    assert separate.flops == psl.flops
    assert separate.bytes_moved > psl.bytes_moved
    gapsl, low, exact = (of("gapsl", **options) for options in ({}, {"memory": "low"}, {"gda": "exact"}))
    assert gapsl.flops > separate.flops
    assert low.flops > gapsl.flops
    assert exact.flops > 2 * gapsl.flops
    assert of("psl", optimizer={"name": "adamw"}).flops > psl.flops
    assert of("sfl", server="v1").flops > of("sfl").flops == psl.flops


def test_low_memory_pays_where_the_model_outweighs_its_activations():
    vgg16 = {"model": {"name": "vgg16", "cut": "pool2"}, "data": {"name": "cifar10"}}
    full, low = (
        work.server_step(read(config("gapsl", algorithms={"gapsl": {"memory": memory}}, **vgg16)), 10)
        for memory in ("full", "low")
    )
    assert low.peak_memory < 0.5 * full.peak_memory


def test_replicas_are_averaged_whole():
    v1, v2 = (work.aggregate(read(config("sfl", algorithms={"sfl": {"server": server}})), 4) for server in ("v1", "v2"))
    assert v1.flops > v2.flops


def test_the_pull_is_the_clients_work():
    plain, pulled = (work.client(read(config("psl", algorithms={"psl": {"proximal": p}}))) for p in (0, 1))
    assert pulled[0] == plain[0]
    assert pulled[1].flops > plain[1].flops
