"""What a client computes in a round, alone and on made-up samples: for who measures what disturbs it."""

from collections.abc import Callable

import torch

from nodes import optimizers
from nodes.config import Settings
from nodes.models import build


def client_round(settings: Settings) -> Callable[[], None]:
    """One forward and one backward pass of the client-side model and its optimizer's step, a call each time."""
    workload = settings.workload
    architecture, cut = workload.model.architecture, workload.model.client_layers
    shapes = architecture.shapes()
    model = build(architecture, settings.seed, stop=cut)
    optimizer = optimizers.build(model.parameters(), settings.optimizer, settings.optimizer.client_rate)
    # Gradients of nothing: the weights stay what they are, however often, and computing with zeros takes no less.
    images = torch.rand(workload.batch_size, *shapes[0])
    gradient = torch.zeros(workload.batch_size, *shapes[cut])

    def once() -> None:
        activations = model(images)
        optimizer.zero_grad()
        torch.autograd.backward(activations, gradient)
        optimizer.step()

    return once
