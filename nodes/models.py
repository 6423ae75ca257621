"""Models built from their architectures, any stretch of layers alone, with seeded initial weights."""

import torch
from torch import nn

from nodes.architectures import Architecture, Layer, groups
from nodes.blocks import Average, ClassToken, Encoder, Patches, Residual
from nodes.seeds import sequence


def build(architecture: Architecture, seed: int, start: int = 0, stop: int | None = None) -> nn.Sequential:
    """Layers `start` (included) to `stop` (excluded) of `architecture`.

    Every layer draws its weights from a generator of its own, so a part holds the same weights as the same layers
    of the whole model: every client starts from one client-side model, and cutting elsewhere changes no weight.
    """
    model = outline(architecture, start, stop).to_empty(device="cpu")
    for position, module in enumerate(model, start):
        _initialise(module, seed, position, last=position == len(architecture.layers) - 1)
    return model


def outline(architecture: Architecture, start: int = 0, stop: int | None = None) -> nn.Sequential:
    """The same layers without memory (on the meta device): their shapes, and nothing else.

    So PyTorch's own initialisation, with its global generator, costs and changes nothing.
    """
    shapes = architecture.shapes()
    stop = len(architecture.layers) if stop is None else stop
    with torch.device("meta"):
        return nn.Sequential(*(_module(architecture.layers[k], shapes[k]) for k in range(start, stop)))


def _module(layer: Layer, shape: tuple[int, ...]) -> nn.Module:
    """A module for samples of `shape`."""
    match layer.kind:
        case "conv":
            return nn.Conv2d(shape[0], layer.size, layer.kernel, layer.stride, padding=layer.kernel // 2)
        case "linear":
            return nn.Linear(shape[0], layer.size)
        case "relu":
            return nn.ReLU()
        case "pool":
            return nn.MaxPool2d(2)
        case "flatten":
            return nn.Flatten()
        case "groupnorm":
            return nn.GroupNorm(groups(shape[0]), shape[0])
        case "batchnorm":
            return nn.BatchNorm2d(shape[0])
        case "residual":
            inner = layer.output_shape(shape)
            parts = {
                name: _module(part, shape if name in ("conv1", "shortcut") else inner)
                for name, part in layer.parts(shape).items()
            }
            return Residual(parts)
        case "average":
            return Average()
        case "patches":
            tokens, size = layer.output_shape(shape)
            return Patches(shape[0], tokens, size, layer.stride)
        case "encoder":
            return Encoder(shape[1], layer.heads)
        case "token":
            return ClassToken(shape[1])


def _initialise(module: nn.Module, seed: int, position: int, *, last: bool) -> None:
    """Give a layer at `position` its initial weights, all from one generator.

    He's initialisation (arXiv 1502.01852), and VGG's normal one of deviation 0.01 for the last layer. Without the
    first, the activations of 16 layers without normalisation vanish; without the second, the first steps are so large
    that the units of VGG-16 die. A vision transformer's weights are normal with deviation 0.02 (arXiv 2010.11929).
    """
    generator = torch.Generator()
    generator.manual_seed(int(sequence(seed, "initial weights", position).generate_state(1, "uint64")[0] >> 1))
    transformer = isinstance(module, Patches | Encoder)
    for part in module.modules():
        match part:
            case nn.Conv2d() | nn.Linear():
                assert part.bias is not None
                nn.init.zeros_(part.bias)
                if last or transformer:
                    nn.init.normal_(part.weight, std=0.01 if last else 0.02, generator=generator)
                else:
                    nn.init.kaiming_normal_(part.weight, nonlinearity="relu", generator=generator)
            case nn.GroupNorm() | nn.LayerNorm() | nn.BatchNorm2d():
                part.reset_parameters()
            case Patches():
                nn.init.normal_(part.token, std=0.02, generator=generator)
                nn.init.normal_(part.positions, std=0.02, generator=generator)
