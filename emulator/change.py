"""A change of a node while its testbed runs: another link, another device, or other figures of those it has."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from emulator import trace
from emulator.device import slowdown
from emulator.document import worst_fault
from emulator.errors import InputError
from emulator.plan import NodePlan
from emulator.profiles import DIRECTIONS, SPREAD, Burst, Channel, DeviceProfile, LinkProfile, Profile, TraceProfile
from emulator.timeline import Span
from emulator.units import SHARE, SIZE, THROUGHPUT, TIME, show

LINK_CHANGE = "link_change"
DEVICE_CHANGE = "device_change"
"""The stages under which the timeline shows a change."""
DIGITS = 4
INLINE = "inline"
"""What a profile without a name is called."""
CHANGED = "-changed"
"""What a profile's name ends in when it stands for other figures than its own."""

P = TypeVar("P", bound=Profile)


def checked(model: type[P], fields: object, name: str = INLINE) -> P:
    """A whole profile in the words of a file; raises `InputError` as the file would be refused, but for its line."""
    try:
        profile = model.model_validate(fields)
    except ValidationError as error:
        location, message = worst_fault(error, model)
        raise InputError(": ".join([*filter(None, [".".join(map(str, location))]), message])) from None
    return profile if profile.name else profile.model_copy(update={"name": name})


def altered(profile: P, figures: Mapping[str, Any]) -> P:
    """`profile` with some of its figures replaced, in the words of a file. Raises `InputError` as `checked` does.

    A rate takes the place of a trace, and a trace that of a rate; where both are given, the rate is the trace's cap.
    """
    fields = profile.model_dump(mode="json")
    figures = {key: _with_one_rate(value) if key in DIRECTIONS else value for key, value in figures.items()}
    fields["name"] = (profile.name.removesuffix(CHANGED) or INLINE)[: 64 - len(CHANGED)] + CHANGED
    for key, value in figures.items():
        inner = fields.get(key)
        fields[key] = {**inner, **value} if isinstance(inner, dict) and isinstance(value, Mapping) else value
    return checked(type(profile), fields)


def scaled(channel: Channel, factor: float) -> Channel:
    """`channel` (its trace in full) at `factor` (above 0) times its rate, or its trace and the cap on it."""
    figures: dict[str, Any] = {"rate": channel.rate * factor}
    if isinstance(channel.trace, TraceProfile):
        figures["trace"] = TraceProfile.of(channel.trace.name, channel.trace.model.scaled(factor))
    return channel.model_copy(update=figures)


def _with_one_rate(channel: Any) -> Any:
    """Figures of a channel, of which one that says how fast it is leaves nothing of what said so before."""
    if isinstance(channel, Mapping) and "rate" in channel and "trace" not in channel:
        return {"trace": None, "offset": SPREAD, **channel}
    if isinstance(channel, Mapping) and "trace" in channel and "rate" not in channel:
        return {"rate": None if channel["trace"] is None else "unlimited", "offset": SPREAD, **channel}
    return channel


def changed(node: NodePlan, link: LinkProfile | None, device: DeviceProfile | None, core_flops: float) -> NodePlan:
    """`node` with another link, device, or both, on a host whose cores have `core_flops` FLOP/s."""
    update: dict[str, Any] = {}
    if link is not None:
        update["link"] = link
    if device is not None:
        update |= {"device": device, "slowdown": slowdown(device.training, core_flops)}
    return node.model_copy(update=update)


def wanted(node: NodePlan, fields: Mapping[str, Any], core_flops: float) -> NodePlan:
    """`node` with the whole `link` and the whole `device` that a message may hold. Raises as `checked` does."""
    link = checked(LinkProfile, fields["link"]) if "link" in fields else None
    for channel in (link.up, link.down) if link is not None else ():
        if isinstance(channel.trace, str):
            raise InputError(f"the trace '{channel.trace}' is but a name: send what it says")
    device = checked(DeviceProfile, fields["device"]) if "device" in fields else None
    return changed(node, link, device, core_flops)


def in_force(node: NodePlan) -> dict[str, Any]:
    """The link and the device of `node` as a message holds them."""
    return {"link": node.link.model_dump(mode="json"), "device": node.device.model_dump(mode="json")}


def differences(before: NodePlan, after: NodePlan) -> dict[str, str]:
    """What has changed: for each stage under which the timeline shows it, one line for the reader."""
    found = {}
    if after.link != before.link:
        found[LINK_CHANGE] = f"{before.link.name} -> {after.link.name} ({_link(before.link, after.link)})"
    if after.device != before.device:
        figures = f"{show(after.device.training, THROUGHPUT, DIGITS)}, {show(after.device.memory, SIZE, DIGITS)}"
        found[DEVICE_CHANGE] = f"{before.device.name} -> {after.device.name} ({figures})"
    return found


def as_spans(before: NodePlan, after: NodePlan, run: str, number: int, at: float) -> list[Span]:
    """What the timeline shows of a change at the emulated time `at`, in round `number`: off the clock, for it is part
    of no latency."""
    return [
        Span(run, number, after.name, stage, at, at, off_clock=True, detail=detail)
        for stage, detail in differences(before, after).items()
    ]


def told(node: str, change: Mapping[str, Any]) -> list[str]:
    """A line for each of the `details` (see `differences`) of a change, with its time: `at`, `run` and `round`."""
    when = f"at {change['at']:.3f} s of {change['run']}, round {change['round']}"
    return [f"{node}: {stage.removesuffix('_change')} {line} {when}" for stage, line in change["details"].items()]


def _link(before: LinkProfile, after: LinkProfile) -> str:
    return f"up {_channel(before.up, after.up)}; down {_channel(before.down, after.down)}"


def _channel(before: Channel, after: Channel) -> str:
    """The figures of `after` that say something; its queue only where that has changed."""
    said = [trace.said(after, DIGITS)]
    if isinstance(after.trace, TraceProfile) and after.offset != SPREAD:
        said += [f"offset {show(float(after.offset), TIME, DIGITS)}"]
    for name, value, dimension in (("delay", after.delay, TIME), ("jitter", after.jitter, TIME)):
        said += [f"{name} {show(value, dimension, DIGITS)}"] if value else []
    said += [f"loss {show(after.loss, SHARE, DIGITS)}"] if after.loss else []
    said += [_burst(after.burst)] if after.burst else []
    said += [f"queue {show(after.queue, SIZE, DIGITS)}"] if after.queue != before.queue else []
    return ", ".join(said)


def _burst(burst: Burst) -> str:
    figures = (burst.loss, burst.enter, burst.leave)
    loss, enter, leave = (show(figure, SHARE, DIGITS) for figure in figures)
    return f"{loss} in bursts (entered {enter}, left {leave})"
