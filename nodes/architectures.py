"""The models as plain data: which layers, in which order, on which images. No PyTorch here.

So a cut can be checked, and the size of what crosses the network be known, before anything heavy is imported.
"""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

from emulator.errors import nearest

Norm = Literal["none", "group", "batch"]
Kind = Literal[
    "conv", "relu", "pool", "flatten", "linear", "groupnorm", "batchnorm",
    "residual", "average", "patches", "encoder", "token",
]  # fmt: skip
Shape = tuple[int, ...]

GROUP = 8  # channels at least, and at most 32 groups: Wu and He, arXiv 1803.08494
EXPANSION = 4  # of a transformer's inner layer


@dataclass(frozen=True)
class Layer:
    """One layer, or a block that nothing cuts through. `size`: how many channels, outputs or features it gives.

    `conv`: `kernel` pixels square, padded to keep its size. `pool`: the maximum of 2x2. `residual`: ResNet's basic
    block, two convolutions with their norms. `average`: over all pixels. `patches`: an image as tokens, one for each
    square of `stride` pixels and a class token first, with learnt positions. `encoder`: a transformer's, of `heads`
    heads, normalising first. `token`: the class token, normalised.
    """

    kind: Kind
    size: int = 0
    stride: int = 1
    kernel: int = 3
    heads: int = 1
    norm: Norm = "none"

    def output_shape(self, shape: Shape) -> Shape:
        """The shape of one sample after this layer, from its shape before it (without the batch)."""
        match self.kind:
            case "conv" | "residual":
                return (self.size, *((side - 1) // self.stride + 1 for side in shape[1:]))
            case "pool":
                return (shape[0], *(side // 2 for side in shape[1:]))
            case "flatten":
                return (math.prod(shape),)
            case "linear":
                return (self.size,)
            case "average":
                return (shape[0],)
            case "patches":
                return (math.prod(side // self.stride for side in shape[1:]) + 1, self.size)
            case "token":
                return (shape[1],)
            case "relu" | "groupnorm" | "batchnorm" | "encoder":
                return shape

    def weights(self, shape: Shape) -> dict[str, Shape]:
        """Its weights, by PyTorch's names, for samples of `shape`: their shapes, in its order."""
        match self.kind:
            case "conv":
                return {"weight": (self.size, shape[0], self.kernel, self.kernel), "bias": (self.size,)}
            case "linear":
                return {"weight": (self.size, shape[0]), "bias": (self.size,)}
            case "groupnorm":
                return _norm_weights(shape[0])
            case "batchnorm":
                return _norm_weights(shape[0]) | {"running_mean": (shape[0],), "running_var": (shape[0],)}
            case "residual":
                return _named(self.parts(shape), shape)
            case "patches":
                tokens, size = self.output_shape(shape)
                kernel = (size, shape[0], self.stride, self.stride)
                positions = {"token": (1, size), "positions": (tokens, size)}
                return positions | {"projection.weight": kernel, "projection.bias": (size,)}
            case "encoder":
                size, inner = shape[1], EXPANSION * shape[1]
                linears = {
                    "attend": (3 * size, size),
                    "project": (size, size),
                    "widen": (inner, size),
                    "narrow": (size, inner),
                }
                found = _prefixed("norm1", _norm_weights(size)) | _prefixed("norm2", _norm_weights(size))
                for name, (outputs, inputs) in linears.items():
                    found |= {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}
                return found
            case "token":
                return _prefixed("norm", _norm_weights(shape[1]))
            case "relu" | "pool" | "flatten" | "average":
                return {}

    def parts(self, shape: Shape) -> dict[str, "Layer"]:
        """The named layers of a `residual` block for samples of `shape`; `shortcut` only where the shape changes."""
        norm = {"none": None, "group": Layer("groupnorm"), "batch": Layer("batchnorm")}[self.norm]
        found = {"conv1": Layer("conv", self.size, self.stride), "norm1": norm}
        found |= {"conv2": Layer("conv", self.size), "norm2": norm}
        if self.output_shape(shape) != shape:
            found["shortcut"] = Layer("conv", self.size, self.stride, kernel=1)
        return {name: layer for name, layer in found.items() if layer is not None}


def groups(channels: int) -> int:
    """In how many groups so many channels are normalised."""
    return max(1, min(32, channels // GROUP))


def _norm_weights(channels: int) -> dict[str, Shape]:
    return {"weight": (channels,), "bias": (channels,)}


def _prefixed(prefix: str, weights: dict[str, Shape]) -> dict[str, Shape]:
    return {f"{prefix}.{name}": shape for name, shape in weights.items()}


def _named(parts: dict[str, Layer], shape: Shape) -> dict[str, Shape]:
    """The weights of parts, each for samples of what the first one gives, but `conv1` and `shortcut` for `shape`."""
    inner = parts["conv1"].output_shape(shape)
    found: dict[str, Shape] = {}
    for name, part in parts.items():
        found |= _prefixed(name, part.weights(shape if name in ("conv1", "shortcut") else inner))
    return found


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


_NORMS: dict[Norm, tuple[Layer, ...]] = {"none": (), "group": (Layer("groupnorm"),), "batch": (Layer("batchnorm"),)}
_POOL = Layer("pool")


def _conv(norm: Norm, *sizes: int, stride: int = 1) -> tuple[Layer, ...]:
    """Convolutions, each with its norm and activation."""
    return tuple(layer for size in sizes for layer in (Layer("conv", size, stride), *_NORMS[norm], Layer("relu")))


def _digits_cnn(norm: Norm) -> Architecture:
    convolutions = (*_conv(norm, 8, stride=2), *_conv(norm, 32), _POOL)
    return Architecture(
        "digits-cnn",
        (1, 8, 8),
        10,
        (*convolutions, Layer("flatten"), Layer("linear", 64), Layer("relu"), Layer("linear", 10)),
    )


def _digits_vgg(norm: Norm) -> Architecture:
    """Stacked 3x3 convolutions, as in VGG; the third leaves few channels, so that little crosses the network there."""
    client, server = (*_conv(norm, 64, 64), *_conv(norm, 8, stride=2)), _conv(norm, 64, 64)
    return Architecture("digits-vgg", (1, 8, 8), 10, (*client, *server, _POOL, Layer("flatten"), Layer("linear", 10)))


def _cifar10_cnn(norm: Norm) -> Architecture:
    client = (*_conv(norm, 8, stride=2), *_conv(norm, 16), _POOL)
    server = (*_conv(norm, 32), _POOL, *_conv(norm, 64), Layer("flatten"), Layer("linear", 10))
    return Architecture("cifar10-cnn", (3, 32, 32), 10, client + server)


def _vgg16(norm: Norm) -> Architecture:
    """Configuration D of Simonyan and Zisserman (arXiv 1409.1556) as it is used for 32x32 images: one linear layer
    after the last pooling, which leaves a single pixel."""
    stages = [(64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)]
    convolutions = tuple(layer for sizes in stages for layer in (*_conv(norm, *sizes), _POOL))
    return Architecture("vgg16", (3, 32, 32), 10, (*convolutions, Layer("flatten"), Layer("linear", 10)))


def _resnet18(norm: Norm) -> Architecture:
    """He, Zhang, Ren, Sun, arXiv 1512.03385, with the stem that is customary for 32x32 images: one 3x3 convolution, no
    pooling. Its convolutions have biases, and its shortcuts no norm (ours)."""
    blocks = tuple(
        Layer("residual", size, stride if first else 1, norm=norm)
        for size, stride in ((64, 1), (128, 2), (256, 2), (512, 2))
        for first in (True, False)
    )
    return Architecture("resnet18", (3, 32, 32), 10, (*_conv(norm, 64), *blocks, Layer("average"), Layer("linear", 10)))


def _vit_base(patch: int, side: int) -> Architecture:
    """ViT-Base of Dosovitskiy et al., arXiv 2010.11929: 12 encoders of 768 features and 12 heads."""
    encoders = (Layer("encoder", heads=12),) * 12
    layers = (Layer("patches", 768, patch), *encoders, Layer("token"), Layer("linear", 10))
    return Architecture(f"vit-base-{patch}", (3, side, side), 10, layers)


_MODELS: dict[str, tuple[Callable[[Norm], Architecture], tuple[Norm, ...]]] = {
    "digits-cnn": (_digits_cnn, ("none", "group", "batch")),
    "digits-vgg": (_digits_vgg, ("none", "group", "batch")),
    "cifar10-cnn": (_cifar10_cnn, ("none", "group", "batch")),
    "vgg16": (_vgg16, ("none", "group", "batch")),
    "resnet18": (_resnet18, ("group", "batch")),
    "vit-base-4": (lambda _: _vit_base(4, 32), ()),
    "vit-base-16": (lambda _: _vit_base(16, 224), ()),
}
"""How each model is made, and the norms that it can have; the first is its default."""


@cache
def architecture(name: str, norm: Norm | None = None, classes: int | None = None) -> Architecture:
    """The model called `name`. Raises ValueError for an unknown name, and for a norm that it cannot have."""
    if name not in _MODELS:
        raise ValueError(f"no model is called '{name}'{nearest(name, list(_MODELS))}")
    make, norms = _MODELS[name]
    if norm is not None and norm not in norms:
        can = f"takes norm {' or '.join(norms)}" if norms else "has layer norms of its own: leave norm out"
        raise ValueError(f"{name} cannot have norm {norm}: it {can}")
    made = make(norm or (norms[0] if norms else "none"))
    if classes is None:
        return made
    return replace(made, classes=classes, layers=(*made.layers[:-1], replace(made.layers[-1], size=classes)))


ARCHITECTURES = {name: architecture(name) for name in _MODELS}
"""Every model, for ten classes and with its default norm."""
