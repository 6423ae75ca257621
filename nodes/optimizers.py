"""PyTorch's optimizers, as the settings name them."""

from collections.abc import Iterable
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim.sgd import sgd

from nodes import config


class Optimizer(Protocol):
    """What every optimizer of PyTorch can do, and all that is asked of one here."""

    param_groups: list[dict[str, Any]]

    def zero_grad(self) -> None:
        """Forget the gradients."""

    def step(self) -> Any:
        """Move the parameters by their gradients."""


class Sgd:
    """`torch.optim.SGD`: the same arithmetic, to the last bit, without its class.

    As soon as one of PyTorch's optimizers is made, it imports PyTorch's compiler, which nobody here uses: a second of
    every node's start, and 70 MB of its memory.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], rate: float, momentum: float, weight_decay: float) -> None:
        self._parameters = list(parameters)
        self._velocities: list[Tensor | None] = [None] * len(self._parameters)
        group = {"params": self._parameters, "lr": rate, "momentum": momentum, "weight_decay": weight_decay}
        self.param_groups: list[dict[str, Any]] = [group]

    def zero_grad(self) -> None:
        for parameter in self._parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        moved = [place for place, parameter in enumerate(self._parameters) if parameter.grad is not None]
        velocities = [self._velocities[place] for place in moved]
        (group,) = self.param_groups
        sgd(
            [self._parameters[place] for place in moved],
            [gradient for parameter in self._parameters if (gradient := parameter.grad) is not None],
            velocities,
            weight_decay=group["weight_decay"],
            momentum=group["momentum"],
            lr=group["lr"],
            dampening=0.0,
            nesterov=False,
            maximize=False,
        )
        for place, velocity in zip(moved, velocities, strict=True):
            self._velocities[place] = velocity


def build(parameters: Iterable[nn.Parameter], settings: config.Optimizer, rate: float) -> Optimizer:
    """An optimizer of `parameters` with this learning rate."""
    if settings.name == "adamw":
        return torch.optim.AdamW(parameters, lr=rate, weight_decay=settings.weight_decay)
    return Sgd(parameters, rate, settings.momentum, settings.weight_decay)


def set_rate(optimizer: Optimizer, rate: float) -> None:
    """Go on with another learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate
