"""The links and devices that a change speaks of: a shipped profile's name, some keys of a file, or all of them."""

from collections.abc import Mapping
from functools import partial
from typing import Any, TypeVar

from emulator import library
from emulator.errors import InputError, nearest
from emulator.figures import altered, checked
from emulator.profiles import DeviceProfile, LinkProfile, Profile

MODELS: dict[str, type[LinkProfile] | type[DeviceProfile]] = {"links": LinkProfile, "devices": DeviceProfile}
KIND_OF_KEY = {"up": "links", "down": "links", "training": "devices", "memory": "devices"}
"""Keys that only one kind of file has."""

P = TypeVar("P", bound=Profile)
Words = str | Mapping[str, Any]
"""A shipped profile's name, or keys of a file."""


def whole(words: Words, place: int) -> LinkProfile | DeviceProfile:
    """The profile that `words` name, or are, for the node at `place` of its testbed: with the traces of a link in full.

    Raises `InputError` as for a file, but for its line.
    """
    model = MODELS[kind_of(words)]
    return _in_full(named(model, words) if isinstance(words, str) else checked(model, words), place)


def after(profile: P, words: Words | None, place: int) -> P | None:
    """What `words` make of `profile`, of the node at `place`; None: they say nothing. Raises as `whole` does."""
    if words is None:
        return None
    return _in_full(named(type(profile), words) if isinstance(words, str) else altered(profile, words), place)


def named(model: type[P], name: str) -> P:
    """The shipped profile of that name."""
    if library.is_path("links", name):
        raise InputError(f"'{name}' is a file: send what it says")
    return library.load(model, name)


def to_send(reference: str) -> str | dict[str, Any]:
    """`reference` in words for a testbed that may not see the user's files: of a file, all that it says, checked.

    Raises `InputError` naming the file, its line and key.
    """
    if not library.is_path("links", reference):
        kind_of(reference)
        return reference
    path, document = library.read("links", reference)
    model = MODELS[kind_of(document.data, str(path))]
    profile = library.check(document, model, path.stem)
    return library.with_traces(profile, path.parent, partial(library.placed, document)).model_dump(mode="json")


def link_to_send(reference: str | None, figures: Mapping[str, Mapping[str, Any]]) -> str | dict[str, Any]:
    """As `to_send`, of a link with some other `figures`, or, without a reference, these figures alone."""
    own = {way: dict(channel) for way, channel in figures.items()}
    for way, channel in own.items():
        if isinstance(channel.get("trace"), str) and library.is_path(library.TRACES, channel["trace"]):
            channel["trace"] = library.load_trace(channel["trace"], way).model_dump(mode="json")
    if reference is None:
        return own
    if not own and not library.is_path("links", reference):
        return reference
    link = library.load(LinkProfile, reference)
    return (altered(link, own) if own else link).model_dump(mode="json")


def kind_of(words: Words, what: str = "the profile") -> str:
    """'links' or 'devices'."""
    if isinstance(words, str):
        known = {kind: library.names(kind) for kind in MODELS}
        kinds = [kind for kind, names in known.items() if words in names]
        if not kinds:
            raise InputError(
                f"unknown profile '{words}'{nearest(words, [name for one in known.values() for name in one])}"
            )
        return kinds[0]
    for key, kind in KIND_OF_KEY.items():
        if key in words:
            return kind
    raise InputError(f"{what}: neither a link nor a device: it has none of the keys {', '.join(KIND_OF_KEY)}")


def _in_full(profile: P, place: int) -> P:
    if not isinstance(profile, LinkProfile):
        return profile
    for direction, channel in (("up", profile.up), ("down", profile.down)):
        if isinstance(channel.trace, str) and library.is_path(library.TRACES, channel.trace):
            raise InputError(f"{direction}.trace: '{channel.trace}' is a file: send what it says")
    return library.spread_out(library.with_traces(profile, None, lambda keys: ".".join(map(str, keys))), place)
