"""PSL, parallel split learning: all clients at once, client-side models never averaged.

As described in Lin et al., arXiv 2603.18540, and Kim et al., arXiv 2303.15991, where it is the baseline.
"""

from collections.abc import Sequence

import torch

from nodes.algorithms.common import Algorithm, Step, Upload, finite
from nodes.options import PSLOptions


class PSL(Algorithm):
    """Server update: mean over clients of the gradients of each client's own mean loss."""

    def train(self, round: int, uploads: Sequence[Upload]) -> Step:
        assert isinstance(self.settings.options, PSLOptions)
        if self.settings.options.passes == "separate":
            return self._separate_passes(round, uploads)

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

    def _separate_passes(self, round: int, uploads: Sequence[Upload]) -> Step:
        self.optimizer.zero_grad()
        gradients, losses = [], []
        for upload in uploads:
            activations = upload.activations.detach().requires_grad_()
            loss = self.loss(upload, self.model(activations))
            torch.autograd.backward(loss)
            assert activations.grad is not None
            gradients.append(activations.grad)
            losses.append(loss.detach())
        values = finite(round, uploads, "loss", torch.stack(losses))

        for parameter in self.parameters:
            assert parameter.grad is not None
            parameter.grad /= len(uploads)
        self.optimizer.step()

        return Step(gradients, values)
