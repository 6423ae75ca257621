"""From whom a client takes the client-side model in vanilla split learning, when some of them may be gone."""

from collections.abc import Iterable, Sequence

Step = Sequence[str]
"""What a client does: `train`, `average`, `give NAME` or `take NAME`, as words."""
Order = Sequence[Step]
"""Steps that it does one after the other, and then reports."""


def plan(line: Sequence[str], giver: str | None, then: str | None) -> list[tuple[str, Order]]:
    """The orders of turns of these clients, each with its client, in the order of time: one for each turn.

    `giver` hands its model to the first of them, who else has it, by an order of its own ahead of them; `then` takes it
    from the last, by one after them.
    """
    orders: list[tuple[str, Order]] = []
    if giver is not None:
        orders.append((giver, [["give", line[0]]]))
    for client, before, after in zip(line, [giver, *line[:-1]], [*line[1:], then], strict=True):
        take = [["take", before]] if before not in (None, client) else []
        give = [["give", after]] if after not in (None, client) else []
        orders.append((client, [*take, ["train"], *give]))
    if then not in (None, line[-1]):
        orders.append((then, [["take", line[-1]]]))
    return orders


class Chain:
    """The turns that the clients' models have in them; the newest is the chain's.

    All begin with the same model. A turn makes its client's the newest; whoever takes a model has one as new as the
    giver's. A turn that is skipped or late leaves no trace: the chain goes on from the newest model that can be had,
    which after a late turn is that of the client before, who still has what it handed over.
    """

    def __init__(self, clients: Sequence[str]) -> None:
        self._turns = 0
        self._has = dict.fromkeys(clients, 0)

    def trained(self, client: str) -> None:
        """A turn of the client's is over, in time."""
        self._turns += 1
        self._has[client] = self._turns

    def took(self, giver: str, taker: str) -> None:
        """The model has been handed over."""
        self._has[taker] = self._has[giver]

    def newest(self, clients: Iterable[str]) -> str | None:
        """Who of them has the newest model, the first of equals; None if there is nobody."""
        return max(clients, key=lambda client: self._has[client], default=None)

    def giver(self, taker: str, able: Iterable[str]) -> str | None:
        """From whom of those who are able the taker is to take the model; None: nobody has a newer one than it has."""
        best = self.newest(able)
        return None if best is None or self._has[best] <= self._has[taker] else best
