"""PSL, parallel split learning: all clients at once, client-side models never averaged.

As described in Lin et al., arXiv 2603.18540, and Kim et al., arXiv 2303.15991, where it is the baseline.
"""

from collections.abc import Sequence

import torch

from nodes.algorithms.common import Algorithm, Step, Upload, finite


class PSL(Algorithm):
    """Server update: mean over clients of the gradients of each client's own mean loss."""

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
