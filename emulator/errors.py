"""What may go wrong, and the exit status each kind of failure has."""


class EdgebedError(Exception):
    """A failure that one line explains: what, where, what to do."""

    exit_status = 1


class InputError(EdgebedError):
    """A command, file or value the user gave cannot be used."""

    exit_status = 2


class NodeFailure(EdgebedError):
    """A node died, never appeared, or raised; the message names it."""


class Refused(EdgebedError):
    """The hub refuses a node or a message; the message says why."""


class DeadlineExceeded(EdgebedError):
    """A wait ended without what it waited for; the message names the peer."""
