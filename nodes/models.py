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
    return nn.Sequential(*(_layer(architecture.layers[k], shapes[k], seed, position=k) for k in range(start, stop)))


def _layer(layer: Layer, shape: tuple[int, ...], seed: int, position: int) -> nn.Module:
    match layer.kind:
        case "conv":
            conv = nn.Conv2d(shape[0], layer.size, 3, layer.stride, padding=1, device="meta")
            return _initialised(conv, seed, position)
        case "linear":
            return _initialised(nn.Linear(shape[0], layer.size, device="meta"), seed, position)
        case "relu":
            return nn.ReLU()
        case "pool":
            return nn.MaxPool2d(2)
        case "flatten":
            return nn.Flatten()


def _initialised(layer: nn.Conv2d | nn.Linear, seed: int, position: int) -> nn.Module:
    """He's initialisation (arXiv 1502.01852), without which VGG-16 does not train unnormalised.

    The layer comes without memory (on the meta device), so that PyTorch's own initialisation, with its global
    generator, costs and changes nothing.
    """
    layer = layer.to_empty(device="cpu")
    assert layer.bias is not None
    generator = torch.Generator()
    generator.manual_seed(int(sequence(seed, "initial weights", position).generate_state(1, "uint64")[0] >> 1))
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
    nn.init.zeros_(layer.bias)
    return layer
