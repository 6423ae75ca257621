"""What the five algorithms share: the skeleton, not a step of their mathematics.

Each algorithm's server step stands whole in its own file; the difference between two files is the difference between
the two algorithms.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from nodes import optimizers
from nodes.config import Settings
from nodes.extensions import LabelPriors
from nodes.state import State, to_tensor


@dataclass(frozen=True)
class Upload:
    """What one client sent: activations (batch, ...) float32 and labels (batch,) int64, and who it was: its name, and
    its place in the testbed's order."""

    client: str
    activations: Tensor
    labels: Tensor
    place: int

    @classmethod
    def from_arrays(
        cls, client: str, place: int, arrays: Mapping[str, NDArray[np.generic]], device: str = "cpu"
    ) -> "Upload":
        """Read the tensors of an `uplink` message, for a model on `device`."""
        activations, labels = to_tensor(arrays["activations"]), to_tensor(arrays["labels"])
        return cls(client, activations.to(device), labels.to(device).long(), place)


@dataclass(frozen=True)
class Step:
    """What one server step gives: per client, in the order of the uploads, the gradient of its activations, or None
    for a client that is to stand still, and its loss; and the algorithm's own diagnostics by metric name."""

    gradients: Sequence[Tensor | None]
    losses: Sequence[float]
    metrics: Mapping[str, float] = field(default_factory=dict)


class Algorithm(ABC):
    """The server's side of one algorithm: one server-side model, one optimizer.

    `step` gets the uploads of all clients, in testbed order; where they train in turns, one at a time; and where late
    ones are left out of a round (see nodes/participation.py), of those that are in time.
    """

    one_client_model = False
    """Whether there is one client-side model, which the clients hand around."""

    def __init__(self, model: nn.Module, settings: Settings, samples: Sequence[int]) -> None:
        """`model`: the server-side part. `samples`: how many training samples each client holds."""
        self.model = model
        self.parameters = list(model.parameters())
        self.settings = settings
        self.samples = samples
        self.optimizer = self.new_optimizer(model)
        self.priors = LabelPriors(settings.workload.classes, settings.options.logit_adjustment)

    def new_optimizer(self, model: nn.Module) -> optimizers.Optimizer:
        """An optimizer of a server-side model, as the settings have it."""
        settings = self.settings.optimizer
        return optimizers.build(model.parameters(), settings, settings.server_rate)

    def loss(self, upload: Upload, scores: Tensor) -> Tensor:
        """The mean loss of one client's batch, from its scores (batch, classes)."""
        return cross_entropy(self.priors.adjust(upload.client, scores), upload.labels)

    def models(self) -> Sequence[nn.Module]:
        """The server-side model that belongs to each client, in testbed order."""
        return [self.model] * len(self.samples)

    def step(self, round: int, uploads: Sequence[Upload]) -> Step:
        """Train the server-side model on one mini-batch of each of these clients.

        Raises FloatingPointError, naming round and client, when a loss is no longer a number.
        """
        for upload in uploads:
            self.priors.count(upload.client, upload.labels)
        return self.train(round, uploads)

    @abstractmethod
    def train(self, round: int, uploads: Sequence[Upload]) -> Step:
        """What the algorithm makes of these uploads; see `step`."""


class Averaging(Algorithm):
    """An algorithm that now and then makes one client-side model of those of all clients."""

    @abstractmethod
    def averages_after(self, round: int) -> bool:
        """Whether the client-side models are averaged when this round's backward passes are done."""

    @abstractmethod
    def average(self, states: Mapping[int, State]) -> State:
        """The client-side model that these clients go on with, from each one's, by their places in testbed order."""


def finite(round: int, uploads: Sequence[Upload], what: str, values: Tensor) -> list[float]:
    """One value per upload as numbers. Raises FloatingPointError, naming round and client, unless all are finite."""
    numbers: list[float] = values.tolist()
    for upload, number in zip(uploads, numbers, strict=True):
        if not math.isfinite(number):
            raise FloatingPointError(
                f"round {round}: the {what} of {upload.client} is {number}: lower server_rate or client_rate"
            )
    return numbers
