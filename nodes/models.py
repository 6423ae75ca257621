"""Models built from their architectures, any stretch of layers alone, with seeded initial weights."""

import torch
from torch import nn

from nodes.architectures import Architecture, Layer
from nodes.seeds import sequence


def build(architecture: Architecture, seed: int, start: int = 0, stop: int | None = None) -> nn.Sequential:
    """Layers `start` (included) to `stop` (excluded) of `architecture`.

    Every layer draws its weights from a generator of its own, so a part holds the same weights as the same layers
    of the whole model: every client starts from one client-side model, and cutting elsewhere changes no weight.
    """
    shapes = architecture.shapes()
    stop = len(architecture.layers) if stop is None else stop
    modules = [_module(architecture.layers[k], shapes[k]).to_empty(device="cpu") for k in range(start, stop)]
    for k, module in enumerate(modules, start):
        if isinstance(module, nn.Conv2d | nn.Linear):
            _initialise(module, seed, position=k, last=k == len(architecture.layers) - 1)
    return nn.Sequential(*modules)


def outline(architecture: Architecture, start: int = 0, stop: int | None = None) -> nn.Sequential:
    """The same layers without memory (on the meta device): their shapes, and nothing else."""
    shapes = architecture.shapes()
    stop = len(architecture.layers) if stop is None else stop
    return nn.Sequential(*(_module(architecture.layers[k], shapes[k]) for k in range(start, stop)))


def _module(layer: Layer, shape: tuple[int, ...]) -> nn.Module:
    """A module for samples of `shape`, without memory (on the meta device).

    So PyTorch's own initialisation, with its global generator, costs and changes nothing.
    """
    match layer.kind:
        case "conv":
            return nn.Conv2d(shape[0], layer.size, 3, layer.stride, padding=1, device="meta")
        case "linear":
            return nn.Linear(shape[0], layer.size, device="meta")
        case "relu":
            return nn.ReLU()
        case "pool":
            return nn.MaxPool2d(2)
        case "flatten":
            return nn.Flatten()


def _initialise(module: nn.Conv2d | nn.Linear, seed: int, position: int, *, last: bool) -> None:
    """He's initialisation (arXiv 1502.01852), and VGG's normal one of deviation 0.01 for the last layer.

    Without the first, the activations of 16 layers without normalisation vanish; without the second, the first steps
    are so large that the units of VGG-16 die.
    """
    generator = torch.Generator()
    generator.manual_seed(int(sequence(seed, "initial weights", position).generate_state(1, "uint64")[0] >> 1))
    assert module.bias is not None
    nn.init.zeros_(module.bias)
    if last:
        nn.init.normal_(module.weight, std=0.01, generator=generator)
    else:
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
