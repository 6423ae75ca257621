"""GAPSL, gradient-aligned parallel split learning: PSL whose server update leaves out clients that point elsewhere.

Lin, Aouedi, Ni, Chatzinotas, Chen, arXiv 2603.18540, Algorithms 1 and 2; see nodes/alignment.py for the equations and
for what the paper leaves open. It all happens on the server: the bytes on the wire are PSL's. A client outside the
selection still gets the gradient of its own loss (ours).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from nodes.algorithms.common import Algorithm, Step, Upload, finite
from nodes.alignment import Bounds, align
from nodes.config import GAPSLOptions, Settings


class GAPSL(Algorithm):
    """Server update: mean over the aligned clients of the gradients of each client's own mean loss."""

    def __init__(self, model: nn.Module, settings: Settings, samples: Sequence[int]) -> None:
        super().__init__(model, settings, samples)
        assert isinstance(settings.options, GAPSLOptions)
        self.options = settings.options
        self.bounds = Bounds()
        self.sizes = [parameter.numel() for parameter in self.parameters]
        # A of nodes/alignment.py: one row per client, written anew each round.
        self.gradients = torch.empty(len(samples), sum(self.sizes))

    def step(self, round: int, uploads: Sequence[Upload]) -> Step:
        # One backward pass per client: only so are the clients' gradients of the server-side model known apart.
        activation_gradients: list[Tensor] = []
        losses: list[Tensor] = []
        for upload, row in zip(uploads, self.gradients, strict=True):
            activations = upload.activations.requires_grad_()
            loss = cross_entropy(self.model(activations), upload.labels)
            of_activations, *of_parameters = torch.autograd.grad(loss, [activations, *self.parameters])
            for place, gradient in zip(torch.split(row, self.sizes), of_parameters, strict=True):
                place.copy_(gradient.flatten())
            activation_gradients.append(of_activations)
            losses.append(loss.detach())
        values = finite(round, uploads, "loss", torch.stack(losses))

        gram = self.gradients @ self.gradients.T
        finite(round, uploads, "squared gradient", gram.diagonal())
        alignment = align(
            gram.double().numpy(),
            round,
            self.settings.rounds,
            self.bounds,
            eta=self.options.eta,
            k_min=self.options.k_min,
            k_max=self.options.k_max,
        )

        update = self.gradients.T @ torch.from_numpy(alignment.weights).float()
        for parameter, gradient in zip(self.parameters, torch.split(update, self.sizes), strict=True):
            parameter.grad = gradient.view_as(parameter)
        self.optimizer.step()

        metrics = {
            "k_t": alignment.share,
            "leaders": len(alignment.leaders),
            "aligned": len(alignment.aligned),
            "dispersion": alignment.dispersion,
            "mean_angle": alignment.mean_angle,
        }
        return Step(activation_gradients, values, metrics)
