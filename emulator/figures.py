"""Profiles of other figures than their own: some of them replaced, in the words of a file, or multiplied."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError

from emulator.document import worst_fault
from emulator.errors import InputError
from emulator.happening import Factors
from emulator.profiles import DIRECTIONS, SPREAD, Channel, DeviceProfile, LinkProfile, Profile, TraceProfile

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
    """`profile` with some of its figures replaced, in the words of a file. Raises `Unfit` as `checked` does.

    A rate takes the place of a trace, and a trace that of a rate; where both are given, the rate is the trace's cap.
    """
    fields = profile.model_dump(mode="json")
    figures = {key: _with_one_rate(value) if key in DIRECTIONS else value for key, value in figures.items()}
    fields["name"] = _other(profile.name)
    for key, value in figures.items():
        inner = fields.get(key)
        fields[key] = {**inner, **value} if isinstance(inner, dict) and isinstance(value, Mapping) else value
    return checked(type(profile), fields)


def scaled(link: LinkProfile, rates: LinkProfile, factors: Factors) -> LinkProfile:
    """`link` with the rates or the traces (in full) of another, times `factors`."""
    update: dict[str, Any] = {"name": _other(link.name)}
    for way in DIRECTIONS:
        factor = getattr(factors, way)
        if factor is not None:
            update[way] = getattr(link, way).model_copy(update=_times(getattr(rates, way), factor))
    return link.model_copy(update=update)


def slowed(device: DeviceProfile, throughput: DeviceProfile, times: float) -> DeviceProfile:
    """`device` with the throughput of another, that many times slower."""
    return device.model_copy(update={"name": _other(device.name), "training": throughput.training / times})


def _times(channel: Channel, factor: float) -> dict[str, Any]:
    """What decides the rate of `channel`, at `factor` (above 0) times it."""
    trace = channel.trace
    if isinstance(trace, TraceProfile):
        trace = TraceProfile.of(trace.name, trace.model.scaled(factor))
    return {"rate": channel.rate * factor, "trace": trace, "offset": channel.offset}


def _with_one_rate(channel: Any) -> Any:
    """Figures of a channel, of which one that says how fast it is leaves nothing of what said so before."""
    if isinstance(channel, Mapping) and "rate" in channel and "trace" not in channel:
        return {"trace": None, "offset": SPREAD, **channel}
    if isinstance(channel, Mapping) and "trace" in channel and "rate" not in channel:
        return {"rate": None if channel["trace"] is None else "unlimited", "offset": SPREAD, **channel}
    return channel


def _other(name: str) -> str:
    """What a profile is called that has other figures than the one of that name."""
    return (name.removesuffix(CHANGED) or INLINE)[: 64 - len(CHANGED)] + CHANGED
