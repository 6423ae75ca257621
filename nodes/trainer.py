"""A client's half of training: its data, its client-side model, one forward and one backward pass at a time."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nodes import data, partition
from nodes.batches import Batches
from nodes.config import Settings
from nodes.models import build
from nodes.seeds import generator
from nodes.state import State, give, take, to_array, to_tensor


class Trainer:
    """Client number `index` of `clients`, which all start from the same client-side weights.

    Raises ValueError when the data are not there or do not give every client a batch.
    """

    def __init__(self, settings: Settings, index: int, clients: int) -> None:
        workload, seed = settings.workload, settings.seed
        self.model = build(workload.model.architecture, seed, stop=workload.model.client_layers)
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), lr=settings.optimizer.client_rate, momentum=settings.optimizer.momentum
        )
        source = data.load(workload.data, "train", seed)
        # Every client draws the whole partition from the same generator and keeps its own part.
        draw = generator(seed, "partition")
        if workload.data.partition == "iid":
            parts = partition.iid(len(source.labels), clients, workload.batch_size, draw)
        else:
            parts = partition.dirichlet(source.labels, clients, workload.data.alpha, workload.batch_size, draw)
        self.samples = source.take(parts[index])
        self.held = len(self.samples)
        self._batches = Batches(len(self.samples), workload.batch_size, generator(seed, "batches", index))
        self._label_type = np.min_scalar_type(source.kind.classes - 1)
        self._activations: Tensor | None = None

    def forward(self) -> dict[str, NDArray[np.generic]]:
        """Run the client-side model on the next mini-batch.

        Gives `activations` (batch, ...) float32 and `labels` (batch,) in the smallest integer that holds them.
        """
        batch = next(self._batches)
        self._activations = self.model(to_tensor(self.samples.images(batch)))
        return {
            "activations": to_array(self._activations),
            "labels": self.samples.labels[batch].astype(self._label_type),
        }

    def backward(self, gradient: NDArray[np.generic]) -> None:
        """Back-propagate the activations' gradient (their shape) and step the client-side model."""
        assert self._activations is not None, "there was no forward pass"
        self.optimizer.zero_grad()
        torch.autograd.backward(self._activations, to_tensor(gradient))
        self._activations = None
        self.optimizer.step()

    def state(self) -> dict[str, NDArray[np.float32]]:
        """A copy of the client-side weights by name."""
        return take(self.model)

    def load(self, state: State) -> None:
        """Go on with these client-side weights; the momentum stays."""
        give(self.model, state)
