"""The server's half of training: an algorithm, and the test of what it has learnt."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nodes import data
from nodes.algorithms import Averaging, Upload, named
from nodes.config import Settings
from nodes.evaluate import Accuracy, evaluate
from nodes.models import build
from nodes.state import State

Outcome = tuple[Sequence[NDArray[np.generic] | None], Sequence[float], Mapping[str, float]]
"""Of a step: each client's gradient of its activations, or None for a client that is to stand still; the losses, and
the algorithm's metrics."""


class Training:
    """The algorithm that `settings` name, for clients that hold so many `samples`."""

    def __init__(self, settings: Settings, samples: Sequence[int]) -> None:
        workload, seed = settings.workload, settings.seed
        architecture, cut = workload.model.architecture, workload.model.client_layers
        self._algorithm = named(settings.algorithm)(build(architecture, seed, start=cut), settings, samples)
        self._client_model = build(architecture, seed, stop=cut)
        self._test = data.load(workload.data, "test", seed).take(slice(workload.evaluate.samples))

    def step(self, round: int, uploads: Sequence[tuple[str, Mapping[str, NDArray[np.generic]]]]) -> Outcome:
        """Train on one mini-batch of each client, or of the one whose turn it is; `uploads`: names and what they sent.

        Raises FloatingPointError, naming round and client, when a loss is no longer a number.
        """
        step = self._algorithm.step(round, [Upload.from_arrays(client, arrays) for client, arrays in uploads])
        gradients = [None if gradient is None else gradient.numpy() for gradient in step.gradients]
        return gradients, step.losses, step.metrics

    def averages_after(self, round: int) -> bool:
        """Whether the client-side models are averaged when this round's backward passes are done."""
        return isinstance(self._algorithm, Averaging) and self._algorithm.averages_after(round)

    def average(self, states: Sequence[State]) -> State:
        """The client-side model that all clients go on with."""
        assert isinstance(self._algorithm, Averaging)
        return self._algorithm.average(states)

    def evaluate(self, states: Sequence[State]) -> Accuracy | None:
        """The server-side model tested with each of the client-side ones."""
        return evaluate(self._client_model, states, self._algorithm.model, self._test)
