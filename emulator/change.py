"""A change of a node or segment while its testbed runs: another link or device, or other figures of those it has.

Whoever orders it: a user, at once (see `control`), or a scenario (see `scenario`).
"""

from collections.abc import Mapping
from typing import Any

from emulator import rate
from emulator.device import slowdown
from emulator.errors import InputError
from emulator.figures import checked
from emulator.plan import NodePlan
from emulator.profiles import SPREAD, Burst, Channel, DeviceProfile, LinkProfile, TraceProfile
from emulator.timeline import Span
from emulator.units import SHARE, SIZE, THROUGHPUT, TIME, show

LINK_CHANGE = "link_change"
DEVICE_CHANGE = "device_change"
CONNECTION_CHANGE = "connection_change"
SEGMENT_CHANGE = "segment_change"
PARTITION_CHANGE = "partition_change"
STAGES = (LINK_CHANGE, DEVICE_CHANGE, CONNECTION_CHANGE, SEGMENT_CHANGE, PARTITION_CHANGE)
"""The stages under which the timeline shows a change."""
DIGITS = 4


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
    link = _whole_link(fields["link"]) if "link" in fields else None
    device = checked(DeviceProfile, fields["device"]) if "device" in fields else None
    return changed(node, link, device, core_flops)


def wanted_of_segment(fields: Mapping[str, Any]) -> LinkProfile:
    """The whole `link` that a message has for a segment, and nothing else. Raises as `checked` does."""
    if "device" in fields or "link" not in fields:
        raise InputError("a segment has a link and nothing else")
    return _whole_link(fields["link"])


def in_force(node: NodePlan) -> dict[str, Any]:
    """The link and the device of `node` as a message holds them."""
    return {"link": node.link.model_dump(mode="json"), "device": node.device.model_dump(mode="json")}


def segment_in_force(link: LinkProfile) -> dict[str, Any]:
    """The link of a segment as a message holds it."""
    return {"segment": link.model_dump(mode="json")}


def differences(before: NodePlan, after: NodePlan) -> dict[str, str]:
    """What has changed: for each stage under which the timeline shows it, one line for the reader."""
    found = {}
    if after.link != before.link:
        found[LINK_CHANGE] = link_difference(before.link, after.link)
    if after.device != before.device:
        figures = f"{show(after.device.training, THROUGHPUT, DIGITS)}, {show(after.device.memory, SIZE, DIGITS)}"
        found[DEVICE_CHANGE] = f"{before.device.name} -> {after.device.name} ({figures})"
    return found


def segment_differences(before: LinkProfile, after: LinkProfile) -> dict[str, str]:
    """As `differences`, of a segment's link."""
    return {SEGMENT_CHANGE: link_difference(before, after)} if after != before else {}


def link_difference(before: LinkProfile, after: LinkProfile) -> str:
    """One line for the reader on what a link was, and what it is now."""
    ways = f"up {_channel(before.up, after.up)}; down {_channel(before.down, after.down)}"
    return f"{before.name} -> {after.name} ({ways})"


def as_spans(
    name: str, details: Mapping[str, str], run: str, number: int, at: float, done: float | None = None
) -> list[Span]:
    """What the timeline shows of a change (see `differences`) at the emulated time `at`, in round `number`: off the
    clock, for it is part of no latency. What a scenario had change at that time has a due time: it was `done` then."""
    end = at if done is None else max(at, done)
    due = None if done is None else at
    return [
        Span(run, number, name, stage, at, end, due=due, off_clock=True, detail=detail)
        for stage, detail in details.items()
    ]


def is_live(span: Span) -> bool:
    """Whether it is a change that somebody made while the testbed ran, and no scenario had foreseen."""
    return span.stage in STAGES and span.due is None


def told(who: str, change: Mapping[str, Any]) -> list[str]:
    """A line for each of the `details` (see `differences`) of a change, with its time: `at`, `run` and `round`."""
    when = f"at {change['at']:.3f} s of {change['run']}, round {change['round']}"
    return [f"{said(who, stage, detail)} {when}" for stage, detail in change["details"].items()]


def said(who: str, stage: str, detail: str) -> str:
    """What happened to a node or segment, in words: 'client-1: link wifi-5 -> lte (...)', 'client-1: disconnected'."""
    what = "" if stage in (CONNECTION_CHANGE, PARTITION_CHANGE) else stage.removesuffix("_change").replace("_", " ")
    return f"{who}: {what} {detail}" if what else f"{who}: {detail}"


def _whole_link(words: object) -> LinkProfile:
    """The link that `words` are, with its traces."""
    link = checked(LinkProfile, words)
    for channel in (link.up, link.down):
        if isinstance(channel.trace, str):
            raise InputError(f"the trace '{channel.trace}' is but a name: send what it says")
    return link


def _channel(before: Channel, after: Channel) -> str:
    """The figures of `after` that say something; its queue only where that has changed."""
    said = [rate.said(after, DIGITS)]
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
