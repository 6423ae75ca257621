"""Links left to the kernel: `tc` run inside each node's network namespace, and what it says read back.

How a command gets into a namespace is the caller's: a container, or `ip netns exec`. The node's own program needs no
right to any of this.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping

from emulator import tc
from emulator.errors import EdgebedError
from emulator.profiles import LinkProfile
from emulator.tc import Command, InForce, Kernel
from emulator.units import RATE, TIME, show

Run = Callable[[Command], Awaitable[tuple[int, str]]]
"""Runs a command in one network namespace with all rights there; returns its exit status and what it said."""
RunIn = Callable[[str, Command], Awaitable[tuple[int, str]]]
"""Runs a command in the namespace of the node of that name."""

NOT_RUN = (126, 127)
"""Exit statuses of a command that cannot be started at all."""
DIRECTIONS = ("up", "down")
RATE_TOLERANCE = 0.002
"""The kernel keeps whole bytes a second, and a bucket's class is shown in four digits."""
LEAST_RATE = 8.0
DELAY_TOLERANCE = 2e-6

_TRIED = "lo"
_TRIES: dict[str, list[Command]] = {
    "tbf": [["tc", "qdisc", "add", "dev", _TRIED, "root", "tbf", "rate", "1mbit", "burst", "4kb", "limit", "64kb"]],
    "htb": [
        ["tc", "qdisc", "add", "dev", _TRIED, "root", "handle", "2:", "htb", "default", "1"],
        ["tc", "class", "add", "dev", _TRIED, "parent", "2:", "classid", "2:1", "htb", "rate", "1mbit"],
    ],
    "netem": [
        ["tc", "qdisc", "add", "dev", _TRIED, "root", "netem", "delay", "10ms", "1ms", "distribution", "normal"],
        ["tc", "qdisc", "change", "dev", _TRIED, "root", "netem", "delay", "10ms", "loss", "random", "1%"],
    ],
    "ifb": [
        ["ip", "link", "add", tc.MIRROR, "type", "ifb"],
        ["ip", "link", "set", tc.MIRROR, "up"],
        ["tc", "qdisc", "add", "dev", _TRIED, "handle", "ffff:", "ingress"],
        tc.redirect(_TRIED, tc.MIRROR),
    ],
}
_UNDO: dict[str, list[Command]] = {
    **{feature: [["tc", "qdisc", "del", "dev", _TRIED, "root"]] for feature in ("tbf", "htb", "netem")},
    "ifb": [["tc", "qdisc", "del", "dev", _TRIED, "ingress"], ["ip", "link", "del", tc.MIRROR]],
}


async def probe(run: Run) -> Kernel:
    """What the kernel can do, tried one by one on the loopback interface of a namespace that nothing else uses.

    Raises `EdgebedError` where nothing can be tried: no `tc` or `ip` there, or no right to use them.
    """
    refused: dict[str, str] = {}
    for feature, commands in _TRIES.items():
        said = await _attempt(run, commands)
        if said is not None:
            refused[feature] = said
        for command in _UNDO[feature]:
            await run(command)  # what was not set up cannot be undone: a refusal says nothing
    return Kernel(**{feature: feature not in refused for feature in _TRIES}, refused=refused)


async def _attempt(run: Run, commands: list[Command]) -> str | None:
    """What was said of the first of `commands` that is refused; None: all were carried out."""
    for command in commands:
        status, said = await run(command)
        if status in NOT_RUN and "not found" in said:
            raise EdgebedError(f"links: kernel: the image has no '{command[0]}': add the package iproute2 to it")
        if status in NOT_RUN or "not permitted" in said:
            raise EdgebedError(f"links: kernel: {_words(command)}: {_one_line(said)}: the engine has to give NET_ADMIN")
        if status != 0:
            return _one_line(said)
    return None


class KernelLinks:
    """The links of a run's nodes in the kernel.

    `links` are their profiles at first, `scale` the time scale.
    """

    def __init__(self, links: Mapping[str, LinkProfile], scale: float, kernel: Kernel, run_in: RunIn) -> None:
        self._links = dict(links)
        self._scale = scale
        self._kernel = kernel
        self._run_in = run_in
        self._changing = {node: asyncio.Lock() for node in links}

    async def set_up(self) -> None:
        """Put all links in force, and read them back.

        Raises `EdgebedError` with the node, the command and what it said.
        """
        await _all(self._set_up(node) for node in self._links)

    async def set_link(self, node: str, profile: LinkProfile) -> None:
        """Change a node's links; what waits in them goes on at the new rate.

        Raises as `set_up` does, and then the links are what they were before; `InputError` for what the kernel cannot.
        """
        tc.check(node, profile)
        async with self._changing[node]:
            try:
                await self._shape(node, profile)
            except BaseException:
                await self._shape(node, self._links[node])
                raise
            self._links[node] = profile

    async def in_force(self, node: str) -> dict[str, InForce]:
        """What the kernel says of the directions that it shapes, in the host's time."""
        found: dict[str, InForce] = {}
        for direction, (qdiscs, classes) in zip(DIRECTIONS, tc.show(self._kernel), strict=False):
            said = await self._run(node, qdiscs)
            of_classes = "" if classes is None else await self._run(node, classes)
            try:
                found[direction] = tc.read_back(said, of_classes)
            except (ValueError, KeyError, TypeError) as error:
                raise EdgebedError(f"{node}: {_words(qdiscs)}: cannot be read: {error}") from None
        return found

    async def _set_up(self, node: str) -> None:
        for command in tc.prepare(self._kernel):
            await self._run(node, command)
        await self._shape(node, self._links[node])

    async def _shape(self, node: str, profile: LinkProfile) -> None:
        for command in tc.shape(profile, self._scale, self._kernel):
            await self._run(node, command)
        self._compare(node, profile, await self.in_force(node))

    def _compare(self, node: str, profile: LinkProfile, states: Mapping[str, InForce]) -> None:
        channels = {"up": profile.up, "down": profile.down}
        for direction, state in states.items():
            channel = channels[direction]
            rate = tc.kernel_rate(channel, self._scale, self._kernel) if self._kernel.bucket else state.rate
            delay = channel.delay * self._scale if self._kernel.netem else 0.0
            off = rate != state.rate and abs(state.rate - rate) > max(RATE_TOLERANCE * rate, LEAST_RATE)
            if off or abs(state.delay - delay) > DELAY_TOLERANCE + RATE_TOLERANCE * delay:
                raise EdgebedError(
                    f"{node}: its {direction} link was to have {_state(rate, delay)}, but the kernel says that it has "
                    f"{_state(state.rate, state.delay)}"
                )

    async def _run(self, node: str, command: Command) -> str:
        status, said = await self._run_in(node, command)
        if status != 0:
            raise EdgebedError(f"{node}: {_words(command)}: {_one_line(said) or f'exit status {status}'}")
        return said


async def _all(jobs: Iterable[Awaitable[None]]) -> None:
    """Do all at once; the first error is raised when none is under way any more."""
    for result in await asyncio.gather(*jobs, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result


def _state(rate: float, delay: float) -> str:
    return f"{show(rate, RATE, 6)} and {show(delay, TIME, 6)}"


def _words(command: Command) -> str:
    return f"'{' '.join(command)}'"


def _one_line(said: str) -> str:
    return " ".join(said.split())
