"""GAPSL, gradient-aligned parallel split learning: PSL whose server update leaves out clients that point elsewhere.

Lin, Aouedi, Ni, Chatzinotas, Chen, arXiv 2603.18540, Algorithms 1 and 2; see nodes/alignment.py for the equations and
for what the paper leaves open. It all happens on the server: the bytes on the wire are PSL's. A client outside the
selection still gets the gradient of its own loss (ours), or, with `outside: freeze`, none, and stands still.

With `local_steps` above 1 it is not mini-batch gradients that are aligned but what each client's batches add up to:
every client has the server-side model take that many plain gradient steps on its own, and A's rows are the sums of
their gradients (ours). The model that all share moves, by its optimizer, only when they are aligned.

Where clients are left out of a round, S is the number of those that take part: K_t is a share of them.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nodes.algorithms.common import Algorithm, Step, Upload, finite
from nodes.algorithms.gradients import Accumulated, ClientGradients, Kept, Recomputed
from nodes.alignment import Alignment, Bounds, Rules, align, regulariser
from nodes.config import Settings
from nodes.options import LEADERS, SELECTIONS, GAPSLOptions
from nodes.seeds import generator


class GAPSL(Algorithm):
    """Server update: mean over the aligned clients of the gradients of each client's own mean loss."""

    def __init__(self, model: nn.Module, settings: Settings, samples: Sequence[int]) -> None:
        super().__init__(model, settings, samples)
        assert isinstance(settings.options, GAPSLOptions)
        self.options = options = settings.options
        self.rules = _rules(options)
        self.bounds = Bounds()
        self.generator = generator(settings.seed, "ablation")
        self.gradients: ClientGradients
        if options.local_steps > 1:
            rate = settings.optimizer.server_rate
            self.gradients = Accumulated(model, len(samples), options.local_steps, rate)
        else:
            self.gradients = (Kept if options.memory == "full" else Recomputed)(model, len(samples))

    def train(self, round: int, uploads: Sequence[Upload]) -> Step:
        # One backward pass per client: only so are the clients' gradients of the server-side model known apart.
        passes = self.gradients.passes(uploads, self.loss)
        values = finite(round, uploads, "loss", passes.losses)
        if not self.gradients.complete:
            return Step(passes.of_activations, values)
        finite(round, uploads, "squared gradient", passes.gram.diagonal())

        gram = passes.gram.cpu().numpy()
        alignment = align(gram, round, self.settings.rounds, self.bounds, self.rules, self.generator)
        of_activations: list[Tensor | None] = list(passes.of_activations)
        if self.options.gda == "exact":
            derivatives = regulariser(gram, alignment.leaders, alignment.aligned, self.rules.lam)
            self._combine_exactly(uploads, alignment, derivatives, passes.of_activations)
        else:
            self.gradients.combine(torch.from_numpy(alignment.weights))
        self.optimizer.step()

        if self.options.outside == "freeze":
            of_activations = [own if k in alignment.aligned else None for k, own in enumerate(of_activations)]
        return Step(of_activations, values, _metrics(alignment))

    def _combine_exactly(
        self,
        uploads: Sequence[Upload],
        alignment: Alignment,
        derivatives: NDArray[np.float64],
        of_activations: Sequence[Tensor],
    ) -> None:
        """Footnote 6: the gradient of Eq 8 as it stands, by a second pass that can itself be differentiated.

        Adds the regulariser's part to the gradients of the clients' activations, and to those of the parameters.
        """
        assert isinstance(self.gradients, Kept)
        total = [torch.zeros_like(parameter) for parameter in self.parameters]
        for k in map(int, np.flatnonzero(derivatives.any(axis=1))):
            direction = self.gradients.views(
                torch.from_numpy(derivatives[k]).to(self.gradients.rows) @ self.gradients.rows
            )
            activations = uploads[k].activations.detach().requires_grad_()
            loss = self.loss(uploads[k], self.model(activations))
            own = torch.autograd.grad(loss, self.parameters, create_graph=True)
            along = sum(((a * b).sum() for a, b in zip(own, direction, strict=True)), start=torch.zeros_like(loss))
            to_activations, *to_parameters = torch.autograd.grad(
                along, [activations, *self.parameters], materialize_grads=True
            )
            of_activations[k].add_(to_activations)
            torch._foreach_add_(total, to_parameters)
        self.gradients.combine(torch.from_numpy(alignment.weights))
        share = 1.0 if self.options.update == "sum" else 1.0 / len(alignment.aligned)
        for parameter, part in zip(self.parameters, total, strict=True):
            assert parameter.grad is not None
            parameter.grad.add_(part, alpha=share)


def _rules(options: GAPSLOptions) -> Rules:
    rules = Rules(options.eta, options.k_min, options.k_max, options.lam, update=options.update)
    for word in options.ablation:
        rules = replace(rules, leader=LEADERS.get(word, rules.leader), selection=SELECTIONS.get(word, rules.selection))
    return replace(rules, steered=options.gda == "steered")


def _metrics(alignment: Alignment) -> dict[str, float]:
    return {
        "k_t": alignment.share,
        "leaders": len(alignment.leaders),
        "aligned": len(alignment.aligned),
        "dispersion": alignment.dispersion,
        "mean_angle": alignment.mean_angle,
        "leader_angle": alignment.leader_angle,
        "angle_limit": alignment.limit,
    }
