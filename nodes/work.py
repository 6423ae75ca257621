"""The work of each stage of split learning, per model, cut, batch size and algorithm.

Passes through the model are counted (see nodes/counting.py), once for all processes: the counts are kept in the
user's cache folder, for PyTorch's preparations alone take a second. What an algorithm does with the passes stands
here.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from typing import Any

from emulator import Work
from emulator.system import cache_folder
from nodes.architectures import Architecture
from nodes.config import Settings
from nodes.options import EPSLOptions

FLOAT = 4
"""Bytes of a number in training."""


@dataclass(frozen=True)
class Pass:
    """What one pass of a batch through some layers costs: forward, and the backward pass that belongs to it."""

    forward: Work
    backward: Work
    parameters: int
    """How many numbers the layers hold."""


def client(settings: Settings) -> tuple[Work, Work]:
    """The client's forward pass, and its backward pass with the step of its optimizer."""
    workload = settings.workload
    one = count(workload.model.architecture, 0, workload.model.client_layers, workload.batch_size)
    return one.forward, _and(one.backward, _optimizer(one.parameters))


def server_step(settings: Settings, clients: int) -> Work:
    """The server's step for the batches of `clients` clients (one after the other in vanilla SL), D parameters.

    PSL, SFL: forward and backward over all batches at once. SL: over one. GAPSL (arXiv 2603.18540): as many passes as
    clients, the Gram matrix (2 S^2 D FLOPs) and the update A^T w (2 S D). EPSL (arXiv 2303.15991): of each batch of b
    the first m samples go forward alone, and the rest with one average of m: S m, then S (b - m) + m both ways. Each
    with its optimizer's step.
    """
    workload = settings.workload
    batch, cut = workload.batch_size, workload.model.client_layers

    def passes(samples: int) -> Pass:
        return count(workload.model.architecture, cut, len(workload.model.architecture.layers), samples)

    if settings.algorithm == "gapsl":
        one = passes(batch)
        size = one.parameters
        matrix = FLOAT * clients * size
        return _and(
            *[one.forward, one.backward] * clients,
            Work(0.0, 3.0 * matrix, 0.0),  # each client's gradients, copied into their row
            Work(2.0 * clients**2 * size, 2.0 * matrix, float(matrix)),
            Work(2.0 * clients * size, float(matrix), float(matrix)),
            _optimizer(size),
        )
    if settings.algorithm == "epsl":
        assert isinstance(settings.options, EPSLOptions)
        averaged = settings.options.averaged(batch)
        both = passes(clients * (batch - averaged) + averaged)
        alone = [passes(clients * averaged).forward] if averaged else []
        return _and(*alone, both.forward, both.backward, _optimizer(both.parameters))
    one = passes(batch * (1 if settings.algorithm == "sl" else clients))
    return _and(one.forward, one.backward, _optimizer(one.parameters))


def aggregate(settings: Settings, clients: int) -> Work:
    """The average of `clients` client-side models of D parameters: 2 S D FLOPs, summed in double precision."""
    workload = settings.workload
    size = count(workload.model.architecture, 0, workload.model.client_layers, 1).parameters
    # Each model is read, made double, weighted, and added to the sum.
    return Work(2.0 * clients * size, clients * size * (FLOAT + 7.0 * 2 * FLOAT), size * FLOAT * (clients + 6.0))


@cache
def count(architecture: Architecture, start: int, stop: int, samples: int) -> Pass:
    """Layers `start` to `stop` (excluded) for a batch of `samples`, from the cache or counted now.

    Raises ValueError naming an operation that cannot be counted.
    """
    path = cache_folder() / "work.json"
    key = f"{architecture!r} {start}:{stop} x {samples}, torch {version('torch')}"
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        if key in kept:
            return _read(kept[key])
    except (OSError, ValueError, KeyError, TypeError):
        kept = {}  # none yet, or one that cannot be read
    from nodes import counting

    counted = counting.count(architecture, start, stop, samples)
    unfinished = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(json.dumps({**kept, key: asdict(counted)}, indent=1), encoding="utf-8")
        unfinished.replace(path)
    except OSError:
        unfinished.unlink(missing_ok=True)  # whoever needs it next counts again
    return counted


def _read(kept: Mapping[str, Any]) -> Pass:
    return Pass(Work(**kept["forward"]), Work(**kept["backward"]), int(kept["parameters"]))


def _optimizer(size: int) -> Work:
    """Gradient descent with momentum on `size` parameters: v = mu v + g, w = w - eta v; five arrays touched."""
    return Work(4.0 * size, 5.0 * FLOAT * size, 0.0)


def _and(*parts: Work) -> Work:
    """One after the other: FLOPs and bytes add up, the peak is the highest."""
    return Work(
        sum(part.flops for part in parts),
        sum(part.bytes_moved for part in parts),
        max(part.peak_memory for part in parts),
    )
