"""The server's half of training: an algorithm, and the test of what it has learnt."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nodes import checkpoint, data
from nodes.algorithms import Averaging, Upload, named
from nodes.config import Settings
from nodes.evaluate import evaluate
from nodes.models import build
from nodes.state import State, take, to_array

Outcome = tuple[Sequence[NDArray[np.generic] | None], Sequence[float], Mapping[str, float]]
"""Of a step: each client's gradient of its activations, or None for a client that is to stand still; the losses, and
the algorithm's metrics."""


class Training:
    """The algorithm that `settings` name, for clients that hold so many `samples`, and so many of each class: `mixes`
    (clients, classes)."""

    def __init__(self, settings: Settings, samples: Sequence[int], mixes: NDArray[np.float64]) -> None:
        workload, seed = settings.workload, settings.seed
        architecture, cut = workload.model.architecture, workload.model.client_layers
        self._device = workload.devices.server
        server_model = build(architecture, seed, start=cut).to(self._device)
        self._algorithm = named(settings.algorithm)(server_model, settings, samples)
        self._client_model = build(architecture, seed, stop=cut).to(self._device)
        self._mixes = mixes
        folder = workload.evaluate.checkpoint
        self._checkpoint = Path(folder) / f"{settings.algorithm}-seed-{seed}.npz" if folder else None
        self._kept = 0
        self._test = data.load(workload.data, "test", seed).take(slice(workload.evaluate.samples))

    def step(
        self,
        round: int,
        uploads: Sequence[tuple[str, Mapping[str, NDArray[np.generic]]]],
        places: Sequence[int] | None = None,
    ) -> Outcome:
        """Train on one mini-batch of each client, or of the one whose turn it is; `uploads`: names and what they sent.
        `places`: which clients they are, in the testbed's order; None: the first ones.

        Raises FloatingPointError, naming round and client, when a loss is no longer a number.
        """
        batches = [
            Upload.from_arrays(client, place, arrays, self._device)
            for place, (client, arrays) in zip(places or range(len(uploads)), uploads, strict=True)
        ]
        try:
            step = self._algorithm.step(round, batches)
        except FloatingPointError as error:
            raise FloatingPointError(f"{error}; {self._what_is_kept()}") from None
        gradients = [None if gradient is None else to_array(gradient) for gradient in step.gradients]
        return gradients, step.losses, step.metrics

    def averages_after(self, round: int) -> bool:
        """Whether the client-side models are averaged when this round's backward passes are done."""
        return isinstance(self._algorithm, Averaging) and self._algorithm.averages_after(round)

    def average(self, states: Mapping[int, State]) -> State:
        """The client-side model that these clients, by their places, go on with."""
        assert isinstance(self._algorithm, Averaging)
        return self._algorithm.average(states)

    def evaluate(self, round: int, states: Mapping[int, State]) -> Mapping[str, float]:
        """The metrics of the server-side models tested with these client-side ones, which are kept if that is wanted.

        `states`: of the clients that are there, by their places; in turns, of the one that has the model.
        Raises OSError where the checkpoint cannot be written.
        """
        models, places = self._algorithm.models(), [*states]
        if self._checkpoint is not None:
            kept = [take(model) for model in dict.fromkeys(models)]
            if _finite([*kept, *states.values()]):  # what is lost must not take the place of what was kept
                checkpoint.write(self._checkpoint, round, kept, states)
                self._kept = round
        mixes = self._mixes if self._algorithm.one_client_model else self._mixes[places]
        servers = [models[place] for place in places]
        return evaluate(self._client_model, [*states.values()], servers, mixes, self._test).metrics()

    def _what_is_kept(self) -> str:
        if self._checkpoint is None:
            return "no models were kept: set workload.evaluate.checkpoint to a folder for them"
        if not self._kept:
            return "no round had been evaluated yet, so no models were kept"
        return f"the models of round {self._kept} are in {self._checkpoint}"


def _finite(states: Sequence[State]) -> bool:
    return all(bool(np.isfinite(value).all()) for state in states for value in state.values())
