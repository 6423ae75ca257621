from dataclasses import replace

import pytest
import torch

from nodes.architectures import ARCHITECTURES, Architecture, Layer, architecture
from nodes.models import build, outline
from nodes.state import give, take, weighted_mean

SMALL = Architecture("vit-small", (3, 8, 8), 5, (Layer("patches", 12, 4), *(Layer("encoder", heads=3),) * 2))
SMALL = replace(SMALL, layers=(*SMALL.layers, Layer("token"), Layer("linear", 5)))
CHAINS = {name: ARCHITECTURES[name] for name in ("digits-cnn", "digits-vgg", "cifar10-cnn")}
CHAINS |= {f"digits-cnn, {norm}": architecture("digits-cnn", norm) for norm in ("group", "batch")}
CHAINS["resnet18"] = replace(ARCHITECTURES["resnet18"], shape=(3, 8, 8))
CHAINS["vit"] = SMALL


@pytest.mark.parametrize("name", CHAINS)
def test_a_cut_anywhere_composes_to_the_whole_model(name):
    architecture = CHAINS[name]
    images = torch.rand(2, *architecture.shape)
    whole = build(architecture, seed=3)(images)
    assert whole.shape == (2, architecture.classes)
    for cut in range(1, len(architecture.layers)):
        client, server = build(architecture, 3, stop=cut), build(architecture, 3, start=cut)
        activations = client(images)
        assert activations.shape[1:] == architecture.shapes()[cut]
        assert torch.equal(server(activations), whole)


def test_vgg16_is_cut_behind_its_fourth_convolution():
    architecture = ARCHITECTURES["vgg16"]
    cut = architecture.cut_after("pool2")
    client, server = build(architecture, 1, stop=cut), build(architecture, 1, start=cut)
    assert sum(isinstance(layer, torch.nn.Conv2d) for layer in client) == 4
    assert sum(isinstance(layer, torch.nn.Conv2d) for layer in server) == 9
    assert sum(p.numel() for p in server.parameters()) == pytest.approx(14.5e6, rel=0.01)
    scores = server(client(torch.randn(2, 3, 32, 32)))
    assert scores.shape == (2, 10)
    # Without a suitable initialisation the activations of 16 layers without normalisation vanish.
    features = server[:-1](client(torch.randn(2, 3, 32, 32)))
    assert 0.1 < features.std() < 100


@pytest.mark.parametrize("norm", ["none", "group", "batch"])
@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_the_plain_data_know_every_weight_and_shape_that_pytorch_has(name, norm):
    try:
        made = architecture(name, norm, classes=100)
    except ValueError:
        if norm != "none":
            return
        made = architecture(name, classes=100)
    model = outline(made)
    said = {
        f"{position}.{weight}": shape
        for position, (layer, before) in enumerate(zip(made.layers, made.shapes(), strict=False))
        for weight, shape in layer.weights(before).items()
    }
    has = {key: tuple(value.shape) for key, value in model.state_dict().items() if "num_batches" not in key}
    assert said == has
    values = torch.empty(2, *made.shape, device="meta")
    for layer, shape in zip(model, made.shapes()[1:], strict=True):
        values = layer(values)
        assert tuple(values.shape) == (2, *shape)
    assert tuple(values.shape) == (2, 100)


@pytest.mark.parametrize(
    ("name", "millions"), [("vgg16", 14.7), ("resnet18", 11.2), ("vit-base-4", 85.2), ("vit-base-16", 85.8)]
)
def test_the_models_have_the_sizes_they_are_known_for(name, millions):
    size = sum(value.numel() for value in outline(ARCHITECTURES[name]).parameters())
    assert size / 1e6 == pytest.approx(millions, abs=0.06)


@pytest.mark.parametrize("name", ["resnet18", "vit"])
def test_a_model_starts_with_scores_that_say_nothing_and_learns(name):
    model, architecture = build(CHAINS[name], seed=1), CHAINS[name]
    images = torch.randn(8, *architecture.shape, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(8) % architecture.classes
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(50):
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[0] == pytest.approx(torch.tensor(float(architecture.classes)).log().item(), rel=0.1)
    assert losses[-1] < 0.3 * losses[0]


def test_batch_normalisation_travels_with_the_weights_and_is_averaged():
    made = architecture("digits-cnn", "batch")
    one, other = build(made, 1, stop=3), build(made, 1, stop=3)
    for model, shift in ((one, 0.0), (other, 4.0)):
        for _ in range(3):
            model(torch.rand(16, 1, 8, 8) + shift)
    mean = weighted_mean([take(one), take(other)], [1, 3])
    expected = (one[1].running_mean + 3 * other[1].running_mean) / 4
    give(one, mean)
    torch.testing.assert_close(one[1].running_mean, expected)


def test_initial_weights_depend_on_the_seed_alone():
    architecture = ARCHITECTURES["digits-cnn"]
    torch.manual_seed(1)
    one = take(build(architecture, seed=1))
    torch.manual_seed(2)
    same, other = take(build(architecture, seed=1)), take(build(architecture, seed=2))
    assert all((one[name] == same[name]).all() for name in one)
    assert not (one["0.weight"] == other["0.weight"]).all()


def test_building_a_model_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    build(ARCHITECTURES["digits-cnn"], seed=1)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("cut", [0, -1, 9, 99])
def test_a_cut_outside_the_model_is_refused_with_what_is_inside(cut):
    with pytest.raises(ValueError, match=rf"cut {cut} lies outside digits-cnn, which has 9 layers.*1 to 8"):
        ARCHITECTURES["digits-cnn"].cut_after(cut)


def test_a_cut_may_be_a_layers_name():
    architecture = ARCHITECTURES["digits-cnn"]
    assert architecture.cut_after("relu1") == 2
    with pytest.raises(ValueError, match=r"no layer 'rely1': did you mean 'relu1'\?"):
        architecture.cut_after("rely1")
    with pytest.raises(ValueError, match="lies outside"):
        architecture.cut_after(architecture.layer_names()[-1])


def test_a_state_is_a_copy_and_loads_from_read_only_arrays():
    model = build(ARCHITECTURES["digits-cnn"], seed=1, stop=2)
    state = take(model)
    with torch.no_grad():
        model[0].weight += 1
    assert not (take(model)["0.weight"] == state["0.weight"]).any()
    for array in state.values():
        array.flags.writeable = False
    give(model, state)
    assert (take(model)["0.weight"] == state["0.weight"]).all()


def test_a_state_of_another_model_is_refused():
    model = build(ARCHITECTURES["digits-cnn"], seed=1, stop=2)
    with pytest.raises(RuntimeError, match="size mismatch"):
        give(model, take(build(ARCHITECTURES["cifar10-cnn"], seed=1, stop=2)))


def test_the_mean_of_one_state_is_that_state():
    state = take(build(ARCHITECTURES["digits-cnn"], seed=1))
    mean = weighted_mean([state], [17])
    assert all((mean[name] == state[name]).all() for name in state)
