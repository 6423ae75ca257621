"""SL, vanilla split learning: the clients in turn, one client-side model handed from each to the next.

Gupta, Raskar, "Distributed learning of deep neural network over multiple agents", arXiv 1810.06060, in its
peer-to-peer mode. A turn is one mini-batch, or, with `handover: epoch`, as many as a client has; a round is as many
mini-batches as there are clients, so that it is the same number of samples as in PSL (ours). The weights travel; the
momentum of the client-side optimizer stays with each client (ours).
"""

from collections.abc import Sequence

import torch

from nodes.algorithms.common import Algorithm, Step, Upload, finite


class SL(Algorithm):
    """Server update: the gradient of the one client's mean loss, at every turn."""

    one_client_model = True

    def train(self, round: int, uploads: Sequence[Upload]) -> Step:
        (upload,) = uploads
        activations = upload.activations.requires_grad_()

        loss = self.loss(upload, self.model(activations))
        values = finite(round, uploads, "loss", loss.detach().reshape(1))

        of_activations, *of_parameters = torch.autograd.grad(loss, [activations, *self.parameters])
        for parameter, gradient in zip(self.parameters, of_parameters, strict=True):
            parameter.grad = gradient
        self.optimizer.step()

        return Step([of_activations], values)
