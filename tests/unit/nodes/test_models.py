import pytest
import torch

from nodes.architectures import ARCHITECTURES
from nodes.models import build
from nodes.state import give, take, weighted_mean


@pytest.mark.parametrize("name", ["digits-cnn", "cifar10-cnn"])
def test_a_cut_anywhere_composes_to_the_whole_model(name):
    architecture = ARCHITECTURES[name]
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
