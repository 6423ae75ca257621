"""What is known of a running testbed."""

import statistics
from functools import partial
from pathlib import Path
from typing import Any

from emulator.bus.controller import Event
from emulator.control.feed import Feed
from emulator.control.history import History
from emulator.control.pace import Pace
from emulator.control.rounds import Rounds
from emulator.control.words import NodeState, NodeView, RunView, SegmentView, Status
from emulator.plan import SERVER_ROLES, NodePlan, Plan, RunPlan, SegmentPlan
from emulator.profiles import HUB, DeviceProfile, LinkProfile
from emulator.timeline import Entry, Span

_STATES: dict[str, NodeState] = {
    "registered": "registered", "ready": "ready", "done": "done", "failed": "failed", "silent": "silent",
}  # fmt: skip


class State:
    """Is told all that the controller hears, and keeps what is asked for."""

    def __init__(self, plan: Plan, runtime: str, folder: Path) -> None:
        self.plan = plan
        self.feed = Feed()
        self.nodes: dict[str, NodePlan] = {node.name: node for node in plan.nodes}
        self.segments: dict[str, SegmentPlan] = dict(plan.segments)
        """Both as they are now, with the changes in force."""
        self._own, self._own_segments = dict(self.nodes), dict(self.segments)  # as they are without the scenario's
        self._runtime = runtime
        self._folder = folder
        self._states: dict[str, NodeState] = dict.fromkeys(self.nodes, "expected")
        self._reasons: dict[str, str] = {}
        self._done: list[str] = []
        self._run: str | None = None
        self._rounds = Rounds()
        self._pace = Pace()
        self._runs = {run.name: _to_come(run) for run in plan.runs}
        self._accuracies: dict[str, float] = {}
        self._evaluated = 0
        servers = {node.name for node in plan.nodes if node.role in SERVER_ROLES}
        self.history = History(self.nodes, servers)

    # -- what it is told

    def entry(self, entry: Entry) -> None:
        """A span or metric that a node noted."""
        if entry.run != self._run:
            return
        if isinstance(entry, Span):
            self._rounds.note(entry)
            self._pace.heard_of(self._rounds.current)
            self.history.span(entry)
        elif entry.name == "accuracy":
            if entry.round != self._evaluated:
                self._evaluated = entry.round
                self._accuracies.clear()
            self._accuracies[entry.node] = entry.value
            self.history.accuracy(entry.run, entry.round, statistics.fmean(self._accuracies.values()))

    def event(self, event: Event) -> None:
        """What the hub says of a node, or of a run."""
        name, node, fields = event.name, event.node, event.fields
        if name == "started":
            self._run, self._evaluated = fields["run"], 0
            self._rounds = Rounds(whole=partial(self.history.whole, fields["run"]))
            self._pace = Pace()
            self.history.begin(fields["run"])
            self._accuracies.clear()
            self._states = dict.fromkeys(self.nodes, "running")
            self.nodes, self.segments = dict(self._own), dict(self._own_segments)
        elif name == "finished":
            self._done.append(fields["run"])
            self._rounds.finish()
            self._runs[fields["run"]] = self._now(fields["run"]).model_copy(update={"state": "done", "eta_s": None})
            self._run = None
            if len(self._done) == len(self.plan.runs):
                self._states = dict.fromkeys(self.nodes, "done")
        elif name == "changed":
            self._change(node, fields)
        elif name in _STATES and node in self.nodes:
            self._states[node] = _STATES[name]
            if name == "failed":
                self._reasons[node] = fields["error"]
            elif name == "silent":
                self._reasons[node] = f"silent for {fields['seconds']:.0f} s"
        self.history.event(name, node, fields)
        about = {} if node == HUB else {"node": node}
        self.feed.publish({"event": name, **about, **fields})

    def _change(self, node: str, fields: dict[str, Any]) -> None:
        if "connected" in fields:
            self._states[node] = "running" if fields["connected"] else "disconnected"
        if "link" in fields:
            before = self.nodes[node]
            link, device = (
                model.model_validate(fields[key]) for key, model in (("link", LinkProfile), ("device", DeviceProfile))
            )
            self.nodes[node] = before.model_copy(update={"link": link, "device": device})
            if not fields.get("scenario"):
                new = {key: one for key, one in (("link", link), ("device", device)) if one != getattr(before, key)}
                self._own[node] = self._own[node].model_copy(update=new)
        if "segment" in fields:
            update = {"link": LinkProfile.model_validate(fields["segment"])}
            if not fields.get("scenario") and update["link"] != self.segments[node].link:
                self._own_segments[node] = self._own_segments[node].model_copy(update=update)
            self.segments[node] = self.segments[node].model_copy(update=update)

    # -- what it is asked

    def status(self) -> Status:
        """The testbed and its current run."""
        runs = [self._now(name) if name == self._run else run for name, run in self._runs.items()]
        latest = next((run for run in reversed(runs) if run.state != "to come"), None)
        return Status(
            experiment=self.plan.experiment,
            testbed=self.plan.testbed,
            runtime=self._runtime,
            folder=str(self._folder),
            time_scale=self.plan.scale,
            runs=runs,
            runs_done=self._done,
            runs_left=[run.run for run in runs if run.state == "to come"],
            run=self._run,
            round=latest.round if latest else 0,
            last_round=latest.last_round if latest else None,
            round_latency_s=latest.round_latency_s if latest else None,
            slowest=latest.slowest if latest else None,
            accuracy=latest.accuracy if latest else None,
        )

    def _now(self, run: str) -> RunView:
        """The current run."""
        rounds, busy = self._runs[run].rounds, self._rounds.busy()
        clients = [name for name in busy if self.nodes[name].role not in SERVER_ROLES]
        return RunView(
            run=run,
            state="running",
            round=self._rounds.current,
            rounds=rounds,
            last_round=self._rounds.last,
            round_latency_s=self._rounds.latency(),
            slowest=max(clients, key=lambda name: busy[name], default=None),
            accuracy=statistics.fmean(self._accuracies.values()) if self._accuracies else None,
            eta_s=self._pace.left(rounds),
        )

    def node(self, name: str) -> NodeView:
        """A node as it is now."""
        node = self.nodes[name]
        return NodeView(
            name=name,
            role=node.role,
            state=self._states[name],
            reason=self._reasons.get(name, ""),
            device=node.device,
            link=node.link,
            busy_s=self._rounds.busy().get(name),
        )

    def segment(self, name: str) -> SegmentView:
        """A segment as it is now."""
        own = self.segments[name]
        nodes = [node.name for node in self.plan.nodes if name in self.plan.around(node.segment)]
        return SegmentView(name=name, segment=own.parent, nodes=nodes, link=own.link)


def _to_come(run: RunPlan) -> RunView:
    nothing = dict.fromkeys(("last_round", "round_latency_s", "slowest", "accuracy", "eta_s"))
    return RunView(run=run.name, state="to come", round=0, rounds=int(run.config["rounds"]), **nothing)
