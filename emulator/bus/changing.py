"""What changes in the hub while runs go on: by a user's order at once, and when the scenario has it."""

import asyncio
from typing import Any, Protocol

from emulator.bus.kernel_transit import KernelTransit
from emulator.bus.transit import Transit
from emulator.bus.wire import MAX_NAME
from emulator.change import (
    as_spans,
    differences,
    in_force,
    segment_differences,
    segment_in_force,
    wanted,
    wanted_of_segment,
)
from emulator.errors import InputError
from emulator.in_force import Effect, InForce
from emulator.plan import NodePlan, Plan
from emulator.playing import Player
from emulator.profiles import HUB, LinkProfile
from emulator.scenario import Change
from emulator.timeline import Span

LAG_SECONDS = 0.002
"""How long a change of the scenario waits for what was sent before it was due and is still on its way to the hub."""


class Told(Protocol):
    """Who is told of changes."""

    def node(self, name: str, at: float) -> None:
        """The node is another from the emulated time `at` on."""

    def controller(self, event: str, node: str, fields: dict[str, Any]) -> None:
        """Something happened."""

    def timeline(self, spans: list[Span]) -> None:
        """What it shows."""


class Changing:
    """The nodes and segments of `plan`, and what becomes of them.

    `told` hears of every change. Between `begin` and `end` a run goes on, and its scenario is played.
    """

    def __init__(self, plan: Plan, told: Told) -> None:
        self._plan = plan
        self._told = told
        self._in_force = InForce(plan)
        self._player = Player([])
        self._transit: Transit | KernelTransit | None = None  # of the run that goes on
        self._run = plan.runs[0].name  # the current one, or the one that comes next
        self._round = 0  # the latest that any message was of
        self._timer: asyncio.TimerHandle | None = None

    @property
    def nodes(self) -> dict[str, NodePlan]:
        """As they are, by name."""
        return self._in_force.nodes

    @property
    def plan(self) -> Plan:
        """The plan with the nodes and segments as they are."""
        links = self._in_force.segments
        segments = {name: own.model_copy(update={"link": links[name]}) for name, own in self._plan.segments.items()}
        return self._plan.model_copy(update={"nodes": [*self._in_force.nodes.values()], "segments": segments})

    def horizon(self) -> float:
        """The emulated time that the links may not pass yet."""
        return self._player.horizon()

    def begin(self, run: str, transit: Transit | KernelTransit) -> None:
        """A run begins."""
        self._run, self._round, self._transit = run, 0, transit
        for node in self._plan.nodes:
            details = differences(node, self._in_force.nodes[node.name])
            self._told.timeline(as_spans(node.name, details, run, 0, 0.0))
        for name, segment in self._plan.segments.items():
            details = segment_differences(segment.link, self._in_force.segments[name])
            self._told.timeline(as_spans(name, details, run, 0, 0.0))
        self._player = Player(self._plan.scenario, LAG_SECONDS / transit.clock.scale)
        self._play(None)

    def end(self) -> None:
        """The run is over; whatever the scenario has changed is as it was."""
        self._transit = None
        self._player = Player([])
        self._in_force.begin()
        if self._timer is not None:
            self._timer.cancel()

    def report_left(self) -> None:
        """Tell the controller what the scenario had for a longer run."""
        if self._player.left:
            reason = f"{self._player.left} changes of the scenario were not due before the run ended"
            self._told.controller("not changed", HUB, {"run": self._run, "reason": reason})

    def heard(self, number: int, sent: float) -> None:
        """A message of round `number` has come that was sent at `sent`, and is not under way yet."""
        self._round = max(self._round, number)
        if self._plan.scenario:
            self._player.begin(number, sent)
            self._play(sent)

    def off_clock(self, node: str, at: float, *, begins: bool) -> None:
        """`node` does something off the clock from `at` on, or did up to then."""
        (self._player.leave_clock if begins else self._player.return_to_clock)(node, at)
        self._play(None)

    def order(self, fields: dict[str, Any], *, over: bool) -> None:
        """A user's: give a node another link or device, or a segment another link, from now on, in this run and those
        after it, unless all are `over`."""
        name, number = str(fields.get("node"))[:MAX_NAME], fields.get("number")
        try:
            if over:
                raise InputError("all runs are over")
            if name in self._in_force.segments:
                at, details, now = self._give_segment(name, wanted_of_segment(fields))
            elif name in self._in_force.nodes:
                at, details, now = self._give(wanted(self._in_force.nodes[name], fields, self._plan.core_flops))
            else:
                raise InputError(f"the testbed has no node or segment '{name}'")
        except InputError as error:
            self._told.controller("not changed", name, {"number": number, "reason": str(error)})
            return
        if self._transit:  # else the run that comes next begins with it
            self._told.timeline(as_spans(name, details, self._run, self._round, at))
        self._told.controller("changed", name, {"number": number, **self._when(at), "details": details, **now})

    def _give(self, after: NodePlan) -> tuple[float, dict[str, str], dict[str, Any]]:
        """Have a node be so: since when it is, what is different, and what is now in force."""
        before = self._in_force.nodes[after.name]
        self._in_force.alter(after)
        at = self._transit.update(after.name, after.link) if self._transit else 0.0
        self._told.node(after.name, at)
        return at, differences(before, after), in_force(after)

    def _give_segment(self, name: str, after: LinkProfile) -> tuple[float, dict[str, str], dict[str, Any]]:
        """Have a segment's link be so; returns as `_give` does."""
        details = segment_differences(self._in_force.segments[name], after)
        self._in_force.alter_segment(name, after)
        at = 0.0
        if self._transit:
            now = min(self._transit.clock.now(), self.horizon())
            at = self._transit.carry_out(now, Effect(name, details, segment=after))
        return at, details, segment_in_force(after)

    def _play(self, sent: float | None) -> None:
        """Have those changes made that are due: by now, or when somebody sent the message that has come."""
        if self._transit is None:
            return
        now = self._transit.clock.now()
        for due, change in self._player.take(now, sent):
            effect = self._in_force.apply(change)
            if effect is not None:
                self._carry_out(due, change, effect)
        if self._timer is not None:
            self._timer.cancel()
        if (wakeup := self._player.wakeup()) is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(self._transit.clock.host_time(wakeup), self._play, None)

    def _carry_out(self, due: float, change: Change, effect: Effect) -> None:
        assert self._transit is not None
        at = due if change.of_device else self._transit.carry_out(due, effect)
        if effect.node is not None:
            self._told.node(effect.who, at)
        done = self._transit.clock.now()
        self._told.timeline(as_spans(effect.who, effect.details, self._run, self._round, due, done))
        fields = {**self._when(at), "details": effect.details, "scenario": True}
        fields |= in_force(effect.node) if effect.node is not None else {}
        fields |= segment_in_force(effect.segment) if effect.segment is not None else {}
        fields |= {"connected": effect.connected} if effect.connected is not None else {}
        self._told.controller("changed", effect.who, fields)

    def _when(self, at: float) -> dict[str, Any]:
        return {"run": self._run, "round": self._round, "at": at}
