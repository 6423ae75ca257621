"""When the changes of a scenario are due in a run.

Pure: time comes in as a parameter, in emulated seconds since the run began, and the same object serves hub and virtual
runtime. A scenario's seconds are those on the clock: they stand still while a program does something off the clock (see
`Node.off_clock`), which takes time in real runtimes and none in virtual time. Round N begins when the first message of
it is sent.
"""

import math
from bisect import insort
from collections.abc import Iterable
from dataclasses import dataclass, field

from emulator.scenario import Change


@dataclass(order=True)
class _Due:
    seconds: float
    order: int
    change: Change = field(compare=False)


class Player:
    """Gives out the changes of a scenario (in its order), each when it is due, in one run.

    Those of the network are given out `lag` seconds after they are due, with the time at which they were: what was sent
    before may still be on its way to whoever asks. Nobody may let the network's time pass `horizon` until then.
    """

    def __init__(self, scenario: Iterable[Change], lag: float = 0.0) -> None:
        self._lag = lag
        self._rounds: list[tuple[int, Change]] = []  # whose round has not begun
        self._of_devices: list[_Due] = []  # on the clock
        self._of_network: list[_Due] = []
        self._begun: list[tuple[float, int, Change]] = []  # due at the begin of a round that has begun
        for order, change in enumerate(scenario):
            if change.round is None:
                insort(self._line(change), _Due(change.at, order, change))
            else:
                self._rounds.append((order, change))
        self._frozen = 0.0  # seconds that were off the clock so far, but for those that last
        self._off: set[str] = set()
        self._since = math.inf

    @property
    def left(self) -> int:
        """How many are still to come."""
        return len(self._rounds) + len(self._begun) + len(self._of_devices) + len(self._of_network)

    def begin(self, number: int, sent: float) -> None:
        """A message of round `number` was sent at `sent`."""
        while self._rounds and (self._rounds[0][1].round or 0) <= number:
            order, change = self._rounds.pop(0)
            if change.at == 0:
                self._begun.append((sent, order, change))
            else:
                on_clock = min(sent, self._since) - self._frozen
                insort(self._line(change), _Due(on_clock + change.at, order, change))

    def leave_clock(self, node: str, at: float) -> None:
        """From `at` on, `node` does something off the clock."""
        if not self._off:
            self._since = at
        self._off.add(node)

    def return_to_clock(self, node: str, at: float) -> None:
        """Up to `at` it did."""
        if node in self._off:
            self._off.remove(node)
            if not self._off:
                self._frozen += max(0.0, at - self._since)
                self._since = math.inf

    def wakeup(self) -> float | None:
        """When `take` will have something, as far as is known; None: it will not."""
        if not (self._begun or self._of_devices or self._of_network):  # nearly always: it is asked for every message
            return None
        found = [at for at, _, _ in self._begun]
        for line, lag in ((self._of_devices, 0.0), (self._of_network, self._lag)):
            if (due := self._due(line)) is not None:
                found.append(due + lag)
        return min(found, default=None)

    def horizon(self) -> float:
        """When the next change of the network is due that has not been given out."""
        due = self._due(self._of_network)
        return math.inf if due is None else due

    def take(self, now: float, sent: float | None = None) -> list[tuple[float, Change]]:
        """The changes to carry out at `now`, and when they were due, in order; with `sent`, all that were due when
        somebody sent a message that has come, for nobody waits for earlier ones of others."""
        found = [*self._begun]
        self._begun.clear()
        sent_by = max(now - self._lag, -math.inf if sent is None else sent)
        for line, until in ((self._of_devices, now), (self._of_network, sent_by)):
            while (due := self._due(line)) is not None and due <= until:
                first = line.pop(0)
                found.append((due, first.order, first.change))
        return [(at, change) for at, _, change in sorted(found, key=lambda one: one[:2])]

    def _line(self, change: Change) -> list[_Due]:
        return self._of_devices if change.of_device else self._of_network

    def _due(self, line: list[_Due]) -> float | None:
        """When the first in `line` is due; None while the clock stands still before."""
        if not line:
            return None
        due = line[0].seconds + self._frozen
        return due if due <= self._since else None
