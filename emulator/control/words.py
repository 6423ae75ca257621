"""What the API says and is told. Figures have their units, as in the YAML files; times in seconds are called `_s`."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from emulator.profiles import DeviceProfile, LinkProfile

NodeState = Literal["expected", "registered", "ready", "running", "disconnected", "done", "failed", "silent"]
RunState = Literal["to come", "running", "done"]


class NodeView(BaseModel):
    """A node of the testbed, as it is now."""

    name: str
    role: str
    state: NodeState
    reason: str = Field(default="", description="why it failed, or how long it has been silent")
    device: DeviceProfile
    link: LinkProfile
    busy_s: float | None = Field(
        description="emulated seconds of the last whole round in which it computed, or a message of it or to it was on "
        "its way; null before there is one"
    )


class SegmentView(BaseModel):
    """A link that nodes share, as it is now."""

    name: str
    segment: str | None = Field(description="that it is itself in")
    nodes: list[str] = Field(description="that are in it, or in a segment in it")
    link: LinkProfile


class RunView(BaseModel):
    """One of the testbed's runs, as far as it has come."""

    run: str = Field(description="the algorithm, or the experiment's name for a workload without algorithms")
    state: RunState
    round: int = Field(description="the latest round that was heard of")
    rounds: int = Field(description="how many are planned")
    last_round: int | None = Field(description="the last round of which all is known: latency and slowest are of it")
    round_latency_s: float | None
    slowest: str | None = Field(description="the client that was busy longest")
    accuracy: float | None = Field(description="mean over the clients, a fraction of 1, when last evaluated")
    eta_s: float | None = Field(description="seconds of the host until it is over, about; null where nothing tells")


class Status(BaseModel):
    """The testbed and its current run."""

    experiment: str
    testbed: str
    runtime: str
    folder: str = Field(description="where the results go")
    time_scale: float
    runs: list[RunView] = Field(description="all of them, in their order")
    runs_done: list[str]
    runs_left: list[str] = Field(description="after the current one")
    run: str | None = Field(description="the current run; null before the first and after the last")
    round: int = Field(description="the latest round that was heard of")
    last_round: int | None = Field(description="the last round of which all is known: the figures below are of it")
    round_latency_s: float | None
    slowest: str | None = Field(description="the client that was busy longest")
    accuracy: float | None = Field(description="mean over the clients, a fraction of 1, when last evaluated")


class NodePatch(BaseModel):
    """What to change of a node. What is not mentioned stays as it is."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"link": {"up": {"rate": "2 Mbit/s", "delay": "80 ms"}}, "device": "phone-mid"}]
        },
    )

    link: str | dict[str, Any] | None = Field(
        default=None, description="a shipped link's name, or some keys of a link file; units as there"
    )
    device: str | dict[str, Any] | None = Field(
        default=None, description="a shipped device's name, or some keys of a device file; units as there"
    )


class SegmentPatch(BaseModel):
    """What to change of a segment. What is not mentioned stays as it is."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"link": {"down": {"rate": "20 Mbit/s"}}}]}
    )

    link: str | dict[str, Any] = Field(description="a shipped link's name, or some keys of a link file; units as there")


class Application(BaseModel):
    """A whole profile for a node, of a link or of a device, whichever it is; for a segment, of a link."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"profile": "lte"}]})

    profile: str | dict[str, Any] = Field(description="a shipped profile's name, or all that its file would say")


class Change(BaseModel):
    """A change that is in force, and since when."""

    node: str = Field(description="the node's name, or the segment's")
    run: str = Field(description="the current run, or the one that comes next")
    round: int = Field(description="the latest round that the hub had seen a message of")
    at: float = Field(description="emulated seconds since the run began")
    details: dict[str, str] = Field(description="what is different, by the stage that the timeline shows it as")


class Fault(BaseModel):
    """Why a request is refused, in one line."""

    detail: str
