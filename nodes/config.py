"""What an experiment file may say under `workload`, and whether a run can work before anything starts.

No PyTorch here: a wrong word is reported at once.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, PrivateAttr, field_validator, model_validator

from emulator.errors import nearest
from emulator.units import Time
from nodes import cifar, partition
from nodes.architectures import ARCHITECTURES, Architecture, Norm, architecture
from nodes.data import KINDS, load
from nodes.options import Algorithms, ClientRate, Options, Rate, Strict


class Data(Strict):
    """Which images, and how they are spread over the clients."""

    name: Literal["digits", "cifar10", "cifar100"]
    folder: str = Field(default="data", min_length=1, description="where CIFAR lies; relative to where edgebed runs")
    download: bool = Field(default=False, description="may CIFAR be downloaded into the folder")
    augment: bool = Field(default=False, description="train on random crops and mirror images, each client its own")
    resize: Annotated[int, Field(gt=0, le=1024)] | None = Field(
        default=None, description="enlarge images to so many pixels a side; none: as they are"
    )
    partition: Literal["iid", "dirichlet"] = "dirichlet"
    alpha: float = Field(default=0.5, ge=1e-3, le=1e6, description="of the Dirichlet distribution; small: uneven")
    train_samples: PositiveInt | None = Field(default=None, description="a seeded choice of so many; none: all")
    test_samples: PositiveInt | None = Field(default=None, description="a seeded choice of so many; none: all")
    fill: bool = Field(
        default=False, description="may a client whose draw is short of a batch be given others' samples"
    )

    @model_validator(mode="after")
    def _there_are_so_many(self) -> "Data":
        kind = KINDS[self.name]
        for key, wanted, there in (
            ("train_samples", self.train_samples, kind.train),
            ("test_samples", self.test_samples, kind.test),
        ):
            if wanted is not None and wanted > there:
                raise ValueError(f"{key} is {wanted}, but {self.name} has {there}")
        if self.resize is not None and self.resize < kind.shape[1]:
            raise ValueError(f"resize is {self.resize}, but images of {self.name} have {kind.shape[1]} pixels a side")
        if self.augment and self.name == "digits":
            raise ValueError("augment mirrors images, and a mirrored digit is another one or none: leave it out")
        return self

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of an image, as the model gets it: channels, height, width."""
        channels, height, width = KINDS[self.name].shape
        return (channels, self.resize or height, self.resize or width)

    @property
    def training(self) -> int:
        """The number of training samples of all clients together."""
        return self.train_samples or KINDS[self.name].train


class Model(Strict):
    """Which model, and where it is cut."""

    name: str
    norm: Norm | None = Field(default=None, description="none, group or batch, as the model can have it")
    cut: int | str = Field(description="layers on the client: their number, or the name of the last, such as pool2")

    _classes: int | None = PrivateAttr(default=None)  # the data set's: Workload says

    @field_validator("name")
    @classmethod
    def _is_known(cls, value: str) -> str:
        architecture(value)
        return value

    @model_validator(mode="after")
    def _cut_lies_inside(self) -> "Model":
        self.architecture.cut_after(self.cut)
        return self

    @property
    def architecture(self) -> Architecture:
        """The model's layers."""
        return architecture(self.name, self.norm, self._classes)

    @property
    def client_layers(self) -> int:
        """How many layers, from the first, the clients have."""
        return self.architecture.cut_after(self.cut)


class Optimizer(Strict):
    """Stochastic gradient descent with momentum, or AdamW, on both sides of the cut."""

    name: Literal["sgd", "adamw"] = "sgd"
    server_rate: Rate = 0.01
    client_rate: ClientRate = 0.005
    momentum: float = Field(default=0.9, ge=0, lt=1, description="of sgd")
    weight_decay: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _has_what_is_set(self) -> "Optimizer":
        if self.name == "adamw" and "momentum" in self.model_fields_set:
            raise ValueError("momentum is for sgd: adamw has none, leave it out")
        return self


class Devices(Strict):
    """What PyTorch computes on. An emulated device is a share of one processor core: `cuda` is for virtual runs, whose
    times are modelled, and for the server of a run of which only the accuracy counts."""

    server: Literal["cpu", "cuda"] = "cpu"
    clients: Literal["cpu", "cuda"] = "cpu"


class Evaluate(Strict):
    """When, and on how much of the test set, accuracy is measured. The last round is always evaluated."""

    every: PositiveInt = Field(default=10, description="rounds")
    samples: PositiveInt | None = Field(default=None, description="of the test set; none: all")
    checkpoint: str | None = Field(
        default=None, min_length=1, description="folder in which all models are kept, as they were last evaluated"
    )


class Participation(Strict):
    """Whom a round waits for, and how long: see nodes/participation.py."""

    deadline: Time = Field(
        gt=0, lt=math.inf, description="the longest that the server waits for its clients, each time"
    )
    at_least: PositiveInt = Field(default=1, description="uploads that it waits for however long it takes")


class Workload(Strict):
    """The `workload` part of an experiment file."""

    data: Data
    model: Model
    batch_size: PositiveInt = 16
    optimizer: Optimizer = Optimizer()
    devices: Devices = Devices()
    evaluate: Evaluate = Evaluate()
    participation: Participation | None = Field(default=None, description="none: every round waits for every client")
    algorithms: Algorithms = Algorithms()

    @property
    def classes(self) -> int:
        """How many the data set has."""
        return KINDS[self.data.name].classes

    @model_validator(mode="after")
    def _fits_together(self) -> "Workload":
        shape = self.data.shape
        if self.model.architecture.shape != shape:
            fitting = [a.name for a in ARCHITECTURES.values() if a.shape == shape]
            remedy = f"choose {' or '.join(fitting)}" if fitting else "choose another data.resize"
            raise ValueError(
                f"{self.model.name} is made for {_text(self.model.architecture.shape)} images and {self.data.name} has "
                f"{_text(shape)}: {remedy}"
            )
        self.model._classes = self.classes
        if self.batch_size > self.data.training:
            raise ValueError(f"batch_size is {self.batch_size}, but there are {self.data.training} training samples")
        return self


class Settings(BaseModel):
    """A node's whole configuration, read. Keys that are not the workload's business are left alone."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    algorithm: str
    rounds: PositiveInt
    seed: int = Field(ge=0)
    training: bool = True
    workload: Workload

    @field_validator("algorithm")
    @classmethod
    def _is_known(cls, value: str) -> str:
        known = list(Algorithms.model_fields)
        if value not in known:
            raise ValueError(f"no algorithm is called '{value}'{nearest(value, known)}")
        return value

    @property
    def options(self) -> Options:
        """The options of this run's algorithm."""
        options: Options = getattr(self.workload.algorithms, self.algorithm)
        return options

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer with this algorithm's own rates, where it has any."""
        own = self.options.model_dump(include={"server_rate", "client_rate"}, exclude_none=True)
        return self.workload.optimizer.model_copy(update=own)


def read(config: Mapping[str, Any]) -> Settings:
    """The configuration of a node (`Node.config`), checked. Raises pydantic's ValidationError, a ValueError."""
    return Settings.model_validate(dict(config))


def check(config: Mapping[str, Any], peers: Mapping[str, Sequence[str]]) -> None:
    """Raise ValueError unless a run with this configuration can start.

    Checks every word, that there is one server and at least one client (`peers`: role -> node names), that each client
    can have a batch, and that there are as many clients as a round waits for.
    """
    settings = read(config)
    for role, enough in (("server", len(peers.get("server", ())) == 1), ("client", bool(peers.get("client")))):
        if not enough:
            raise ValueError(
                f"the testbed has {len(peers.get(role, ()))} nodes of role '{role}': split learning takes exactly one "
                "server and at least one client"
            )
    data, batch = settings.workload.data, settings.workload.batch_size
    clients = len(peers["client"])
    if clients * batch > data.training:
        raise ValueError(
            f"batch_size is {batch}: {clients} clients need {clients * batch} training samples for one batch each, "
            f"and there are {data.training}"
        )
    participation = settings.workload.participation
    if participation is not None and participation.at_least > clients:
        raise ValueError(
            f"participation.at_least is {participation.at_least}, but the testbed has {clients} clients: "
            f"no round could ever go on"
        )


def prepare(config: Mapping[str, Any], peers: Mapping[str, Sequence[str]]) -> None:
    """Have the data and the devices there before a run starts; downloads data if, and only if, the file allows it.

    Raises ValueError with what to do, also where the data, as they are drawn, leave a client without a batch.
    """
    settings = read(config)
    workload = settings.workload
    for role, device in workload.devices:
        if device == "cuda":
            _check_cuda(role)
    data = workload.data
    if data.name != "digits":
        cifar.prepare(cifar.ARCHIVES[data.name], Path(data.folder), download=data.download)
    if settings.training:
        _check_draw(data, len(peers["client"]), workload.batch_size, settings.seed)


@cache
def _check_draw(data: Data, clients: int, batch: int, seed: int) -> None:
    """Once, for all algorithms and roles share it."""
    partition.draw(data, load(data, "train", seed).labels, clients, batch, seed)


def _check_cuda(role: str) -> None:
    import torch

    if not torch.cuda.is_available():
        built = "sees no CUDA device" if torch.version.cuda else "is a build without CUDA"
        raise ValueError(f"devices.{role} is cuda, but this host's PyTorch {built}: take cpu")


def subject(config: Mapping[str, Any]) -> str:
    """What a calibration is of: two configurations of one subject differ at most in the size of their work."""
    workload = read(config).workload
    return f"{workload.model.name} with {workload.model.client_layers} layers on the client"


def sizes(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Configurations of the same subject and ever less work, this one first: the batch is halved each time.

    Nothing is evaluated, nobody is left out, and SFL averages in every round, so that a few rounds have every stage in
    them, several times.
    """
    batch = read(config).workload.batch_size
    workload = {**config["workload"], "evaluate": {"every": 2**30, "samples": 1}, "participation": None}
    options = dict(workload.get("algorithms", {}))
    workload["algorithms"] = {**options, "sfl": {**options.get("sfl", {}), "interval": 1}}
    found = []
    while batch >= 1:
        found.append({**config, "workload": {**workload, "batch_size": batch}})
        batch //= 2
    return found


def synchronous(config: Mapping[str, Any]) -> bool:
    """Whether what is learnt in a round is the same however long anything takes: it is, for all five algorithms wait
    for every client, and take their uploads in the testbed's order; unless late clients are left out."""
    settings = read(config)
    return settings.algorithm in Algorithms.model_fields and settings.workload.participation is None


def dispensable(config: Mapping[str, Any]) -> bool:
    """Whether a run goes on when a client dies: where late ones are left out, it is the latest of them."""
    return read(config).workload.participation is not None


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
