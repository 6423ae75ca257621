"""SFL, SplitFed learning: PSL whose client-side models are averaged every so often.

Thapa, Arachchige, Camtepe, Sun, "SplitFed", arXiv 2004.12088. With `server: v2` there is one server-side model for all
clients, which trains on all of them at once, where SplitFedV2 takes them one after the other (ours); with `server: v1`
each client has a server-side model of its own, and these are averaged whenever the clients' are. The separate
aggregation server ("Fed server") shares the split-learning server's node here, so the models travel the server's links
(ours). Each client keeps its own momentum over an average, and so does each server-side model (ours). A client that is
left out of an average, and with `server: v1` its server-side model, goes on as it is until the next one that it takes
part in (ours).
"""

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import nn

from nodes.algorithms.common import Averaging, Step, Upload, finite
from nodes.config import Settings
from nodes.options import SFLOptions
from nodes.state import State, give, take, weighted_mean


class SFL(Averaging):
    """Server update: mean over clients of the gradients of each client's own mean loss."""

    def __init__(self, model: nn.Module, settings: Settings, samples: Sequence[int]) -> None:
        super().__init__(model, settings, samples)
        assert isinstance(settings.options, SFLOptions)
        self.interval = settings.options.rounds_between(samples, settings.workload.batch_size)
        # The first replica is `model` with its optimizer; v2 has no other.
        self.replicas = [(model, self.optimizer)]
        if settings.options.server == "v1":
            copies = [copy.deepcopy(model) for _ in samples[1:]]
            self.replicas += [(one, self.new_optimizer(one)) for one in copies]

    def train(self, round: int, uploads: Sequence[Upload]) -> Step:
        if len(self.replicas) > 1:
            return self._step_replicas(round, uploads)

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

    def _step_replicas(self, round: int, uploads: Sequence[Upload]) -> Step:
        gradients, losses = [], []
        for upload in uploads:
            model, optimizer = self.replicas[upload.place]
            activations = upload.activations.detach().requires_grad_()
            loss = self.loss(upload, model(activations))
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            assert activations.grad is not None
            gradients.append(activations.grad)
            losses.append(loss.detach())
        values = finite(round, uploads, "loss", torch.stack(losses))
        for upload in uploads:
            self.replicas[upload.place][1].step()
        return Step(gradients, values)

    def models(self) -> Sequence[nn.Module]:
        replicas = [model for model, _ in self.replicas]
        return replicas if len(replicas) > 1 else super().models()

    def averages_after(self, round: int) -> bool:
        return round % self.interval == 0

    def average(self, states: Mapping[int, State]) -> State:
        """The mean of the client-side models, weighted by these clients' numbers of samples; their server-side models
        of v1 become the mean of those."""
        samples = [self.samples[place] for place in states]
        if len(self.replicas) > 1:
            models = [self.replicas[place][0] for place in states]
            mean = weighted_mean([take(model) for model in models], samples)
            for model in models:
                give(model, mean)
        return weighted_mean([*states.values()], samples)
