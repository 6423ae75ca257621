"""What is not the GAPSL paper's, nor any baseline's: ways to keep the client-side models of PSL together without ever
averaging them. All are options of every algorithm, off by default, and leave the bytes on the wire as they are.

Left alone, the client-side models drift until the server can tell the clients apart by their features and predicts
each client's own labels. Logit adjustment takes the reward for that away; the proximal pull and a falling client
learning rate (`ClientSchedule` in nodes/options.py) slow the drift itself.
"""

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class LabelPriors:
    """Logit adjustment (Menon et al., arXiv 2007.07314), by client: while training, `strength * log p_i(y)` is added to
    client i's scores, p_i being its label prior, so that the model need not learn the prior itself.

    The server counts the labels that it receives anyway, with one more of each class, so that p_i is never 0.
    """

    def __init__(self, classes: int, strength: float) -> None:
        self._strength = strength
        self._counts: defaultdict[str, Tensor] = defaultdict(lambda: torch.ones(classes, dtype=torch.float64))

    def count(self, client: str, labels: Tensor) -> None:
        """Take note of one batch of labels."""
        counts = self._counts[client]
        counts += torch.bincount(labels.cpu(), minlength=len(counts))

    def adjust(self, client: str, scores: Tensor) -> Tensor:
        """The scores (batch, classes) of a client's batch to compute its loss from."""
        if self._strength == 0:
            return scores
        counts = self._counts[client]
        return scores + (self._strength * torch.log(counts / counts.sum())).to(scores)


class ProximalPull:
    """A pull of `strength * (w - w_0)` on the weights, as in FedProx (Li et al., arXiv 1812.06127), but toward the
    initialisation w_0 that all clients have in common, for there is no average to pull to."""

    def __init__(self, parameters: Sequence[nn.Parameter], strength: float) -> None:
        self._parameters = parameters
        self._strength = strength
        self._start = [parameter.detach().clone() for parameter in parameters] if strength else []

    @torch.no_grad()
    def add_to_gradients(self) -> None:
        """Add the pull to the gradients that are there."""
        for parameter, start in zip(self._parameters, self._start, strict=False):
            assert parameter.grad is not None
            parameter.grad.add_(parameter - start, alpha=self._strength)
