"""What a node may send, and to whom: the same words in every runtime."""

from collections.abc import Collection, Mapping

from emulator.errors import InputError
from emulator.node import Array
from emulator.units import SIZE, show


class Outgoing:
    """Looks at what the node `name` sends to others among `known`; a message has `limit` bytes at most."""

    def __init__(self, name: str, known: Collection[str], limit: float) -> None:
        self._name = name
        self._known = known
        self._limit = limit

    def nbytes(self, to: str, kind: str, tensors: Mapping[str, Array] | None) -> int:
        """Bytes of the tensors. Raises `InputError` for an unknown peer, or more than the limit."""
        if to not in self._known or to == self._name:
            raise InputError(f"{self._name}: cannot send '{kind}' to '{to}': no such peer in this testbed")
        nbytes = sum([array.nbytes for array in tensors.values()]) if tensors else 0
        if nbytes > self._limit:
            raise InputError(
                f"{self._name}: '{kind}' to {to} has {show(nbytes, SIZE, 4)}, over the bus's limit of "
                f"{show(self._limit, SIZE, 4)}: raise bus.max_message in the experiment"
            )
        return nbytes

    def refused(self, to: str, kind: str, reason: Exception) -> InputError:
        """What the program is told when the bus cannot carry its message."""
        return InputError(f"{self._name}: '{kind}' to {to} cannot be sent: {reason}")
