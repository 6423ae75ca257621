"""What client and server compute in a round, alone and on made-up samples: to be measured, or to warm up.

What a process does for the first time takes it longer, by a half or twice over for some calls: PyTorch chooses its
kernels, and memory is the kernel's to give, page by page. No device of the testbed has any of that, and it would be the
first algorithm's alone. So each node practises the passes and steps of its rounds before the first of them, off the
clock.
"""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

import torch

from nodes import optimizers
from nodes.algorithms import Upload, named
from nodes.config import Settings
from nodes.models import build

TIMES, SECONDS = 3, 10.0
"""After as many, hardly a call takes longer than the next; but under a CPU quota, each is as long as a round's."""
_warm: set[tuple[object, ...]] = set()
"""What this process has practised: the clients of all algorithms compute the same, and in virtual time all nodes do."""
_one_at_a_time = threading.Lock()


def client_round(settings: Settings, device: str = "cpu") -> Callable[[], None]:
    """One forward and one backward pass of the client-side model and its optimizer's step, a call each time."""
    workload = settings.workload
    architecture, cut = workload.model.architecture, workload.model.client_layers
    shapes = architecture.shapes()
    model = build(architecture, settings.seed, stop=cut).to(device)
    optimizer = optimizers.build(model.parameters(), settings.optimizer, settings.optimizer.client_rate)
    # Gradients of nothing: the weights stay what they are, however often, and computing with zeros takes no less.
    images = _noise(workload.batch_size, shapes[0])
    gradient = torch.zeros(workload.batch_size, *shapes[cut])

    def once() -> None:
        activations = model(images.to(device))
        optimizer.zero_grad()
        torch.autograd.backward(activations, gradient.to(device))
        optimizer.step()

    return once


def server_step(settings: Settings, samples: Sequence[int]) -> Callable[[], None]:
    """The algorithm's step for a batch of each client, or of the first where they train in turns, a call each time.

    `samples`: how many each client holds. Raises FloatingPointError when a loss is no longer a number.
    """
    workload = settings.workload
    architecture, cut, device = workload.model.architecture, workload.model.client_layers, workload.devices.server
    algorithm = named(settings.algorithm)(build(architecture, settings.seed, start=cut).to(device), settings, samples)
    in_turns = settings.options.turns(1, samples, workload.batch_size) is not None
    activations = _noise(workload.batch_size, architecture.shapes()[cut])
    labels = torch.arange(workload.batch_size) % workload.classes
    uploads = [
        Upload(f"client {place}", activations.to(device), labels.to(device), place)
        for place in range(1 if in_turns else len(samples))
    ]

    def once() -> None:
        algorithm.step(1, uploads)

    return once


def warm_up_client(settings: Settings) -> None:
    """Have this process compute what a client does, unless it has before."""
    _warm_up(partial(client_round, settings, settings.workload.devices.clients), "client", settings)


def warm_up_server(settings: Settings, samples: Sequence[int]) -> None:
    """Have this process compute the algorithm's step, unless it has before. `samples`: how many each client holds."""
    with suppress(FloatingPointError):  # what is learnt here counts for nothing
        _warm_up(partial(server_step, settings, samples), settings.algorithm, settings)


def _warm_up(make: Callable[[], Callable[[], None]], what: str, settings: Settings) -> None:
    workload = settings.workload
    key = what, workload.model.architecture, workload.model.client_layers, workload.batch_size
    with _one_at_a_time:
        if key in _warm:
            return
        _warm.add(key)
        once, began = make(), time.monotonic()
        for _ in range(TIMES):
            once()
            if time.monotonic() - began > SECONDS:
                break


def _noise(batch: int, shape: Sequence[int]) -> torch.Tensor:
    return torch.rand(batch, *shape, generator=torch.Generator().manual_seed(0))
