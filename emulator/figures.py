"""Profiles of other figures than their own: some of them replaced, in the words of a file, or multiplied."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError

from emulator.document import worst_fault
from emulator.errors import InputError
from emulator.happening import Factors
from emulator.profiles import DeviceProfile, LinkProfile, Profile

INLINE = "inline"
"""What a profile without a name is called."""
CHANGED = "-changed"
"""What a profile's name ends in when it stands for other figures than its own."""

P = TypeVar("P", bound=Profile)


class Unfit(InputError):
    """Words that make no profile: what is wrong, and at which of its keys (`location`)."""

    def __init__(self, location: Sequence[str | int], message: str) -> None:
        super().__init__(": ".join([*filter(None, [".".join(map(str, location))]), message]))
        self.location = tuple(location)
        self.message = message


def checked(model: type[P], fields: object, name: str = INLINE) -> P:
    """A whole profile in the words of a file; raises `Unfit` as the file would be refused, but for its line."""
    try:
        profile = model.model_validate(fields)
    except ValidationError as error:
        raise Unfit(*worst_fault(error, model)) from None
    return profile if profile.name else profile.model_copy(update={"name": name})


def altered(profile: P, figures: Mapping[str, Any]) -> P:
    """`profile` with some of its figures replaced, in the words of a file. Raises `Unfit` as `checked` does."""
    fields = profile.model_dump(mode="json")
    fields["name"] = _other(profile.name)
    for key, value in figures.items():
        inner = fields.get(key)
        fields[key] = {**inner, **value} if isinstance(inner, dict) and isinstance(value, Mapping) else value
    return checked(type(profile), fields)


def scaled(link: LinkProfile, rates: LinkProfile, factors: Factors) -> LinkProfile:
    """`link` with the rates of another, times `factors`."""
    update: dict[str, Any] = {"name": _other(link.name)}
    for way in ("up", "down"):
        factor = getattr(factors, way)
        if factor is not None:
            update[way] = getattr(link, way).model_copy(update={"rate": getattr(rates, way).rate * factor})
    return link.model_copy(update=update)


def slowed(device: DeviceProfile, throughput: DeviceProfile, times: float) -> DeviceProfile:
    """`device` with the throughput of another, that many times slower."""
    return device.model_copy(update={"name": _other(device.name), "training": throughput.training / times})


def _other(name: str) -> str:
    """What a profile is called that has other figures than the one of that name."""
    return (name.removesuffix(CHANGED) or INLINE)[: 64 - len(CHANGED)] + CHANGED
