"""EPSL, efficient parallel split learning: part of the backward pass is done once for all clients.

Lin, Zhu, Deng, Chen, Gao, Huang, Fang, arXiv 2303.15991. Of every client's batch, the first ceil(phi * batch) samples
have their last-layer gradients (of the scores) averaged over the clients, sample index by sample index; the average is
back-propagated once, and the gradient of the activations it leads to is the same for every client. The other samples
are treated as in PSL; phi = 0 is PSL.

The paper leaves open through which forward pass an average gradient goes back: through that of the clients' averaged
activations (ours). Where clients are left out of a round, the averages are over those that take part.
"""

from collections.abc import Sequence

import torch
from torch import nn

from nodes.algorithms.common import Algorithm, Step, Upload, finite
from nodes.config import Settings
from nodes.options import EPSLOptions


class EPSL(Algorithm):
    """Server update: PSL's, with the averaged samples' share of it back-propagated once."""

    def __init__(self, model: nn.Module, settings: Settings, samples: Sequence[int]) -> None:
        super().__init__(model, settings, samples)
        assert isinstance(settings.options, EPSLOptions)
        self.averaged = settings.options.averaged(settings.workload.batch_size)

    def train(self, round: int, uploads: Sequence[Upload]) -> Step:
        clients, batch, averaged = len(uploads), len(uploads[0].labels), self.averaged
        activations = torch.stack([upload.activations for upload in uploads])  # (clients, batch, ...)

        # The averaged samples' own scores are needed for their losses, but nothing goes back through them.
        with torch.no_grad():
            own_scores = self.model(activations[:, :averaged].flatten(0, 1))
        own_scores = torch.unflatten(own_scores, 0, (clients, averaged)).requires_grad_()

        # Forward, once, what goes back: every client's remaining samples, then the averaged activations.
        mean_activations = activations[:, :averaged].mean(dim=0)
        remaining = activations[:, averaged:].flatten(0, 1)
        inputs = torch.cat([remaining, mean_activations]).requires_grad_()
        scores = self.model(inputs)
        remaining_scores = torch.split(scores[: len(remaining)], [batch - averaged] * clients)

        losses = torch.stack(
            [
                self.loss(upload, torch.cat([own, other]))
                for own, other, upload in zip(own_scores, remaining_scores, uploads, strict=True)
            ]
        )
        values = finite(round, uploads, "loss", losses)
        last_layer, own_last_layer = torch.autograd.grad(losses.sum(), [scores, own_scores], retain_graph=True)

        # Sums over clients where the paper averages: all gradients below are then divided by the clients at once.
        last_layer[len(remaining) :] = own_last_layer.sum(dim=0)
        of_inputs, *of_parameters = torch.autograd.grad(scores, [inputs, *self.parameters], last_layer)
        for parameter, gradient in zip(self.parameters, of_parameters, strict=True):
            parameter.grad = gradient / clients
        self.optimizer.step()

        broadcast = of_inputs[len(remaining) :] / clients
        own_gradients = torch.split(of_inputs[: len(remaining)], [batch - averaged] * clients)
        return Step([torch.cat([broadcast, own]) for own in own_gradients], values)
