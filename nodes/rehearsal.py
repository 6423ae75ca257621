"""Training without training: the same bytes on the wire, and nothing learnt.

Where only latencies are wanted (`training: false`), these stand in for nodes/trainer.py and nodes/training.py. They
need no data and no PyTorch, and all clients share their arrays, so that there may be thousands of them.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from nodes.architectures import Architecture
from nodes.config import Settings
from nodes.data import KINDS
from nodes.options import SFLOptions

if TYPE_CHECKING:
    from nodes.state import State
    from nodes.training import Outcome


class RehearsedTrainer:
    """A client's half; see `Trainer`."""

    def __init__(self, settings: Settings, index: int, clients: int) -> None:
        workload = settings.workload
        # How many samples a client holds decides no latency, their number in all does: when SFL averages.
        self.held = workload.data.training * (index + 1) // clients - workload.data.training * index // clients
        self.labels = np.zeros(KINDS[workload.data.name].classes, np.int64)
        self._upload = _upload(
            workload.model.architecture,
            workload.model.client_layers,
            workload.batch_size,
            KINDS[workload.data.name].classes,
        )
        self._state = _weights(workload.model.architecture, workload.model.client_layers)

    def forward(self) -> Mapping[str, NDArray[np.generic]]:
        return self._upload

    def backward(self, gradient: NDArray[np.generic], round: int) -> None:
        """Nothing to learn from."""

    def state(self) -> "State":
        return self._state

    def load(self, state: "State") -> None:
        """It has these weights already."""


class RehearsedTraining:
    """The server's half; see `Training`."""

    def __init__(self, settings: Settings, samples: Sequence[int]) -> None:
        workload, options = settings.workload, settings.options
        self._interval = (
            options.rounds_between(samples, workload.batch_size) if isinstance(options, SFLOptions) else None
        )
        upload = _upload(workload.model.architecture, workload.model.client_layers, workload.batch_size, 1)
        self._gradient = upload["activations"]

    def step(
        self,
        round: int,
        uploads: Sequence[tuple[str, Mapping[str, NDArray[np.generic]]]],
        places: Sequence[int] | None = None,
    ) -> "Outcome":
        return [self._gradient] * len(uploads), [], {}

    def averages_after(self, round: int) -> bool:
        return self._interval is not None and round % self._interval == 0

    def average(self, states: "Mapping[int, State]") -> "State":
        return next(iter(states.values()))

    def evaluate(self, round: int, states: "Mapping[int, State]") -> Mapping[str, float]:
        """There is no model to test."""
        return {}


@cache
def _upload(architecture: Architecture, cut: int, batch: int, classes: int) -> dict[str, NDArray[np.generic]]:
    return {
        "activations": _zeros((batch, *architecture.shapes()[cut]), np.float32),
        "labels": _zeros((batch,), np.min_scalar_type(classes - 1)),
    }


@cache
def _weights(architecture: Architecture, stop: int) -> dict[str, NDArray[np.float32]]:
    """The weights of the first layers, by the names PyTorch gives them, all 0."""
    found: dict[str, NDArray[np.float32]] = {}
    for position, (layer, shape) in enumerate(zip(architecture.layers[:stop], architecture.shapes(), strict=False)):
        for name, of_weight in layer.weights(shape).items():
            found[f"{position}.{name}"] = _zeros(of_weight, np.float32)
    return found


def _zeros(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Nobody writes to what all share."""
    array = np.zeros(shape, dtype)
    array.flags.writeable = False
    return array
