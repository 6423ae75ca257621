"""SFL, SplitFed learning: PSL whose client-side models are averaged every so often.

Thapa, Arachchige, Camtepe, Sun, "SplitFed", arXiv 2004.12088, with one server-side model for all clients (its
SplitFedV2 server) that trains on all clients at once. Its separate aggregation server ("Fed server") shares the
split-learning server's node here, so the models travel the server's links (ours). Each client keeps its own momentum
over an average (ours).
"""

from collections.abc import Sequence

import torch
from torch import nn

from nodes.algorithms.common import Averaging, Step, Upload, finite
from nodes.config import Settings
from nodes.options import SFLOptions
from nodes.state import State, weighted_mean


class SFL(Averaging):
    """Server update: mean over clients of the gradients of each client's own mean loss."""

    def __init__(self, model: nn.Module, settings: Settings, samples: Sequence[int]) -> None:
        super().__init__(model, settings, samples)
        assert isinstance(settings.options, SFLOptions)
        self.interval = settings.options.rounds_between(samples, settings.workload.batch_size)

    def step(self, round: int, uploads: Sequence[Upload]) -> Step:
        sizes = [len(upload.labels) for upload in uploads]
        activations = torch.cat([upload.activations for upload in uploads]).requires_grad_()

        scores = torch.split(self.model(activations), sizes)
        losses = torch.stack([self.loss(upload, own) for own, upload in zip(scores, uploads, strict=True)])
        values = finite(round, uploads, "loss", losses)

        # The sum keeps the clients apart: each row of the activations' gradient belongs to one client's own loss.
        of_activations, *of_parameters = torch.autograd.grad(losses.sum(), [activations, *self.parameters])
        for parameter, gradient in zip(self.parameters, of_parameters, strict=True):
            parameter.grad = gradient / len(uploads)
        self.optimizer.step()

        return Step(torch.split(of_activations, sizes), values)

    def averages_after(self, round: int) -> bool:
        return round % self.interval == 0

    def average(self, states: Sequence[State]) -> State:
        """The mean of the client-side models, weighted by the clients' numbers of samples."""
        return weighted_mean(states, self.samples)
