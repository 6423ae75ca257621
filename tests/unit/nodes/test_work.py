import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry
from workloads import algorithm, config, uploads

from nodes import counting, work
from nodes.architectures import ARCHITECTURES
from nodes.config import read
from nodes.models import build
from nodes.trainer import Trainer

CLIENTS, BATCH = 3, 8


class Flops(TorchDispatchMode):
    """Sums up what PyTorch's table says of every operation, on real tensors.

    PyTorch's own FlopCounterMode follows modules, and cannot where gradients are asked of leaves.
    """

    total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        self.total += formula(*args, **(kwargs or {}), out_val=result) if formula else 0
        return result


def settings(name, **options):
    return read(config(name, batch_size=BATCH, algorithms={name: options}))


def step_flops(name, **options):
    made = algorithm(name, CLIENTS, BATCH, **options)
    sent = uploads(1 if name == "sl" else CLIENTS, BATCH)
    with Flops() as counter:
        made.step(1, sent)
    return counter.total, sum(parameter.numel() for parameter in made.parameters)


@pytest.mark.parametrize("name", ["sl", "psl", "sfl"])
def test_the_servers_work_is_what_its_step_does(name):
    counted, size = step_flops(name)
    assert work.server_step(settings(name), CLIENTS).flops == counted + 4 * size


@pytest.mark.parametrize("phi", [0, 0.25, 0.5, 1])
def test_epsl_goes_back_through_fewer_samples(phi):
    counted, size = step_flops("epsl", phi=phi)
    assert work.server_step(settings("epsl", phi=phi), CLIENTS).flops == counted + 4 * size


def test_gapsl_goes_back_once_for_each_client_and_multiplies_the_gradients():
    counted, size = step_flops("gapsl")
    assert work.server_step(settings("gapsl"), CLIENTS).flops == counted + 4 * size


def test_epsl_with_phi_0_has_psls_work():
    assert work.server_step(settings("epsl", phi=0), CLIENTS) == work.server_step(settings("psl"), CLIENTS)


def test_the_clients_work_is_what_its_passes_do():
    trainer = Trainer(settings("psl"), 0, CLIENTS)
    size = sum(parameter.numel() for parameter in trainer.model.parameters())
    forward, backward = work.client(settings("psl"))
    with Flops() as counter:
        sent = trainer.forward()
    assert forward.flops == counter.total
    with Flops() as counter:
        trainer.backward(sent["activations"], round=1)
    assert backward.flops == counter.total + 4 * size


@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_every_model_can_be_counted_at_every_cut(name):
    architecture = ARCHITECTURES[name]
    whole = counting.count(architecture, 0, len(architecture.layers), 2)
    for cut in range(1, len(architecture.layers)):
        first, rest = (
            counting.count(architecture, 0, cut, 2),
            counting.count(architecture, cut, len(architecture.layers), 2),
        )
        assert first.forward.flops + rest.forward.flops == whole.forward.flops
        assert first.parameters + rest.parameters == whole.parameters
        assert rest.backward.flops > 0
        assert rest.backward.peak_memory > 3 * 4 * rest.parameters


def test_work_grows_with_the_batch():
    architecture = ARCHITECTURES["digits-cnn"]
    one, two = (counting.count(architecture, 0, 4, samples) for samples in (4, 8))
    assert two.forward.flops == 2 * one.forward.flops
    assert one.forward.bytes_moved < two.forward.bytes_moved < 2 * one.forward.bytes_moved


def test_an_operation_that_cannot_be_counted_is_named_with_the_remedy():
    with pytest.raises(ValueError, match=r"the FLOPs of 'aten.erf' are not known: .*register_flop_formula"):
        counting.passes(Erf(), torch.empty(2, 3, device="meta", requires_grad=True))


class Erf(nn.Module):
    def forward(self, batch):
        return torch.erf(batch)


def test_counts_are_kept_between_processes(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    work.count.cache_clear()
    architecture = ARCHITECTURES["digits-cnn"]
    counted = work.count(architecture, 0, 2, 5)
    work.count.cache_clear()
    monkeypatch.setattr(counting, "count", None)  # whoever counts again fails
    assert work.count(architecture, 0, 2, 5) == counted


def test_damaged_counts_are_counted_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "edgebed").mkdir()
    (tmp_path / "edgebed" / "work.json").write_text("[not json")
    work.count.cache_clear()
    architecture = ARCHITECTURES["digits-cnn"]
    assert work.count(architecture, 0, 2, 5) == counting.count(architecture, 0, 2, 5)


def test_an_outline_has_the_models_shapes():
    architecture = ARCHITECTURES["digits-cnn"]
    real = {name: value.shape for name, value in build(architecture, seed=1).state_dict().items()}
    from nodes.models import outline

    assert {name: value.shape for name, value in outline(architecture).state_dict().items()} == real
