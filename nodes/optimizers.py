"""PyTorch's optimizers, as the settings name them."""

from collections.abc import Iterable

import torch
from torch import nn

from nodes.config import Optimizer


def build(parameters: Iterable[nn.Parameter], settings: Optimizer, rate: float) -> torch.optim.Optimizer:
    """An optimizer of `parameters` with this learning rate."""
    if settings.name == "adamw":
        return torch.optim.AdamW(parameters, lr=rate, weight_decay=settings.weight_decay)
    return torch.optim.SGD(parameters, lr=rate, momentum=settings.momentum, weight_decay=settings.weight_decay)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Go on with another learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate
