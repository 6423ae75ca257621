"""A client's half of training: its data, its client-side model, one forward and one backward pass at a time."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emulator.errors import InputError
from nodes import data, optimizers, partition
from nodes.batches import Batches
from nodes.config import Settings
from nodes.extensions import ProximalPull
from nodes.models import build
from nodes.seeds import generator
from nodes.state import State, give, take, to_array, to_tensor


class Trainer:
    """Client number `index` of `clients`, which all start from the same client-side weights.

    It holds so many samples (`held`), and so many of each class (`labels`). Raises InputError when the data are not
    there or do not give every client a batch.
    """

    def __init__(self, settings: Settings, index: int, clients: int) -> None:
        workload, seed = settings.workload, settings.seed
        self.model = build(workload.model.architecture, seed, stop=workload.model.client_layers)
        self._settings = settings
        self._device = workload.devices.clients
        self.model.to(self._device)
        self.optimizer = optimizers.build(self.model.parameters(), settings.optimizer, settings.optimizer.client_rate)
        self._pull = ProximalPull(list(self.model.parameters()), settings.options.proximal)
        try:
            source = data.load(workload.data, "train", seed)
            parts = partition.draw(workload.data, source.labels, clients, workload.batch_size, seed)
            self.samples = source.take(parts[index])
        except ValueError as error:
            raise InputError(str(error)) from error
        self.held = len(self.samples)
        self.labels = np.bincount(self.samples.labels, minlength=source.kind.classes)
        self._batches = Batches(len(self.samples), workload.batch_size, generator(seed, "batches", index))
        self._augment = generator(seed, "augmentation", index) if workload.data.augment else None
        self._label_type = np.min_scalar_type(source.kind.classes - 1)
        self._activations: Tensor | None = None

    def forward(self) -> dict[str, NDArray[np.generic]]:
        """Run the client-side model on the next mini-batch.

        Gives `activations` (batch, ...) float32 and `labels` (batch,) in the smallest integer that holds them.
        """
        batch = next(self._batches)
        self._activations = self.model(to_tensor(self.samples.images(batch, self._augment)).to(self._device))
        return {
            "activations": to_array(self._activations),
            "labels": self.samples.labels[batch].astype(self._label_type),
        }

    def backward(self, gradient: NDArray[np.generic], round: int) -> None:
        """Back-propagate the activations' gradient (their shape) and step the client-side model.

        At a learning rate of 0 it stands still, but computes as before: what freezing could save is not claimed.
        """
        assert self._activations is not None, "there was no forward pass"
        self.optimizer.zero_grad()
        torch.autograd.backward(self._activations, to_tensor(gradient).to(self._device))
        self._activations = None
        self._pull.add_to_gradients()
        schedule = self._settings.options.client_schedule
        rate = self._settings.optimizer.client_rate * schedule.factor(round, self._settings.rounds)
        optimizers.set_rate(self.optimizer, rate)
        self.optimizer.step()

    def state(self) -> dict[str, NDArray[np.float32]]:
        """A copy of the client-side weights by name."""
        return take(self.model)

    def load(self, state: State) -> None:
        """Go on with these client-side weights; the momentum stays."""
        give(self.model, state)
