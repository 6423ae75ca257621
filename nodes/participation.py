"""Rounds that go on without late clients: what that means, and the server's books of who can take part.

With `participation: {deadline: D, at_least: N}` no wait of the server for its clients lasts longer than D emulated
seconds, whether a client is slow, its link is, or it is gone. The server waits

- from the begin of a round for the clients' uploads. What is there at D or before counts. The step is then done with
  the batches that came, in the testbed's order; S of the algorithms is their number. Whoever is late is left out of the
  round: its update is lost to the server-side model, and its client-side model stays as it was.
- from its last downlink for the backward passes. Whoever is not done by then is left out of what follows, though its
  batch has counted; its backward pass is still its own, for its client-side model.
- in SFL, in a round that averages, instead for the client-side models; those that are there are averaged, weighted by
  their clients' samples, and whoever is late goes on with its own. Then it waits once more, for these clients to have
  the average.

So a round takes at most 2 D (3 D where it averages) and what the server computes, unless it has to wait for N.

A client that is left out takes part again from the first round that begins when it owes nothing: its device has ended
what it was at, and all that it sent has come through, for a link loses nothing. What comes late is not used. What
clients and links do for a round after they were left out of it is no part of its latency, and time in which the server
only waited is `wait`.

Of N, `at_least`: a round waits for so many uploads, even beyond D; and it does not end before so many clients can take
part in the next one.

In vanilla split learning D holds for each turn: for the upload, from the end of the turn before, and for the backward
pass. A client that cannot take part is skipped; so is one that is late in its turn, and the model goes on from where it
was before that turn (see nodes/chain.py). Whose link holds up a model that was handed over is not known at once: its
giver is not asked to give until it has come, and its taker, who loses the turn, may take from another. What a client
learns on its own side after it was left out is lost there.

A client whose process or container dies is late for ever. When none is left, the run ends.

A client that is absent when models are evaluated is left out of the evaluation; `evaluated` counts the others. The
metrics `participants` and `lost_rounds` count, for each round, the batches that entered the server-side model, and the
clients' that did not.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field


@dataclass
class _Account:
    """One client, in counts since the run began."""

    ordered: int = 0
    """What the server has told it to do."""
    finished: int = 0
    """Of that it has done or given up, by its own word."""
    sent: int = 0
    """Messages on the clock to the server, by its own word."""
    arrived: int = 0
    handed: Counter[str] = field(default_factory=Counter)
    """Client-side models on their way to other clients, by taker: given by its own word, less those taken by theirs.
    The two words travel apart, so that a count may be below 0 for a moment."""
    coming: Counter[str] = field(default_factory=Counter)
    """The same of those on their way to it, by giver."""


class Attendance:
    """Who can take part. It is told what the server orders, what clients report and what arrives; it knows no time."""

    def __init__(self, clients: Sequence[str]) -> None:
        self._accounts = {client: _Account() for client in clients}
        self._gone: set[str] = set()

    def order(self, client: str) -> int:
        """The client is told to do one thing more; gives the number of that thing."""
        account = self._accounts[client]
        account.ordered += 1
        return account.ordered

    def report(self, client: str, finished: int, sent: int, gave: Collection[str]) -> None:
        """The client's word: things finished and messages sent since the run began, and to whom it has handed its model
        since its last word."""
        account = self._accounts[client]
        account.finished, account.sent = finished, sent
        account.handed.update(gave)
        for taker in gave:
            self._accounts[taker].coming[client] += 1

    def arrived(self, client: str) -> None:
        """A message of the client has come over its links."""
        self._accounts[client].arrived += 1

    def took(self, giver: str, taker: str) -> None:
        """The model that one client handed to the other is there."""
        self._accounts[giver].handed[taker] -= 1
        self._accounts[taker].coming[giver] -= 1

    def gone(self, client: str) -> None:
        """The client is gone for good, and so is what was on its way to it. Nobody waits for it to finish."""
        self._gone.add(client)
        for account in self._accounts.values():
            account.handed.pop(client, None)

    def is_gone(self, client: str) -> bool:
        """Whether it will never take part again."""
        return client in self._gone

    def number_gone(self, clients: Collection[str]) -> int:
        """How many of these are gone for good."""
        return sum(client in clients for client in self._gone)

    def has_finished(self, client: str, number: int | None = None) -> bool:
        """Whether it has finished that thing, or all that it was told to do."""
        account = self._accounts[client]
        return client in self._gone or account.finished >= (account.ordered if number is None else number)

    def is_free(self, client: str) -> bool:
        """Whether it can take part: it has finished, and nothing that it sent is under way.

        Of one model that does not come, nobody knows whether its giver or its taker cannot be reached: the taker may
        try another giver. Of two it is the taker.
        """
        account = self._accounts[client]
        if client in self._gone or account.coming.total() > 1:
            return False
        return self.has_finished(client) and account.arrived == account.sent

    @property
    def free(self) -> list[str]:
        """Who can take part, in the testbed's order."""
        return [client for client in self._accounts if self.is_free(client)]

    def can_give(self, client: str) -> bool:
        """Whether it is free, and no model that it gave before is under way to someone who is free, too: that one, it
        seems, can be reached."""
        handed = self._accounts[client].handed.items()
        return self.is_free(client) and not any(number and self.is_free(taker) for taker, number in handed)
