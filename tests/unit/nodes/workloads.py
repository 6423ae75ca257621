"""Configurations, models and uploads for the tests of the workload."""

from collections.abc import Mapping
from typing import Any

import torch

from nodes.algorithms import Upload, named
from nodes.algorithms.common import Algorithm
from nodes.config import read
from nodes.models import build


def config(algorithm: str = "psl", rounds: int = 3, seed: int = 1, **workload: Any) -> dict[str, Any]:
    """A node's configuration: digits, four of its layers' worth of everything else at its default."""
    return {
        "algorithm": algorithm,
        "rounds": rounds,
        "seed": seed,
        "target_accuracy": None,
        "workload": {
            "data": {"name": "digits", "partition": "dirichlet", "alpha": 0.5},
            "model": {"name": "digits-cnn", "cut": "relu1"},
            "optimizer": {"server_rate": 0.05, "client_rate": 0.01},
            **workload,
        },
    }


def algorithm(name: str, clients: int, batch: int = 8, **options: Any) -> Algorithm:
    """The server's side of `name` for `clients` clients, always with the same initial weights."""
    settings = read(config(name, rounds=10, batch_size=batch, algorithms={name: options}))
    model = build(settings.workload.model.architecture, seed=1, start=2)
    return named(name)(model, settings, [100] * clients)


def uploads(clients: int, batch: int = 8, seed: int = 0) -> list[Upload]:
    """Random activations of digits-cnn's first two layers, and random labels."""
    generator = torch.Generator().manual_seed(seed)
    return [
        Upload(
            f"client-{k + 1}",
            torch.rand(batch, 8, 4, 4, generator=generator),
            torch.randint(10, (batch,), generator=generator),
            k,
        )
        for k in range(clients)
    ]


def weights(model: torch.nn.Module) -> Mapping[str, torch.Tensor]:
    """A copy of the model's weights."""
    return {name: value.clone() for name, value in model.state_dict().items()}
