"""Changes of a running testbed: checked, carried out one after the other, and each either in force or not at all."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from emulator.bus.controller import Controller, Event
from emulator.control.references import Words, after, whole
from emulator.control.state import State
from emulator.control.words import Change
from emulator.device import check_scale, share
from emulator.errors import InputError, nearest
from emulator.profiles import DeviceProfile, LinkProfile

OnDevice = Callable[[str, DeviceProfile, float], Awaitable[None]]
"""`on_device(node, device, cores)`: gives a node's home the memory of a device, and so many cores of this host."""
OnLink = Callable[[str, LinkProfile], Awaitable[None]]
"""`on_link(node, link)`: what the runtime does when a node is about to get another link."""


class UnknownNameError(InputError):
    """The testbed has no node, or no segment, of that name."""


class Changes:
    """What may be changed of the nodes and segments in `state`, through `controller`."""

    def __init__(
        self, state: State, controller: Controller, on_device: OnDevice | None = None, on_link: OnLink | None = None
    ) -> None:
        self._state = state
        self._controller = controller
        self._on_device = on_device
        self._on_link = on_link
        # Figures are changed on top of those in force: nobody is to change them in between.
        self._one_at_a_time = asyncio.Lock()

    def known(self, node: str) -> str:
        """`node`; raises `UnknownNameError` with the nearest name."""
        if node not in self._state.nodes:
            raise UnknownNameError(f"the testbed has no node '{node}'{nearest(node, self._state.nodes)}")
        return node

    def known_segment(self, name: str) -> str:
        """`name`; raises as `known` does."""
        if name not in self._state.segments:
            others = nearest(name, self._state.segments) or ": it has none"
            raise UnknownNameError(f"the testbed has no segment '{name}'{others}")
        return name

    async def apply(self, node: str, profile: Words) -> Change:
        """Give `node` a whole profile, of a link or of a device.

        Raises `InputError` for what a file could not say either, and for a device that is too fast for this host; else
        as `Controller.change` and the runtime do.
        """
        async with self._one_at_a_time:
            new = whole(profile, self._place(self.known(node)))
            return await self._carry_out(node, *((new, None) if isinstance(new, LinkProfile) else (None, new)))

    async def alter(self, node: str, link: Words | None, device: Words | None) -> Change:
        """Change some figures of a node's link, of its device, or both. Raises as `apply` does."""
        async with self._one_at_a_time:
            now = self._state.nodes[self.known(node)]
            if link is None and device is None:
                raise InputError("nothing to change: give a link, a device, or both")
            place = self._place(node)
            return await self._carry_out(node, after(now.link, link, place), after(now.device, device, place))

    async def apply_to_segment(self, name: str, profile: Words) -> Change:
        """Give a segment a whole link. Raises as `apply` does, and for a device."""
        async with self._one_at_a_time:
            new = whole(profile, self._place(self.known_segment(name)))
            if not isinstance(new, LinkProfile):
                raise InputError(f"'{new.name}' is a device: a segment has a link and nothing else")
            return _confirmed(await self._controller.change(name, link=new))

    async def alter_segment(self, name: str, link: Words) -> Change:
        """Change some figures of a segment's link. Raises as `apply` does."""
        async with self._one_at_a_time:
            now = self._state.segments[self.known_segment(name)].link
            return _confirmed(await self._controller.change(name, link=after(now, link, self._place(name))))

    async def _carry_out(self, node: str, link: LinkProfile | None, device: DeviceProfile | None) -> Change:
        """Have the runtime do its part of the change, then the hub; whatever fails, what was done is undone.

        A node that becomes slower gives its cores back last: what it computes until it knows has been promised faster.
        """
        plan, before = self._state.plan, self._state.nodes[node]
        if device is not None:
            check_scale({node: share(device.training, plan.core_flops)}, plan.scale, plan.cores)
        async with contextlib.AsyncExitStack() as undo:
            resize = self._on_device if device is not None else None
            cores = [self._cores(one) for one in (before.device, device or before.device)]
            if device is not None and resize is not None:
                await resize(node, device, max(cores))
                undo.push_async_callback(resize, node, before.device, cores[0])
            if link is not None and self._on_link is not None:
                await self._on_link(node, link)
                undo.push_async_callback(self._on_link, node, before.link)
            event = await self._controller.change(node, link=link, device=device)
            undo.push_async_callback(self._controller.change, node, link=before.link, device=before.device)
            if device is not None and resize is not None and cores[1] < cores[0]:
                await resize(node, device, cores[1])
            undo.pop_all()
        return _confirmed(event)

    def _place(self, name: str) -> int:
        """Of a node in the testbed, from 0, or of a segment, behind the nodes."""
        return [*self._state.nodes, *self._state.segments].index(name)

    def _cores(self, device: DeviceProfile) -> float:
        """The cores of this host that `device` takes at the testbed's time scale."""
        return share(device.training, self._state.plan.core_flops) / self._state.plan.scale


def _confirmed(event: Event) -> Change:
    """The hub's word on a change."""
    return Change(node=event.node, **{key: event.fields[key] for key in ("run", "round", "at", "details")})
