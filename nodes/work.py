"""The work of each stage of split learning, per model, cut, batch size and algorithm.

Passes through the model are counted (see nodes/counting.py), once for all processes: the counts are kept in the
user's cache folder, for PyTorch's preparations alone take a second. What an algorithm does with the passes stands
here.
"""

import contextlib
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
from nodes.options import EPSLOptions, GAPSLOptions, PSLOptions, SFLOptions, SLOptions

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
    # The pull reads weights, their start and gradients, and writes gradients.
    pull = Work(3.0 * one.parameters, 4.0 * FLOAT * one.parameters) if settings.options.proximal else Work(0.0)
    return one.forward, _and(one.backward, pull, _optimizer(settings, one.parameters))


def server_step(settings: Settings, clients: int) -> Work:
    """The server's step for the batches of `clients` clients (one after the other in vanilla SL), D parameters.

    PSL, SFL: forward and backward over all batches at once; where they pass one by one (`passes: separate`, SFL's
    `server: v1`), over each. SL: over one. GAPSL (arXiv 2603.18540): see `_gapsl`. EPSL (arXiv 2303.15991): of each
    batch of b the first m samples go forward alone, and the rest with one average of m: S m, then S (b - m) + m both
    ways. Each with its optimizer's step.
    """
    workload, options = settings.workload, settings.options
    batch, cut = workload.batch_size, workload.model.client_layers

    def passes(samples: int) -> Pass:
        return count(workload.model.architecture, cut, len(workload.model.architecture.layers), samples)

    if isinstance(options, GAPSLOptions):
        return _gapsl(settings, options, clients, passes(batch))
    if isinstance(options, EPSLOptions):
        averaged = options.averaged(batch)
        both = passes(clients * (batch - averaged) + averaged)
        alone = [passes(clients * averaged).forward] if averaged else []
        return _and(*alone, both.forward, both.backward, _optimizer(settings, both.parameters))
    if isinstance(options, SFLOptions) and options.server == "v1":
        one = passes(batch)
        return _and(*[one.forward, one.backward, _optimizer(settings, one.parameters)] * clients)
    if isinstance(options, PSLOptions) and options.passes == "separate":
        one = passes(batch)
        adding = Work(0.0, 3.0 * FLOAT * one.parameters)
        return _and(*[one.forward, one.backward, adding] * clients, _optimizer(settings, one.parameters))
    one = passes(batch * (1 if isinstance(options, SLOptions) else clients))
    return _and(one.forward, one.backward, _optimizer(settings, one.parameters))


def _gapsl(settings: Settings, options: GAPSLOptions, clients: int, one: Pass) -> Work:
    """As many passes as clients, the Gram matrix (2 S^2 D FLOPs) and the update A^T w (2 S D).

    In low memory the losses of the aligned clients go back once more; counted for all of them, the most there can be.
    Exact: each client's pass again, and back through it twice as dearly as through the model (the Hessian-vector
    product of Pearlmutter, 1994). With `local_steps`, the work of a round in which gradients are aligned.
    """
    size = one.parameters
    matrix = FLOAT * clients * size
    gram = Work(2.0 * clients**2 * size, float(matrix))
    update = Work(2.0 * clients * size, float(matrix))
    adding = Work(0.0, 3.0 * matrix)
    parts = [*[one.forward, one.backward] * clients, gram, _optimizer(settings, size)]
    model = 3.0 * FLOAT * size  # with gradients and momenta: see nodes/counting.py
    if options.memory == "low":
        # All clients' activations at once.
        held = model + clients * (one.backward.peak_memory - model)
        parts += [*[one.backward] * clients, Work(0.0, 0.0, held)]
    else:
        parts += [adding, update, Work(0.0, 0.0, one.backward.peak_memory + matrix)]
    if options.gda == "exact":
        parts += [update, *[one.forward, one.backward, one.backward, one.backward] * clients]
    return _and(*parts)


def aggregate(settings: Settings, clients: int) -> Work:
    """The average of `clients` client-side models of D parameters: 2 S D FLOPs, summed in double precision; of whole
    models where each client has its own server-side one."""
    workload = settings.workload
    whole = isinstance(settings.options, SFLOptions) and settings.options.server == "v1"
    layers = len(workload.model.architecture.layers) if whole else workload.model.client_layers
    size = count(workload.model.architecture, 0, layers, 1).parameters
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
    except OSError:  # a container's file system, a full disk: whoever needs it next counts again
        with contextlib.suppress(OSError):
            unfinished.unlink()
    return counted


def _read(kept: Mapping[str, Any]) -> Pass:
    return Pass(Work(**kept["forward"]), Work(**kept["backward"]), int(kept["parameters"]))


def _optimizer(settings: Settings, size: int) -> Work:
    """A step on `size` parameters. Gradient descent with momentum, v = mu v + g, w = w - eta v: five arrays touched;
    AdamW, with two running means, their correction and the decay: seven."""
    if settings.optimizer.name == "adamw":
        return Work(15.0 * size, 7.0 * FLOAT * size, 0.0)
    return Work(4.0 * size, 5.0 * FLOAT * size, 0.0)


def _and(*parts: Work) -> Work:
    """One after the other: FLOPs and bytes add up, the peak is the highest."""
    return Work(
        sum(part.flops for part in parts),
        sum(part.bytes_moved for part in parts),
        max(part.peak_memory for part in parts),
    )
