"""A link as the kernel's traffic control: the commands that set it up, and what is left for the hub to emulate.

Pure: nothing is run here (see `runtime.kernel_links`). A node's `up` is the egress of its interface; its `down` is the
interface's ingress, sent through an ifb device, of which it is the egress. The rate is a token bucket's, tbf's or, for
want of that, htb's; delay, jitter and loss are netem's.

What is approximate. The kernel's rate counts packet headers (see `on_wire`), so that a large message gets 96 % of what
it gets of the same rate in the hub. An idle link lets its first `burst` bytes through at once: two frames, or what
it carries in BURST_SECONDS; htb, which does not cut what TCP hands over at once, up to OFFLOAD more. TCP has its own
ways with a rate: it starts slowly, and looks for the rate by overdoing it.
netem delays every packet for itself: jitter may reorder packets, which the hub's never does. All of an interface's
traffic shares its link: acknowledgements, heartbeats and what is off the clock, too.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from emulator.errors import InputError
from emulator.profiles import Channel, LinkProfile
from emulator.transport import payload, repair_delay

Command = list[str]

INTERFACE = "eth0"
MIRROR = "ifb-down"
"""The ifb device through which an interface's ingress goes; each node has a network namespace, and so names, of its
own."""

FRAME = 1514
"""Bytes of a full packet as the kernel counts it."""
HEADERS = 66
"""Bytes of a packet that are headers: Ethernet's 14, IPv4's 20, and TCP's 32 with its timestamps."""
BURST_SECONDS = 0.001
"""What a bucket holds at high rates: a kernel that comes back to it only so much later has lost nothing."""
OFFLOAD = 64 * 1024
"""Bytes that TCP may hand the kernel as one packet, to be cut by the hardware."""
LEAST_QUEUE = 2 * OFFLOAD
"""Bytes that may wait at any link: a shorter queue could drop a packet that the link has yet to cut."""
MOST_QUEUE = 2**31
LEAST_PACKETS = 1000
FASTEST = 34e9
"""Bit/s in place of `unlimited` where a rate must stand (htb's class): four bytes of bytes/s hold no more."""
_DEVIATIONS = 4
"""Standard deviations of jitter for which netem has room."""


class Kernel(BaseModel):
    """What the kernel was found to have, by trying (see `runtime.kernel_links.probe`)."""

    model_config = ConfigDict(frozen=True)

    tbf: bool
    htb: bool
    ifb: bool
    """With the ingress qdisc, and a filter that redirects."""
    netem: bool
    refused: dict[str, str] = {}
    """What `tc` or `ip` said of those that it has not."""

    @property
    def bucket(self) -> bool:
        """Whether it can limit a rate."""
        return self.tbf or self.htb

    @property
    def limits_down(self) -> bool:
        """Whether what comes in can be shaped as what goes out."""
        return self.ifb and (self.bucket or self.netem)


@dataclass(frozen=True)
class InForce:
    """What the kernel says of one direction of a link, in the host's time: what was set, and what came of it."""

    rate: float
    """Bit/s; infinity where nothing limits it."""
    delay: float
    """Seconds."""
    drops: int
    """Packets thrown away so far: for want of room, or as netem's loss."""


def prepare(kernel: Kernel, interface: str = INTERFACE) -> list[Command]:
    """What sets an interface up once, before its first `shape`."""
    commands: list[Command] = []
    if kernel.ifb:
        commands += [
            ["ip", "link", "add", MIRROR, "type", "ifb"],
            ["ip", "link", "set", MIRROR, "up"],
            ["tc", "qdisc", "add", "dev", interface, "handle", "ffff:", "ingress"],
            redirect(interface, MIRROR),
        ]
    if not kernel.tbf and kernel.htb:
        commands += [
            ["tc", "qdisc", "add", "dev", device, "root", "handle", "2:", "htb", "default", "1"]
            for device in _devices(kernel, interface)
        ]
    return commands


def redirect(interface: str, mirror: str) -> Command:
    """Send all that comes in at `interface` through `mirror`."""
    every = ["protocol", "all", "u32", "match", "u32", "0", "0"]
    action = ["action", "mirred", "egress", "redirect", "dev", mirror]
    return ["tc", "filter", "add", "dev", interface, "parent", "ffff:", *every, *action]


def check(node: str, profile: LinkProfile) -> None:
    """Raises `InputError` for what the kernel cannot do and nobody does for it."""
    for direction, channel in (("up", profile.up), ("down", profile.down)):
        if channel.trace is not None:
            raise InputError(
                f"links: kernel: the {direction} link of {node} follows a trace, which the kernel cannot: give it a "
                f"rate, or leave links: kernel out"
            )
        if channel.sharing == "fair":
            raise InputError(
                f"links: kernel: the {direction} link of {node} is shared fairly, which the kernel does not promise: "
                f"leave sharing: fair out, or links: kernel"
            )


def shape(profile: LinkProfile, scale: float, kernel: Kernel, interface: str = INTERFACE) -> list[Command]:
    """What puts `profile` in force, be it the first or another: each command takes the place of what was there.

    A rate that changes to another keeps what waits in its queue; one that changes from or to `unlimited` may drop it,
    and TCP sends it again. `scale` is the time scale: seconds of this host for each emulated second.
    """
    channels = dict(zip(_devices(kernel, interface), (profile.up, profile.down), strict=False))
    return [command for device, channel in channels.items() for command in _direction(device, channel, scale, kernel)]


def remaining(profile: LinkProfile, kernel: Kernel) -> LinkProfile:
    """What of `profile` the hub has still to emulate."""
    down = _remaining(profile.down, kernel) if kernel.limits_down else profile.down
    return profile.model_copy(update={"up": _remaining(profile.up, kernel), "down": down})


def notes(links: Mapping[str, LinkProfile], kernel: Kernel) -> list[str]:
    """A line for each thing that the kernel does not do of these nodes' links: which, who does it instead, and why."""
    found: dict[tuple[str, str], dict[str, None]] = {}
    for node, link in links.items():
        for direction, channel in (("up", link.up), ("down", link.down)):
            shaped = direction == "up" or kernel.ifb
            wanted = {
                f"{direction} rate": math.isfinite(channel.rate) and not (shaped and kernel.bucket),
                "delay": channel.delay > 0 and not (shaped and kernel.netem),
                "jitter": channel.jitter > 0 and not (shaped and kernel.netem),
                "loss, as its mean effect": bool(channel.loss or channel.burst) and not (shaped and kernel.netem),
            }
            for what in (what for what, by_the_hub in wanted.items() if by_the_hub):
                lacks = "ifb" if not shaped else "tbf" if "rate" in what else "netem"
                found.setdefault((what, lacks), {})[node] = None
    return [
        f"{what}, of {', '.join(nodes)}: by the hub: {_lack(kernel, lacks)}" for (what, lacks), nodes in found.items()
    ]


def kernel_rate(channel: Channel, scale: float, kernel: Kernel) -> float:
    """Bit/s, in the host's time, that the kernel is told.

    Where the hub has to emulate the loss, the kernel gets what the loss leaves of the rate (see `transport`).
    """
    rate = channel.rate if kernel.netem else payload(channel, channel.rate)
    return rate / scale


def on_wire(nbytes: int) -> int:
    """What the kernel counts of a message of `nbytes`: its packets' headers, too."""
    return nbytes + math.ceil(nbytes / (FRAME - HEADERS)) * HEADERS


def burst(rate: float) -> int:
    """Bytes that a bucket of `rate` bit/s holds."""
    return max(2 * FRAME, math.ceil(min(rate, FASTEST) / 8 * BURST_SECONDS))


def queue(channel: Channel, rate: float) -> int:
    """Bytes that may wait for a bucket of `rate` bit/s (the host's): the channel's own queue, or what TCP needs."""
    return int(min(max(channel.queue, LEAST_QUEUE + burst(rate)), MOST_QUEUE))


def read_back(qdiscs: str, classes: str = "") -> InForce:
    """What `tc -s -j qdisc show dev DEVICE` and, with htb, `tc class show dev DEVICE` say of a direction.

    Raises `ValueError` for what is no such output.
    """
    rate, delay, drops = math.inf, 0.0, 0
    for qdisc in _parsed(qdiscs):
        options = qdisc.get("options") or {}
        if qdisc.get("kind") == "tbf":
            rate = float(options["rate"]) * 8
        elif qdisc.get("kind") == "netem":
            delay = float((options.get("delay") or {}).get("delay", 0.0))
        if qdisc.get("root"):
            drops = int(qdisc.get("drops", 0))
    shown = re.search(r"^class htb 2:1 .*?\brate (\d+(?:\.\d+)?)([KMGT]?)bit\b", classes, re.MULTILINE)
    if shown is not None:
        limited = float(shown[1]) * 1000.0 ** " KMGT".index(shown[2] or " ")
        rate = math.inf if limited >= FASTEST else limited
    return InForce(rate, delay, drops)


def show(kernel: Kernel, interface: str = INTERFACE) -> list[tuple[Command, Command | None]]:
    """For each direction that is shaped, `up` first: the commands whose output `read_back` takes."""
    by_class = kernel.htb and not kernel.tbf
    return [
        (
            ["tc", "-s", "-j", "qdisc", "show", "dev", device],
            ["tc", "class", "show", "dev", device] if by_class else None,
        )
        for device in _devices(kernel, interface)
    ]


def _devices(kernel: Kernel, interface: str) -> list[str]:
    """Whose egress is the node's up, and its down where that can be shaped."""
    up = [interface] if kernel.bucket or kernel.netem else []
    return [*up, *([MIRROR] if kernel.limits_down else [])]


def _direction(device: str, channel: Channel, scale: float, kernel: Kernel) -> list[Command]:
    rate = kernel_rate(channel, scale, kernel)
    waiting = queue(channel, rate)
    on = ["tc", "qdisc", "replace", "dev", device]
    netem = _netem(channel, rate, scale)
    # A qdisc of another kind has another handle: the kernel would take the same one for a change of kind, and refuse.
    if kernel.tbf and math.isfinite(rate):
        bucket = ["handle", "1:", "tbf", "rate", _rate(rate), "burst", str(burst(rate)), "limit", str(waiting)]
        inner = [[*on, "parent", "1:1", "handle", "10:", *netem]] if kernel.netem else []
        return [[*on, "root", *bucket], *inner]
    if kernel.htb and not kernel.tbf:
        finite = min(rate, FASTEST)
        bucket = ["htb", "rate", _rate(finite), "burst", str(burst(finite)), "cburst", str(burst(finite))]
        inside = netem if kernel.netem else ["bfifo", "limit", str(waiting)]
        return [
            ["tc", "class", "replace", "dev", device, "parent", "2:", "classid", "2:1", *bucket],
            [*on, "parent", "2:1", "handle", "20:", *inside],
        ]
    # Nothing limits it: what was there before, if anything, gives way to a plain queue.
    return [
        [*on, "root", *(["handle", "3:", *netem] if kernel.netem else ["handle", "4:", "bfifo", "limit", str(waiting)])]
    ]


def _netem(channel: Channel, rate: float, scale: float) -> list[str]:
    """The bucket's inner queue: it delays first, and holds what waits for the bucket as well as what is under way."""
    delay, jitter = channel.delay * scale, channel.jitter * scale
    under_way = min(rate, FASTEST) / 8 * (delay + _DEVIATIONS * jitter)
    packets = max(LEAST_PACKETS, math.ceil((under_way + queue(channel, rate)) / FRAME))
    spread = [_micros(jitter), "distribution", "normal"] if jitter else []
    return ["netem", "limit", str(packets), "delay", _micros(delay), *spread, *_loss(channel)]


def _loss(channel: Channel) -> list[str]:
    """netem's own chain of two states takes their losses the other way round: the bad one's, then the good one's."""
    if channel.burst is not None:
        shares = (channel.burst.enter, channel.burst.leave, channel.burst.loss, channel.loss)
        return ["loss", "gemodel", *(f"{100 * share:.6g}%" for share in shares)]
    return ["loss", "random", f"{100 * channel.loss:.6g}%"] if channel.loss else []


def _remaining(channel: Channel, kernel: Kernel) -> Channel:
    if not kernel.bucket and not kernel.netem:
        return channel
    rest: dict[str, float | None] = {"rate": math.inf} if kernel.bucket else {}
    if kernel.netem:
        rest |= {"delay": 0.0, "jitter": 0.0, "loss": 0.0, "burst": None}
    elif kernel.bucket:
        # What the loss does to the rate is in the kernel's rate; what it does to the delay is left.
        repair = repair_delay(channel.delay, channel.loss, channel.burst)
        rest |= {"delay": channel.delay + repair, "loss": 0.0, "burst": None}
    return channel.model_copy(update=rest)


def _lack(kernel: Kernel, feature: str) -> str:
    """Why the kernel does not do it."""
    name = "tbf nor htb" if feature == "tbf" else feature
    said = f" ({kernel.refused[feature]})" if feature in kernel.refused else ""
    return f"this kernel has no {name}{said}"


def _parsed(text: str) -> Sequence[dict[str, Any]]:
    try:
        parsed = json.loads(text)
    except ValueError:
        raise ValueError(f"not the output of tc: {text.strip()[:200]!r}") from None
    if not isinstance(parsed, list) or not all(isinstance(qdisc, dict) for qdisc in parsed):
        raise ValueError(f"not tc's list of qdiscs: {text.strip()[:200]!r}")
    return parsed


def _rate(rate: float) -> str:
    return f"{max(8, round(rate))}bit"  # the kernel counts bytes/s, and refuses 0


def _micros(seconds: float) -> str:
    return f"{round(seconds * 1e6)}us"
