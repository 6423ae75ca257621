"""What the YAML files may say: links, devices, testbeds and experiments.

These are the words of the files and nothing else: no file is read here (see `library`), nothing is computed.
"""

import math
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    field_validator,
    model_validator,
)

from emulator.units import Rate, Share, Size, Throughput, Time

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=64)]
ProgramName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]


CONTROLLER = "controller"
HUB = "hub"
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


class Channel(BaseModel):
    """One direction of a link."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=True)

    rate: Rate = Field(gt=0)
    delay: Time = Field(default=0.0, ge=0, lt=math.inf, description="one way")
    jitter: Time = Field(default=0.0, ge=0, lt=math.inf, description="standard deviation of the delay")
    loss: Share = Field(default=0.0, ge=0, lt=1, description="share of the packets lost")
    queue: Size = Field(default=64 * 2**20, gt=0, description="what may wait before a sender has to")
    sharing: Literal["fifo", "fair"] = Field(
        default="fifo", description="first come, first served, or each sender and receiver in turn"
    )


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


class NodeSpec(BaseModel):
    """One node of a testbed, or `count` equal ones."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Name
    name: Name | None = None
    count: int = Field(default=1, ge=1, le=10_000)
    device: DeviceRef
    link: LinkRef

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
