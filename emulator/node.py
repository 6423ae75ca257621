"""What a program sees of the world.

A program is `async def main(node: Node) -> None`. It never sleeps for emulation's sake, never reads a clock, and does
not know which runtime it runs in.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:  # the first process of a container, small as it must be, imports this package too
    import numpy as np

T = TypeVar("T")
GONE = "gone"
"""The kind of the message that is received from a peer, instead of any other, when it has ended for good and the run
goes on: see `dispensable` in `emulator.runtime.program`."""
Array: TypeAlias = "np.ndarray[Any, Any]"


@dataclass(slots=True)
class Message:
    """What a node received, not to be changed. The arrays are views of the received frames."""

    sender: str
    kind: str
    round: int
    fields: dict[str, Any]
    tensors: dict[str, Array]


@dataclass(frozen=True)
class Deadline:
    """A moment up to which a node waits, and the one at which it was set, in emulated seconds."""

    since: float
    at: float


@dataclass(frozen=True)
class Work:
    """What a stage costs any device: counted, not measured."""

    flops: float
    """Floating-point operations."""
    bytes_moved: float = 0.0
    """Bytes read from and written to memory."""
    peak_memory: float = 0.0
    """Bytes."""


class Node(Protocol):
    """A node of the testbed, as its program sees it."""

    name: str
    role: str
    peers: Mapping[str, Sequence[str]]
    """The names of the nodes of each role, this one's included, in the testbed's order."""
    config: Mapping[str, Any]
    """The experiment's `workload`, with `algorithm`, `rounds`, `seed`, `target_accuracy` and `training` beside it.

    Where `training` is false, latencies alone are wanted: a program may then do what costs nothing instead of its
    work, as long as it sends the same bytes and passes the same `work` to `compute`.
    """
    round: int
    """The round that follows: the program sets it, and every span, message and metric from then on carries it."""

    async def send(
        self,
        to: str,
        kind: str,
        fields: Mapping[str, Any] | None = None,
        tensors: Mapping[str, Array] | None = None,
        *,
        off_clock: bool = False,
    ) -> None:
        """Send a message over this node's `up` link and the receiver's `down` link; does not wait for its arrival.

        `kind` is the stage under which the timeline shows the way. Waits while more than the link's queue is on its
        way out, and the timeline shows that wait. The arrays must not be written to afterwards: they are not copied.
        With `off_clock` the message crosses no link and counts in no latency: for what an experiment needs and the
        system under test would not do, such as collecting models for evaluation.

        Raises `InputError` for an unknown peer, a message over the bus's limit, or fields or tensors that cannot be
        packed; `DeadlineExceeded` when the link had no room for it within the message deadline.
        """

    async def receive(
        self,
        kind: str | None = None,
        sender: str | None = None,
        *,
        timeout: float | None = None,
        by: Deadline | None = None,
    ) -> Message:
        """The oldest message of that kind from that sender; others stay for later calls.

        Raises `DeadlineExceeded`, naming the peer, after `timeout` emulated seconds or at the moment `by`, which may
        serve several calls (default: the experiment's message deadline). What arrives at that very moment or before is
        in time, by when its links deliver it: virtual time is exact, and a host that brings a message some
        milliseconds late makes nobody late. The program then goes on from that moment.
        """

    def deadline(self, seconds: float) -> Deadline:
        """The moment so many emulated seconds from now, to `receive` by."""

    def waited(self, since: Deadline) -> None:
        """Have the timeline show that this node has only waited since the deadline was set, as `wait`.

        For a wait that no message ended, or none of this round: without it that time would be nobody's.
        """

    def leave_out(self, peer: str) -> None:
        """Go on without `peer` in this round: what it, or a message from or to it, still takes from now on is part of
        no latency of this round."""

    async def compute(self, stage: str, fn: Callable[[], T], work: Work | None = None) -> T:
        """The result of `fn()`, after as long as it takes the emulated device, which computes one thing at a time.

        `fn` runs in a thread of its own and must do its work there: threads it starts are not counted. `work` is what
        a prediction of other devices, models or batches is made from.
        """

    async def off_clock(self, fn: Callable[[], T]) -> T:
        """The result of `fn()`, charged to no device: for what only the experiment needs, such as evaluation."""

    def record(self, metric: str, value: float) -> None:
        """Note a figure of this round."""
