"""The clients' gradients of the server-side model, apart from each other, and their products.

In the terms of nodes/alignment.py: A has a row for each client; `gram` is A A^T, and `combine` makes A^T w the
gradient that the optimizer sees. `Kept` holds all of A, and so does `Accumulated`, over several batches;
`Recomputed` never holds more of it than one layer, and goes back through the model a second time instead.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nodes.algorithms.common import Upload

Loss = Callable[[Upload, Tensor], Tensor]
BLOCK = 1 << 16  # columns of A at a time: for ten clients 2.6 MB, which stays in a processor's cache


@dataclass(frozen=True)
class Passes:
    """What the backward passes of n clients give: losses (n,), and the gradients of each client's activations."""

    losses: Tensor
    of_activations: list[Tensor]
    gram: Tensor


class ClientGradients(ABC):
    """The gradients of one model, by client; `clients` is the most there are."""

    def __init__(self, model: nn.Module, clients: int) -> None:
        self.model = model
        self.parameters = list(model.parameters())
        self.clients = clients

    @abstractmethod
    def passes(self, uploads: Sequence[Upload], loss: Loss) -> Passes:
        """Run each client's batch through the model and back; the Gram matrix of n uploads is float64 (n, n)."""

    @property
    def complete(self) -> bool:
        """Whether the gradients are all there, to be combined."""
        return True

    @abstractmethod
    def combine(self, weights: Tensor) -> None:
        """Set the parameters' gradients to the sum of those of the last uploads with these weights (n,), float64."""

    def _no_gram(self, clients: int) -> Tensor:
        return torch.zeros(clients, clients, dtype=torch.float64, device=self.parameters[0].device)


class Kept(ClientGradients):
    """All of A, float32 (n, D), in memory.

    Its size bounds the speed: 580 MB for ten clients of VGG-16. So autograd adds straight into its rows, and each
    product goes over it once, block by block.
    """

    def __init__(self, model: nn.Module, clients: int) -> None:
        super().__init__(model, clients)
        self._sizes = [parameter.numel() for parameter in self.parameters]
        self._memory = torch.zeros(clients, sum(self._sizes), device=self.parameters[0].device)
        self.rows = self._memory
        """A of the last uploads."""

    def views(self, row: Tensor) -> list[Tensor]:
        """A vector (D,) in the shapes of the parameters: the same memory."""
        parts = torch.split(row, self._sizes)
        return [part.view_as(parameter) for part, parameter in zip(parts, self.parameters, strict=True)]

    def passes(self, uploads: Sequence[Upload], loss: Loss) -> Passes:
        self.rows = self._memory[: len(uploads)]
        self.rows.zero_()
        return self._add_passes(uploads, loss)

    def _add_passes(self, uploads: Sequence[Upload], loss: Loss) -> Passes:
        losses, of_activations = [], []
        for upload, row in zip(uploads, self.rows, strict=True):
            self._before(row)
            self._collect_in(row)
            activations = upload.activations.detach().requires_grad_()
            own = loss(upload, self.model(activations))
            torch.autograd.backward(own)
            assert activations.grad is not None
            losses.append(own.detach())
            of_activations.append(activations.grad)
        gram = self._no_gram(len(uploads))
        for block in torch.split(self.rows, BLOCK, dim=1):
            gram += block @ block.T
        return Passes(torch.stack(losses), of_activations, gram)

    def _before(self, row: Tensor) -> None:
        """Before the pass of the client whose row this is."""

    def combine(self, weights: Tensor) -> None:
        # In the memory of row 0, whose own content is used up block by block.
        weights = weights.to(self.rows)
        for block in torch.split(self.rows, BLOCK, dim=1):
            block[0] = weights @ block
        self._collect_in(self.rows[0])

    def _collect_in(self, row: Tensor) -> None:
        for parameter, view in zip(self.parameters, self.views(row), strict=True):
            parameter.grad = view


class Accumulated(Kept):
    """Rows that add up over `steps` mini-batches, each client on its own way from the weights that all share.

    Client i's way is plain gradient descent, so it stands at `start - rate * (row i)`: no other copy of the model is
    needed. `passes` leaves the model where it started. What a client has added up counts if it takes part in the last
    of the mini-batches; else it is forgotten.
    """

    def __init__(self, model: nn.Module, clients: int, steps: int, rate: float) -> None:
        super().__init__(model, clients)
        self._steps, self._rate, self._taken = steps, rate, 0
        self._start: list[Tensor] = []

    def passes(self, uploads: Sequence[Upload], loss: Loss) -> Passes:
        if self.complete:
            self._start = [parameter.detach().clone() for parameter in self.parameters]
            self._taken = 0
            self._memory.zero_()
        places = [upload.place for upload in uploads]
        all_there = len(places) == self.clients
        self.rows = self._memory if all_there else self._memory[places]
        passes = self._add_passes(uploads, loss)
        if not all_there:
            self._memory[places] = self.rows
        self._stand_at(self._start)
        self._taken += 1
        return passes

    @property
    def complete(self) -> bool:
        return self._taken % self._steps == 0

    def _before(self, row: Tensor) -> None:
        self._stand_at([start - self._rate * moved for start, moved in zip(self._start, self.views(row), strict=True)])

    @torch.no_grad()
    def _stand_at(self, weights: Sequence[Tensor]) -> None:
        for parameter, weight in zip(self.parameters, weights, strict=True):
            parameter.copy_(weight)


class Recomputed(ClientGradients):
    """One layer's rows of A at a time.

    All clients go back together, layer by layer, and leave nothing but their part of the Gram matrix; `combine` then
    goes back once more, through the losses' weighted sum. Needs the activations of all clients at once, as PSL does.
    """

    model: nn.Sequential

    def __init__(self, model: nn.Module, clients: int) -> None:
        assert isinstance(model, nn.Sequential)
        super().__init__(model, clients)
        self._losses: list[Tensor] = []

    def passes(self, uploads: Sequence[Upload], loss: Loss) -> Passes:
        between: list[list[Tensor]] = []  # by client: what enters each layer, and what leaves the last
        for upload in uploads:
            between.append([upload.activations.detach().requires_grad_()])
            for layer in self.model:
                between[-1].append(layer(between[-1][-1]))
        self._losses = [loss(upload, values[-1]) for upload, values in zip(uploads, between, strict=True)]

        gram = self._no_gram(len(uploads))
        gradients = [
            torch.autograd.grad(own, values[-1], retain_graph=True)[0]
            for own, values in zip(self._losses, between, strict=True)
        ]
        for place in reversed(range(len(self.model))):
            parameters = list(self.model[place].parameters())
            rows = []
            for client, values in enumerate(between):
                of_input, *of_parameters = torch.autograd.grad(
                    values[place + 1], [values[place], *parameters], gradients[client], retain_graph=True
                )
                gradients[client] = of_input
                rows.append([part.flatten() for part in of_parameters])
            for parts in zip(*rows, strict=True):
                for blocks in zip(*(torch.split(part, BLOCK) for part in parts), strict=True):
                    block = torch.stack(blocks)
                    gram += block @ block.T
        return Passes(torch.stack([own.detach() for own in self._losses]), gradients, gram)

    def combine(self, weights: Tensor) -> None:
        total = sum(
            (weight * own for weight, own in zip(weights.tolist(), self._losses, strict=True) if weight),
            start=torch.zeros((), device=self._losses[0].device),
        )
        gradients = torch.autograd.grad(total, self.parameters)
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        self._losses = []
