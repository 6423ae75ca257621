"""What a scenario's entries may say: when something changes, of whom, and what.

Whether it is possible in an experiment, see `scenario`; the profiles that an entry names, `library` looks up.
"""

import math
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from emulator.units import Time


def _order(value: object) -> object:
    if value is not None and value is not True:
        raise ValueError("write true, or leave it out")
    return value


Order = Annotated[Literal[True] | None, BeforeValidator(_order)]


class Factors(BaseModel):
    """By what the rates of a link are multiplied."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    up: float | None = Field(default=None, lt=math.inf)
    down: float | None = Field(default=None, lt=math.inf)

    @field_validator("up", "down")
    @classmethod
    def _something_is_left(cls, value: float | None) -> float | None:
        if value is not None and not value > 0:
            raise ValueError(f"{value:g} times a rate is none: write a number above 0 or, to cut it, disconnect: true")
        return value


class Flap(BaseModel):
    """How a connection comes and goes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    down: Time = Field(gt=0, lt=math.inf)
    up: Time = Field(gt=0, lt=math.inf)
    times: int = Field(ge=1, le=10_000)


class Happening(BaseModel):
    """What changes at one moment of a run: when, of whom, and what of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    at: Time | None = Field(default=None, lt=math.inf, description="on the run's clock")
    round: int | None = Field(default=None, ge=1, description="when it begins")
    node: str | None = None
    nodes: list[str] | None = Field(default=None, min_length=1)
    role: str | None = None
    segment: str | None = Field(default=None, description="its own link")
    link: Any = Field(default=None, description="a link, or some figures of one")
    scale: Factors | None = Field(default=None, description="times the rates that the run began with")
    trace: dict[str, Any] | None = Field(default=None, description="that the link follows")
    device: Any = Field(default=None, description="a device, or some figures of one")
    slow: float | None = Field(default=None, gt=0, lt=math.inf, description="times slower than as the run began")
    disconnect: Order = None
    reconnect: Order = None
    flap: Flap | None = None
    partition: list[list[str]] | None = Field(default=None, description="groups that do not reach each other")
    heal: Order = None
    stop: Order = Field(default=None, description="gone for the rest of the run")
    restore: Order = Field(default=None, description="link and device as the run began")
    for_: Time | None = Field(default=None, gt=0, lt=math.inf, alias="for", description="of disconnect or partition")

    @field_validator("at")
    @classmethod
    def _not_past(cls, value: float | None) -> float | None:
        if value is not None and value < 0:
            raise ValueError("lies before the run begins: write a time from 0 s on")
        return value

    @field_validator("scale", "trace", mode="before")
    @classmethod
    def _both_ways(cls, value: object) -> object:
        return {"up": value, "down": value} if isinstance(value, str | int | float) else value

    @field_validator("trace")
    @classmethod
    def _ways(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        if value is not None and not {"up", "down"} >= value.keys() > set():
            raise ValueError("write a trace for both directions, or {up: TRACE, down: TRACE}")
        return value

    @field_validator("link", "device")
    @classmethod
    def _name_or_keys(cls, value: object) -> object:
        if value is not None and not isinstance(value, str | dict):
            raise ValueError(f"{value!r:.40} is neither a name nor keys of a profile")
        return value

    @model_validator(mode="after")
    def _once_each(self) -> "Happening":
        for what, keys in (("when", WHEN), ("what", WHAT)):
            self._check_one(what, keys)
        if self.partition or self.heal:
            if whom := [key for key in WHOM if getattr(self, key) is not None]:
                raise ValueError(f"a partition is of the whole network: leave {' and '.join(whom)} out")
        else:
            self._check_one("of whom", WHOM)
        if self.for_ is not None and not (self.disconnect or self.partition):
            raise ValueError("'for' is how long a disconnect or a partition lasts: leave it out")
        return self

    def _check_one(self, what: str, keys: tuple[str, ...]) -> None:
        given = [key for key in keys if getattr(self, key) is not None]
        if not given:
            raise ValueError(f"nothing says {what}: write one of {', '.join(keys)}")
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} cannot both say {what}: write one of them, or two entries")

    @model_serializer(mode="wrap")
    def _as_written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = {key: value for key, value in handler(self).items() if value is not None}
        if "for_" in fields:
            fields["for"] = fields.pop("for_")
        return fields


WHEN = ("at", "round")
WHOM = ("node", "nodes", "role", "segment")
WHAT = (
    "link", "scale", "trace", "device", "slow",
    "disconnect", "reconnect", "flap", "partition", "heal", "stop", "restore",
)  # fmt: skip
