"""Modules for the layers of nodes/architectures.py that PyTorch has no single module for."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from nodes.architectures import EXPANSION


class Residual(nn.Module):
    """ResNet's basic block, from its parts by name: `conv1`, `conv2`, and perhaps `norm1`, `norm2`, `shortcut`."""

    def __init__(self, parts: dict[str, nn.Module]) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, images: Tensor) -> Tensor:
        inner = functional.relu(self._part("norm1", self._part("conv1", images)))
        return functional.relu(self._part("norm2", self._part("conv2", inner)) + self._part("shortcut", images))

    def _part(self, name: str, values: Tensor) -> Tensor:
        part = getattr(self, name, None)
        result: Tensor = values if part is None else part(values)
        return result


class Average(nn.Module):
    """(batch, channels, height, width) to (batch, channels)."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean(dim=(2, 3))


class Patches(nn.Module):
    """Images (batch, channels, height, width) to tokens (batch, 1 + patches, size)."""

    def __init__(self, channels: int, tokens: int, size: int, patch: int) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.empty(1, size))
        self.positions = nn.Parameter(torch.empty(tokens, size))
        self.projection = nn.Conv2d(channels, size, patch, patch)

    def forward(self, images: Tensor) -> Tensor:
        patches = self.projection(images).flatten(2).transpose(1, 2)
        return torch.cat([self.token.expand(len(images), 1, -1), patches], dim=1) + self.positions


class Encoder(nn.Module):
    """A transformer's encoder, (batch, tokens, size) both ways: Dosovitskiy et al., arXiv 2010.11929, Eq 2 and 3.

    Attention is written out, so that it can be differentiated twice on any device.
    """

    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(size)
        self.norm2 = nn.LayerNorm(size)
        self.attend = nn.Linear(size, 3 * size)
        self.project = nn.Linear(size, size)
        self.widen = nn.Linear(size, EXPANSION * size)
        self.narrow = nn.Linear(EXPANSION * size, size)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self._attention(self.norm1(tokens))
        inner: Tensor = self.narrow(functional.gelu(self.widen(self.norm2(tokens))))
        return tokens + inner

    def _attention(self, tokens: Tensor) -> Tensor:
        batch, count, size = tokens.shape
        query, key, value = self.attend(tokens).view(batch, count, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        shares = (query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5).softmax(dim=-1)
        result: Tensor = self.project((shares @ value).transpose(1, 2).reshape(batch, count, size))
        return result


class ClassToken(nn.Module):
    """Tokens (batch, tokens, size) to the first of them, normalised: (batch, size)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(size)

    def forward(self, tokens: Tensor) -> Tensor:
        first: Tensor = self.norm(tokens[:, 0])
        return first
