"""Accuracy on the test set, of each client's pair of models and of all of them together."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nodes.data import Samples
from nodes.state import State, give, to_tensor

BATCH = 500  # images at a time


@dataclass(frozen=True)
class Spread:
    """Over the clients: the mean, the worst and the best."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """The spread of one value for each client."""
        return cls(sum(values) / len(values), min(values), max(values))


@dataclass(frozen=True)
class Evaluation:
    """Three views of the same models, which can put algorithms in opposite orders.

    `everyone`: each pair (client-side model, server-side model) on the whole test set. `own`: each client's pair on
    the test set weighted to the client's own label mix. `ensemble`: the mean of all pairs' probabilities.
    """

    everyone: Spread
    own: Spread
    ensemble: float

    def metrics(self) -> dict[str, float]:
        """The figures by the names of the metrics."""
        named = {"accuracy": self.everyone, "accuracy_own": self.own}
        spreads = {
            f"{name}{end}": value
            for name, spread in named.items()
            for end, value in (("", spread.mean), ("_min", spread.low), ("_max", spread.high))
        }
        return {**spreads, "accuracy_ensemble": self.ensemble}


@torch.no_grad()
def evaluate(
    client: nn.Module,
    states: Sequence[State],
    servers: Sequence[nn.Module],
    mixes: NDArray[np.float64],
    test: Samples,
) -> Evaluation:
    """The clients' models tested.

    `states`: the client-side weights of each client, loaded into `client` in turn, or those of the one client that
    has the model. `servers`: each client's server-side model; they are left as they were. `mixes` (clients, classes):
    how many samples of each class each client holds.
    """
    classes = mixes.shape[1]
    held = np.bincount(test.labels, minlength=classes)
    right, probabilities = [], np.zeros((len(test), classes))
    client.eval()
    for state, server in zip(states, servers, strict=False):
        give(client, state)
        own = _probabilities(client, server, test, classes)
        right.append(own.argmax(axis=1) == test.labels)
        probabilities += own

    by_class = [np.bincount(test.labels[one], minlength=classes) / np.maximum(held, 1) for one in right]
    if len(states) < len(mixes):
        by_class = by_class * len(mixes)  # one model for all
    # A class that the test set lacks, being a part, says nothing about anyone.
    weights = np.where(held > 0, mixes, 0.0)
    own_mix = [
        float(weight @ rates / weight.sum()) if weight.any() else 0.0
        for weight, rates in zip(weights, by_class, strict=True)
    ]
    return Evaluation(
        Spread.of([float(one.mean()) for one in right]),
        Spread.of(own_mix),
        float((probabilities.argmax(axis=1) == test.labels).mean()),
    )


def _probabilities(client: nn.Module, server: nn.Module, test: Samples, classes: int) -> NDArray[np.float64]:
    """Of each class for each test image: (images, classes)."""
    device = next(server.parameters()).device
    was_training = server.training
    server.eval()
    found = np.empty((len(test), classes))
    for start in range(0, len(test), BATCH):
        images = to_tensor(test.images(slice(start, start + BATCH))).to(device)
        found[start : start + BATCH] = server(client(images)).softmax(dim=1)[:, :classes].double().cpu().numpy()
    server.train(was_training)
    return found
