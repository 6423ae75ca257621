"""The models of a run in a file, so that a run that goes wrong leaves what it had reached.

One `.npz` file of arrays: `round`, and each model's weights under `server/NAME` or `client-K/NAME`, K counting from 0
in testbed order. No pickle: what it holds can be read by anybody, safely.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nodes.state import State


def write(path: Path, round: int, servers: Sequence[State], clients: Mapping[int, State]) -> None:
    """Replace the file at `path` in one step: it is there complete, or as it was.

    `servers`: one server-side model, or one for each client. `clients`: those that are there,
    by place. Raises OSError where the file system refuses.
    """
    arrays: dict[str, NDArray[np.generic]] = {"round": np.array(round)}
    names = ["server"] if len(servers) == 1 else [f"server-{k}" for k in range(len(servers))]
    for name, state in zip(names, servers, strict=True):
        arrays |= {f"{name}/{key}": value for key, value in state.items()}
    for k, state in clients.items():
        arrays |= {f"client-{k}/{key}": value for key, value in state.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.tmp")
    with unfinished.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    unfinished.replace(path)


def read(path: Path) -> tuple[int, dict[str, dict[str, NDArray[np.generic]]]]:
    """The round, and each model's weights by model and name."""
    models: dict[str, dict[str, NDArray[np.generic]]] = {}
    with np.load(path, allow_pickle=False) as arrays:
        for key in arrays.files:
            if key != "round":
                model, _, name = key.partition("/")
                models.setdefault(model, {})[name] = arrays[key]
        return int(arrays["round"]), models
