"""Accuracy of the pairs (client-side model, server-side model) on the global test set."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from nodes.data import Samples
from nodes.state import State, give, to_tensor

BATCH = 500  # images at a time


@dataclass(frozen=True)
class Accuracy:
    """Over the pairs: the mean, the worst and the best share of test images classified correctly."""

    mean: float
    low: float
    high: float


@torch.no_grad()
def evaluate(client: nn.Module, states: Sequence[State], server: nn.Module, test: Samples) -> Accuracy:
    """Accuracy with each of the client-side `states` in turn loaded into `client`; `server` is left as it was."""
    shares = []
    server.eval()
    client.eval()
    for state in states:
        give(client, state)
        correct = 0
        for start in range(0, len(test), BATCH):
            images = to_tensor(test.images(slice(start, start + BATCH)))
            labels = to_tensor(test.labels[start : start + BATCH])
            correct += int((server(client(images)).argmax(dim=1) == labels).sum())
        shares.append(correct / len(test))
    server.train()
    return Accuracy(sum(shares) / len(shares), min(shares), max(shares))
