"""What may go wrong, the exit status each kind of failure has, and how a wrong word is put right."""

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


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


class Deadlock(EdgebedError):
    """In virtual time: every node waits, and nothing is on its way; the message says who waits for what."""


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of a sentence that refuses `word`: the nearest known word, or all of them."""
    words = sorted(known)
    near = difflib.get_close_matches(word, words, n=1, cutoff=0.5)
    if near:
        return f": did you mean '{near[0]}'?"
    return f": choose one of {', '.join(words)}" if words else ""


@contextmanager
def refusals(verb: str, path: Path) -> Iterator[None]:
    """Turn what the file system refuses into one line for the user."""
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot {verb} {path}: {error.strerror or error}") from error
