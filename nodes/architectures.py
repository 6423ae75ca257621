"""The models as plain data: which layers, in which order, on which images. No PyTorch here.

So a cut can be checked, and the size of what crosses the network be known, before anything heavy is imported.
"""

import math
from collections import Counter
from dataclasses import dataclass
from typing import Literal

from emulator.errors import nearest

Kind = Literal["conv", "relu", "pool", "flatten", "linear"]


@dataclass(frozen=True)
class Layer:
    """One layer. `size`: channels of a convolution (3x3, padding 1) or outputs of a linear layer."""

    kind: Kind
    size: int = 0
    stride: int = 1

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of one sample after this layer, from its shape before it (without the batch)."""
        match self.kind:
            case "conv":
                return (self.size, *((side - 1) // self.stride + 1 for side in shape[1:]))
            case "pool":
                return (shape[0], *(side // 2 for side in shape[1:]))
            case "flatten":
                return (math.prod(shape),)
            case "linear":
                return (self.size,)
            case "relu":
                return shape


@dataclass(frozen=True)
class Architecture:
    """A chain of layers from images of `shape` (channels, height, width) to scores of `classes` classes."""

    name: str
    shape: tuple[int, int, int]
    classes: int
    layers: tuple[Layer, ...]

    def layer_names(self) -> list[str]:
        """`conv1`, `relu1`, `pool1`, ...: each kind counted from 1."""
        seen: Counter[str] = Counter()
        names = []
        for layer in self.layers:
            seen[layer.kind] += 1
            names.append(f"{layer.kind}{seen[layer.kind]}")
        return names

    def shapes(self) -> list[tuple[int, ...]]:
        """Shape of one sample before the first layer and after each: one entry more than there are layers."""
        shapes: list[tuple[int, ...]] = [self.shape]
        for layer in self.layers:
            shapes.append(layer.output_shape(shapes[-1]))
        return shapes

    def cut_after(self, cut: int | str) -> int:
        """How many layers the client has, from that number itself or from the name of its last layer.

        Raises ValueError for a cut that leaves one side without a layer, or an unknown name.
        """
        names = self.layer_names()
        if isinstance(cut, str):
            if cut not in names:
                raise ValueError(f"{self.name} has no layer '{cut}'{nearest(cut, names)}")
            cut = names.index(cut) + 1
        if not 1 <= cut < len(names):
            raise ValueError(
                f"cut {cut} lies outside {self.name}, which has {len(names)} layers: "
                f"the client can have 1 to {len(names) - 1} of them ('{names[0]}' to '{names[-2]}')"
            )
        return cut


def _conv(*sizes: int, stride: int = 1) -> tuple[Layer, ...]:
    """Convolutions, each with its activation."""
    return tuple(layer for size in sizes for layer in (Layer("conv", size, stride), Layer("relu")))


_POOL = Layer("pool")

ARCHITECTURES = {
    architecture.name: architecture
    for architecture in (
        Architecture(
            "digits-cnn",
            (1, 8, 8),
            10,
            (
                *_conv(8, stride=2),
                *_conv(32),
                _POOL,
                Layer("flatten"),
                Layer("linear", 64),
                Layer("relu"),
                Layer("linear", 10),
            ),
        ),
        Architecture(
            "cifar10-cnn",
            (3, 32, 32),
            10,
            (
                *_conv(8, stride=2),
                *_conv(16),
                _POOL,
                *_conv(32),
                _POOL,
                *_conv(64),
                Layer("flatten"),
                Layer("linear", 10),
            ),
        ),
        # Configuration D of Simonyan and Zisserman (arXiv 1409.1556) as it is used for 32x32 images: no
        # normalisation, and one linear layer after the last pooling, which leaves a single pixel.
        Architecture(
            "vgg16",
            (3, 32, 32),
            10,
            (
                *_conv(64, 64),
                _POOL,
                *_conv(128, 128),
                _POOL,
                *_conv(256, 256, 256),
                _POOL,
                *_conv(512, 512, 512),
                _POOL,
                *_conv(512, 512, 512),
                _POOL,
                Layer("flatten"),
                Layer("linear", 10),
            ),
        ),
    )
}
