"""What the YAML files may say: links, devices, testbeds, scenarios and experiments.

These are the words of the files and nothing else: no file is read here (see `library`), nothing is computed.
"""

import math
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    StringConstraints,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from emulator import trace_text
from emulator.happening import Happening
from emulator.trace import Trace
from emulator.units import TIME, Rate, Share, Size, Throughput, Time, exact, parse

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=64)]
ProgramName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]


CONTROLLER = "controller"
HUB = "hub"
DIRECTIONS = ("up", "down")
"""Of a link, seen from its node."""
RESERVED = (CONTROLLER, HUB)
"""Names on the bus, and of log files, that no node may have."""


def _name_or_profile(value: object) -> str:
    return "name" if isinstance(value, str) else "profile"


class Profile(BaseModel):
    """What every file may say, and how strictly it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=True)

    name: Annotated[str, StringConstraints(pattern=r"^([a-z0-9][a-z0-9._-]*)?$", max_length=64)] = Field(
        default="", description="if empty, the file's name without its suffix"
    )
    description: str = ""


class TraceProfile(BaseModel):
    """A rate that changes over time, in full, for one direction of a link."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(default="inline", pattern=r"^[\w.+-]+$", max_length=64)
    rows: str = Field(description="a table with the header 'seconds,rate Mbit/s', as in a trace's file")

    @field_validator("rows")
    @classmethod
    def _rows_are_a_trace(cls, value: str) -> str:
        trace_text.model(value)
        return value

    @property
    def model(self) -> Trace:
        """What the rows say; the same object for the same rows."""
        return trace_text.model(self.rows)

    @classmethod
    def of(cls, name: str, trace: Trace) -> "TraceProfile":
        """`trace` in the words of a file."""
        return cls(name=name, rows=trace_text.rows(trace))


TraceRef = Annotated[
    Annotated[str, Tag("name")] | Annotated[TraceProfile, Tag("profile")], Discriminator(_name_or_profile)
]
SPREAD: Literal["spread"] = "spread"


def _offset(value: object) -> object:
    if value == SPREAD:
        return value
    seconds = parse(value, TIME)
    if not 0 <= seconds < math.inf:
        raise ValueError(f"'{value}' is no offset: write a time of at least 0 s, or {SPREAD}")
    return seconds


Offset = Annotated[
    float | Literal["spread"],
    BeforeValidator(_offset),
    PlainSerializer(lambda value: value if value == SPREAD else exact(value, TIME), return_type=str),
]


class Burst(BaseModel):
    """Losses that come in bursts (Gilbert, 1960; Elliott, 1963): packet by packet a channel is good or bad."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    enter: Share = Field(gt=0, le=1, description="of the packets after a good one, those that find the channel bad")
    leave: Share = Field(gt=0, le=1, description="of the packets after a bad one, those that find it good again")
    loss: Share = Field(gt=0, le=1, description="share of the packets lost while it is bad")


class Channel(BaseModel):
    """One direction of a link."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=True)

    rate: Rate = Field(gt=0, description="with a trace: what it is capped at, and may be left out")
    trace: TraceRef | None = Field(default=None, description="what the rate follows: a shipped trace's name, or a file")
    offset: Offset = Field(
        default=SPREAD, description="where in the trace a node begins; spread: each node of a testbed elsewhere"
    )
    delay: Time = Field(default=0.0, ge=0, lt=math.inf, description="one way")
    jitter: Time = Field(default=0.0, ge=0, lt=math.inf, description="standard deviation of the delay")
    loss: Share = Field(default=0.0, ge=0, lt=1, description="share of the packets lost; with a burst: outside it")
    burst: Burst | None = None
    queue: Size = Field(default=64 * 2**20, gt=0, description="what may wait before a sender has to")
    sharing: Literal["fifo", "fair"] = Field(
        default="fifo", description="first come, first served, or each sender and receiver in turn"
    )

    @model_validator(mode="before")
    @classmethod
    def _a_trace_needs_no_rate(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("trace") is not None:
            return {"rate": "unlimited", **data}
        return data

    @field_validator("offset")
    @classmethod
    def _offset_is_of_a_trace(cls, value: float | str, info: ValidationInfo) -> float | str:
        if value != SPREAD and "trace" in info.data and info.data["trace"] is None:
            raise ValueError("is where in a trace a node begins, and there is no trace: give one, or leave this out")
        return value

    @field_validator("burst")
    @classmethod
    def _a_burst_is_worse(cls, value: Burst | None, info: ValidationInfo) -> Burst | None:
        if value is not None and value.loss <= info.data.get("loss", 0.0):
            raise ValueError("loses no more than is lost outside it: its loss has to be above the channel's")
        return value


class LinkProfile(Profile):
    """How a node reaches the network: `up` away from it, `down` towards it."""

    source: str = Field(min_length=1, description="where the figures come from")
    up: Channel
    down: Channel


class DeviceProfile(Profile):
    """A node's hardware, as far as it decides how long training takes and whether it fits."""

    training: Throughput = Field(gt=0, description="sustained in single-precision training; 'unlimited': this host")
    memory: Size = Field(gt=0)
    source: str = Field(min_length=1, description="where the figures come from")


DeviceRef = Annotated[
    Annotated[str, Tag("name")] | Annotated[DeviceProfile, Tag("profile")], Discriminator(_name_or_profile)
]
LinkRef = Annotated[
    Annotated[str, Tag("name")] | Annotated[LinkProfile, Tag("profile")], Discriminator(_name_or_profile)
]


class SegmentSpec(BaseModel):
    """What nodes share that are in one place, such as a base station's link to the network.

    What stays within a segment does not cross its link; what comes from or goes further crosses it, and that of the
    segment that it is in.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    link: LinkRef
    segment: Name | None = Field(default=None, description="that it is itself in")


class NodeSpec(BaseModel):
    """One node of a testbed, or `count` equal ones."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Name
    name: Name | None = None
    count: int = Field(default=1, ge=1, le=10_000)
    device: DeviceRef
    link: LinkRef
    segment: Name | None = Field(default=None, description="that it is in, with others")

    @model_validator(mode="after")
    def _one_name_for_one_node(self) -> "NodeSpec":
        if self.name is not None and self.count > 1:
            raise ValueError(f"name '{self.name}' cannot be shared by {self.count} nodes: leave out name or count")
        if self.name in RESERVED:
            raise ValueError(f"the name '{self.name}' is taken by edgebed itself: choose another")
        return self


class Testbed(Profile):
    """The nodes, each with its device and its link."""

    __test__ = False  # not a test class, whatever its name

    nodes: list[NodeSpec] = Field(min_length=1)
    segments: dict[Name, SegmentSpec] = Field(default_factory=dict, description="links that several nodes share")


TestbedRef = Annotated[
    Annotated[str, Tag("name")] | Annotated[Testbed, Tag("profile")], Discriminator(_name_or_profile)
]


class Deadlines(BaseModel):
    """How long edgebed waits, in seconds of this host's time, before it names who is missing and stops."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: Time = Field(default=120.0, gt=0, lt=math.inf, description="for every node to appear")
    message: Time = Field(default=600.0, gt=0, lt=math.inf, description="for a message a program waits for")
    run: Time = Field(default=6 * 3600.0, gt=0, lt=math.inf, description="for one algorithm to finish")
    silence: Time = Field(default=15.0, gt=0, lt=math.inf, description="of a node whose heartbeat stops")


class Bus(BaseModel):
    """Where the hub listens, and what it accepts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    port: int = Field(default=0, ge=0, le=65535, description="on the loopback interface; 0: any free one")
    max_message: Size = Field(default=256 * 2**20, ge=1024, lt=2**40)


class Variation(BaseModel):
    """Keys of the experiment, dotted, with the values they take."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str = ""
    set: dict[str, Any] = Field(default_factory=dict)


class Case(Variation):
    """One of the things that a study compares."""

    name: str = Field(min_length=1)


class Study(BaseModel):
    """What to repeat an experiment with: every case with every seed, at one of the sizes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seeds: list[int] = Field(min_length=1)
    sizes: dict[str, Variation] = Field(default_factory=dict, description="by name; the first is the default")
    cases: list[Case] = Field(min_length=1)


class Control(BaseModel):
    """Where a running testbed takes orders."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    port: int = Field(
        default=0, ge=0, le=65535, description="of the HTTP API on the loopback interface; 0: any free one"
    )


class Scenario(Profile):
    """What changes while an experiment runs."""

    source: str = Field(default="", description="where the figures come from")
    scenario: list[Happening] = Field(min_length=1)


ScenarioRef = Annotated[
    Annotated[str, Tag("name")] | Annotated[list[Happening], Tag("profile")], Discriminator(_name_or_profile)
]


class Experiment(Profile):
    """What runs on which testbed."""

    testbed: TestbedRef
    programs: dict[Name, ProgramName] = Field(min_length=1, description="the program of each role")
    algorithms: list[Name] = Field(default_factory=list, description="run one after the other; empty: one run")
    rounds: int = Field(default=1, ge=1)
    seed: int = Field(default=1, ge=0, lt=2**31)
    target_accuracy: Share | None = Field(default=None, gt=0, le=1)
    time_scale: Literal["auto"] | float = Field(
        default=1.0, description="emulated time runs this many times slower than the host's; a plain number"
    )
    compute: Literal["stretched", "quota"] = Field(
        default="stretched", description="how a device is slowed down: results held back, or a CPU quota (containers)"
    )
    links: Literal["bus", "kernel"] = Field(
        default="bus", description="who limits the links: the bus, or the kernel's traffic control (containers)"
    )
    training: bool = Field(default=True, description="false: latencies alone, nothing is learnt (virtual runtime)")
    calibration: str = Field(
        default="auto",
        min_length=1,
        description="what predictions stand on: auto, this host's; none, the profiles alone; or a calibration's file",
    )
    deadlines: Deadlines = Deadlines()
    bus: Bus = Bus()
    control: Control = Control()
    workload: dict[str, Any] = Field(default_factory=dict, description="handed to the programs as it is")
    study: Study | None = Field(default=None, description="many runs of it, in virtual time")
    scenario: ScenarioRef | None = Field(default=None, description="what changes while it runs; in each run anew")

    @field_validator("time_scale", mode="before")
    @classmethod
    def _scale_is_possible(cls, value: object) -> object:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if value != "auto" and not (number and 0 < float(str(value)) <= 1e6):
            raise ValueError(f"{value!r:.40} is no time scale: write a number above 0 and at most 1e6, or auto")
        return value

    @field_validator("algorithms")
    @classmethod
    def _each_algorithm_once(cls, value: list[str]) -> list[str]:
        twice = sorted({name for name in value if value.count(name) > 1})
        if twice:
            raise ValueError(f"listed twice: {', '.join(twice)}")
        return value
