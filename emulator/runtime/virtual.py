"""The virtual runtime: the same programs, links and protocol, as tasks of one process in virtual time.

Nothing is waited for and nothing is late: computations take what the cost model says, messages what the links say, and
what is off the clock takes no time at all. The same seed and cost model give the same timeline, byte for byte.
"""

import asyncio
import heapq
import math
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from emulator import quota
from emulator.bus.frames import Frames
from emulator.bus.wire import Header
from emulator.change import as_spans
from emulator.clock import VirtualEventLoop, World, virtual_clock
from emulator.cost import Charges, Hardware, Pricing
from emulator.errors import DeadlineExceeded, EdgebedError, NodeFailure
from emulator.in_force import Effect, InForce, carry_out
from emulator.network import Arrival, Departure
from emulator.node import Message, Work
from emulator.plan import NodePlan, Plan, RunPlan
from emulator.playing import Player
from emulator.runtime.program import Program, load
from emulator.runtime.virtual_node import VirtualNode
from emulator.runtime.watch import Observer, Outcome
from emulator.system import collecting_seldom, one_thread
from emulator.timeline import Metric, Span

LOOK_EVERY = 4096
"""Messages and entries between two looks at how long this host has been at it."""

Note = Callable[[Span | Metric], None]
Finished = Callable[[str, float], None]
"""Hears a run's name, and how many seconds of this host it took."""

new_event_loop = VirtualEventLoop


async def run(plan: Plan, logs: Path, observer: Observer) -> Outcome:
    """Carry out `plan` in a `VirtualEventLoop`, telling `observer`; nothing is logged, so `logs` stays as it is.

    Raises `NodeFailure` naming the node whose program failed, `Deadlock` when every node waits, `DeadlineExceeded`
    when this host takes longer than the experiment allows a run.
    """
    outcome = Outcome(None)
    await _all_runs(plan, observer.entry, observer.finished, outcome.notes)
    return outcome


def simulate(
    plan: Plan,
    note: Note,
    finished: Finished = lambda run, wall_s: None,
    pricing: Callable[[str], Pricing] | None = None,
) -> None:
    """Carry out `plan` from outside any event loop, every span and metric going to `note`. Raises as `run` does.

    `pricing` gives what a run's computations take; by default what the plan's cost model says.
    """
    with asyncio.Runner(loop_factory=VirtualEventLoop) as runner:
        runner.run(_all_runs(plan, note, finished, [], pricing))


async def _all_runs(
    plan: Plan, note: Note, finished: Finished, notes: list[str], pricing: Callable[[str], Pricing] | None = None
) -> None:
    one_thread()
    programs = {node.program: load(node.program) for node in plan.nodes}
    with collecting_seldom():
        for run in plan.runs:
            began = time.monotonic()
            charges = pricing(run.name) if pricing else _charges(plan, run)
            world = _World(plan, run, note, charges)
            unreceived = await world.play(programs)
            finished(run.name, time.monotonic() - began)
            if unreceived:
                notes.append(f"{run.name}: {unreceived} messages were not received before the run ended")
            if world.unplayed:
                notes.append(f"{run.name}: {world.unplayed} changes of the scenario were not due before the run ended")


def _charges(plan: Plan, run: RunPlan) -> Pricing:
    return Charges(plan.cost, run.name, first_run=run is plan.runs[0], seed=plan.seed)


class _End(float):
    """When a computation ends. Computations that end together do so in the order of the heap, as asyncio's timers."""

    __slots__ = ("felt",)
    felt: asyncio.Future[None]


class _World(World):
    """One run: its nodes, and the messages on their way between them."""

    def __init__(self, plan: Plan, run: RunPlan, note: Note, pricing: Pricing) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualEventLoop)
        loop.world = self
        self.run = run.name
        self.peers = plan.peers
        self.known: Collection[str] = frozenset(node.name for node in plan.nodes)
        self.config = run.config
        self.clock = virtual_clock(loop, plan.scale)
        self.frames = Frames()
        self.max_message = plan.bus.max_message
        self._loop = loop
        self._deadline = time.monotonic() + plan.deadlines.run
        self._limit = plan.deadlines.run
        self._note = note
        self._steps = 0
        self._broken: asyncio.Future[None] = loop.create_future()
        self._pricing = pricing
        self._hardware = {node.name: _hardware(node, plan) for node in plan.nodes}
        self._plan = plan
        self._in_force = InForce(plan)
        self._has_scenario = bool(plan.scenario)
        self._player = Player(plan.scenario)
        self._round = 0
        self._network = plan.network()
        self._nodes: dict[str, VirtualNode] = {}
        self._programs: dict[str, str] = {}
        for node in plan.nodes:
            self._nodes[node.name] = VirtualNode(self, node)
            self._programs[node.name] = node.program
        self.waiting = 0
        self._transit: dict[int, tuple[Header, Message]] = {}
        self._sent = 0
        self._missed = 0
        self._ended: set[str] = set()
        self._ends: list[_End] = []  # a heap
        self._moment = self._wakeup = 0.0

    async def play(self, programs: dict[str, Program]) -> int:
        """Run every node's program to its end; returns how many messages nobody received."""
        tasks = {
            asyncio.ensure_future(programs[self._programs[name]](node)): name for name, node in self._nodes.items()
        }
        for task, name in tasks.items():
            task.add_done_callback(lambda _, name=name: self._ended.add(name))  # type: ignore[misc]
        over = asyncio.ensure_future(asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION))
        self._play()
        try:
            waits: list[asyncio.Future[Any]] = [over, self._broken]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            if self._broken.done():
                self._broken.result()
            for task in over.result()[0]:
                if (error := task.exception()) is not None:
                    raise self._failure(tasks[task], error)
        finally:
            over.cancel()
            self._broken.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return len(self._transit) + self._missed

    @property
    def unplayed(self) -> int:
        """Changes of the scenario that are still to come."""
        return self._player.left

    # -- the nodes' side

    def carry(self, header: Header, message: Message) -> None:
        if self._has_scenario:
            self._round = max(self._round, header.round)
            self._player.begin(header.round, header.sent)
            self._play(header.sent)
        if header.off_clock:
            self._deliver(header, message, None)
            return
        self._look()
        self._sent += 1
        self._transit[self._sent] = header, message
        self._network.send(header.sent, header.sender, header.receiver, header.nbytes, self._sent)

    def charge(self, node: NodePlan, stage: str, work: Work | None) -> float:
        return self._pricing.seconds(node.name, node.role, stage, work, self._hardware[node.name])

    def note(self, entry: Span | Metric) -> None:
        self._look()
        try:
            self._note(entry)
        except Exception as error:
            self._break(error)

    def _look(self) -> None:
        """Now and then, whether this host has been at it for too long."""
        self._steps += 1
        if self._steps % LOOK_EVERY == 0 and time.monotonic() > self._deadline:
            self._break(
                DeadlineExceeded(f"{self.run}: not over within {self._limit:g} s of this host's time (deadlines.run)")
            )

    def _break(self, error: Exception) -> None:
        """End the run: raised in a callback, the event loop would print it and go on."""
        if not self._broken.done():
            self._broken.set_exception(error)

    # -- the links

    def look(self) -> None:
        self._tell(self._network.advance(self.clock.now()))

    def until(self, emulated: float) -> asyncio.Future[None]:
        end = _End(emulated)
        end.felt = self._loop.create_future()
        heapq.heappush(self._ends, end)
        return end.felt

    def next_moment(self, until: float) -> float:
        moment = self._ends[0] if self._ends else math.inf
        if self._has_scenario and (change := self._player.wakeup()) is not None:
            moment = min(moment, change)
        if until < math.inf:
            until = self.clock.emulated(until)
        self._wakeup = self._network.foresee(min(moment, until), departures=self.waiting > 0)
        self._moment = min(self._wakeup, moment)
        return self.clock.host_time(self._moment)

    def pass_moment(self) -> bool:
        # The loop's own time may be off by rounding, and would then bring the same moment again for ever.
        now = max(self._moment, self.clock.now())
        changed = felt = self._has_scenario and self._play(now)
        while self._ends and self._ends[0] <= now:
            end = heapq.heappop(self._ends)
            if not end.felt.done():
                end.felt.set_result(None)
                felt = True
        if self._wakeup > now and not changed:
            return felt
        return self._tell(self._network.advance(now)) or felt

    def _tell(self, happened: Iterable[Arrival | Departure]) -> bool:
        """Whether somebody may go on by it."""
        felt = False
        for news in happened:
            if isinstance(news, Arrival):
                self._deliver(*self._transit.pop(news.token), news.due)
                felt = True
            else:
                header = self._transit[news.token][0]
                felt |= self._nodes[header.sender].depart(header.number, news.time)
        return felt

    def _deliver(self, header: Header, message: Message, due: float | None) -> None:
        if header.receiver in self._ended:
            self._missed += not header.off_clock
            return
        end = header.sent if due is None else max(due, header.sent)
        promised = due is not None and not self._network.promises_nothing(header.sender, header.receiver)
        self.note(
            Span(
                self.run, header.round, header.sender, header.stage, header.sent, end, source="modelled",
                bytes=header.nbytes, peer=header.receiver, due=end if promised else None, off_clock=header.off_clock,
            )
        )  # fmt: skip
        self._nodes[header.receiver].arrive(message, end)

    # -- the scenario

    def _play(self, now: float = 0.0) -> bool:
        """Have those changes made that are due by `now`; gives whether anything is different."""
        changed = False
        while (wakeup := self._player.wakeup()) is not None and wakeup <= now:
            for at, change in self._player.take(now):
                effect = self._in_force.apply(change)
                if effect is not None:
                    self._change(at, effect)
                    changed = True
        return changed

    def _change(self, at: float, effect: Effect) -> None:
        for span in as_spans(effect.who, effect.details, self.run, self._round, at, at):
            self.note(replace(span, source="modelled"))
        if effect.node is not None:
            self._hardware[effect.who] = _hardware(effect.node, self._plan)
            self._nodes[effect.who].become(effect.node, at)
        self._tell(carry_out(self._network, at, effect))

    # -- what goes wrong

    def _failure(self, name: str, error: BaseException) -> BaseException:
        if not isinstance(error, Exception):
            return error
        text = " ".join(str(error).split())
        known = isinstance(error, EdgebedError)
        failure = NodeFailure(f"{self.run}: {name} failed: {text if known else f'{type(error).__name__}: {text}'}")
        failure.exit_status = error.exit_status if isinstance(error, EdgebedError) else 1
        failure.__cause__ = error
        return failure

    def stuck(self) -> str:
        waits = [f"{name} waits for {node.waits_for}" for name, node in self._nodes.items() if name not in self._ended]
        shown = "; ".join(waits[:4]) + (f"; and {len(waits) - 4} more" if len(waits) > 4 else "")
        over = f" ({', '.join(sorted(self._ended)[:4])} ended)" if self._ended else ""
        return f"{self.run}: nobody can go on at {self.clock.now():.6g} s: {shown}{over}"


def _hardware(node: NodePlan, plan: Plan) -> Hardware:
    throttling = quota.throttling(1 / (node.slowdown * plan.scale)) if plan.compute == "quota" else None
    return Hardware(node.device.training, node.device.memory, node.slowdown, throttling)
