"""What an experiment file may say under `workload.algorithms`: the open choices of each algorithm, by name.

No PyTorch here. Defaults are the readings that README.md and the algorithms' own files explain.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, field_validator, model_validator

from emulator.units import Share

Rate = Annotated[float, Field(gt=0)]
ClientRate = Annotated[float, Field(ge=0, description="0 freezes the client-side models")]

Leader = Literal["consistent", "all", "random"]
Selection = Literal["threshold", "leader", "random"]
LEADERS: dict[str, Leader] = {"non-lgi": "all", "rand-lgi": "random"}
SELECTIONS: dict[str, Selection] = {"non-gda": "leader", "rand-gda": "random"}
Ablation = Literal["non-lgi", "rand-lgi", "non-gda", "rand-gda"]


class Strict(BaseModel):
    """Unknown keys are refused, and so are infinities and NaN."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ClientSchedule(Strict):
    """Not the paper's: how the clients' learning rate falls."""

    shape: Literal["constant", "linear", "cosine"] = "constant"
    until: Share = Field(default=1.0, gt=0, le=1, description="of the planned rounds, in which it falls")
    end: Share = Field(default=0.0, ge=0, le=1, description="of the client rate, kept from then on; 0 % freezes")

    def factor(self, round: int, rounds: int) -> float:
        """What the client rate is multiplied with in `round` (from 1) of `rounds`."""
        if self.shape == "constant":
            return 1.0
        done = min((round - 1) / (self.until * rounds), 1.0)
        left = 1 - done if self.shape == "linear" else (1 + math.cos(math.pi * done)) / 2
        return self.end + (1 - self.end) * left


class Options(Strict):
    """What every algorithm may set for itself. The last three are not the paper's: see nodes/extensions.py."""

    server_rate: Rate | None = None
    client_rate: ClientRate | None = None
    logit_adjustment: float = Field(default=0.0, ge=0, description="times the log of each client's label prior; 0: off")
    proximal: float = Field(default=0.0, ge=0, description="pull of client-side models to their initialisation; 0: off")
    client_schedule: ClientSchedule = ClientSchedule()

    def turns(self, round: int, samples: Sequence[int], batch: int) -> list[int] | None:
        """Who trains when: places in the testbed's order, one for each mini-batch of the round and one for the first
        of the next round. None: all at once, a mini-batch each.

        `samples`: how many each client holds.
        """
        return None


class SLOptions(Options):
    """Vanilla split learning."""

    handover: Literal["batch", "epoch"] = Field(
        default="batch", description="how long a client trains before it hands the model on: a mini-batch, or its epoch"
    )

    def turns(self, round: int, samples: Sequence[int], batch: int) -> list[int]:
        """A round is as many mini-batches as there are clients, whoever's they are."""
        clients = len(samples)
        ends = list(accumulate(1 if self.handover == "batch" else max(held // batch, 1) for held in samples))
        return [bisect_right(ends, slot % ends[-1]) for slot in range((round - 1) * clients, round * clients + 1)]


class PSLOptions(Options):
    """Parallel split learning."""

    passes: Literal["together", "separate"] = Field(
        default="together",
        description="the server's: all clients' batches as one, or each alone as in GAPSL; the same but for rounding,"
        " unless there is batch normalisation",
    )


class SFLOptions(Options):
    """SplitFed learning."""

    interval: PositiveInt | None = Field(default=None, description="rounds between averages; none: one epoch")
    server: Literal["v1", "v2"] = Field(
        default="v2", description="v2: one server-side model for all; v1: one for each client, averaged like theirs"
    )

    def rounds_between(self, samples: Sequence[int], batch: int) -> int:
        """Rounds between averages of clients that hold so many samples: by default an epoch of the average client."""
        return self.interval or math.ceil(sum(samples) / len(samples) / batch)


class EPSLOptions(Options):
    """Efficient parallel split learning."""

    phi: float = Field(default=0.5, ge=0, le=1, description="share of the batch whose gradients are averaged")

    def averaged(self, batch: int) -> int:
        """How many samples of each batch have their last-layer gradients averaged."""
        return math.ceil(self.phi * batch - 1e-9)


class GAPSLOptions(Options):
    """Gradient-aligned parallel split learning, in the terms of nodes/alignment.py."""

    eta: float = Field(default=-1.0, description="Eq 6; the lower, the more clients take part")
    k_min: Share = Field(default=0.2, gt=0, le=1, description="Eq 2")
    k_max: Share = Field(default=0.8, gt=0, le=1, description="Eq 2")
    lam: float = Field(default=5e-4, ge=0, alias="lambda", description="Eq 7; the paper's for VGG-16, ViT-Base: 3e-5")
    gda: Literal["selection", "exact", "steered"] = Field(
        default="selection",
        description="how Eq 7 acts: by S_hat alone (footnote 6), differentiated twice, or by turning the gradients",
    )
    outside: Literal["own", "freeze"] = Field(
        default="own", description="clients outside S_hat: their own gradient, or none in this round"
    )
    update: Literal["mean", "sum"] = Field(default="mean", description="over S_hat; Eq 8 sums")
    local_steps: PositiveInt = Field(
        default=1, description="mini-batches whose updates add up before they are aligned; 1: mini-batch gradients"
    )
    ablation: tuple[Ablation, ...] = Field(default=(), description="the paper's: one of LGI's, one of GDA's, or both")
    memory: Literal["full", "low"] = Field(
        default="full", description="keep all clients' gradients, or only one layer's at a time and go back twice"
    )

    @field_validator("ablation", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _fits_together(self) -> "GAPSLOptions":
        if self.k_min > self.k_max:
            raise ValueError("k_min lies above k_max")
        for kinds in (LEADERS, SELECTIONS):
            if len(of_one_kind := [word for word in self.ablation if word in kinds]) > 1:
                raise ValueError(f"ablation: {' and '.join(of_one_kind)} exclude each other: take one")
        if "non-gda" in self.ablation and self.gda != "selection":
            raise ValueError(f"ablation non-gda leaves nothing to align: gda: {self.gda} cannot be had with it")
        if self.memory == "low" and (self.local_steps > 1 or self.gda == "exact"):
            what = "local_steps above 1" if self.local_steps > 1 else "gda: exact"
            raise ValueError(f"memory: low keeps no client's gradient, which {what} needs: take memory: full")
        if self.local_steps > 1 and self.gda == "exact":
            raise ValueError("gda: exact differentiates the gradient of one mini-batch: it takes local_steps: 1")
        return self


class Algorithms(Strict):
    """Options by algorithm. The fields' names are the algorithms' names."""

    sl: SLOptions = SLOptions()
    sfl: SFLOptions = SFLOptions()
    psl: PSLOptions = PSLOptions()
    epsl: EPSLOptions = EPSLOptions()
    gapsl: GAPSLOptions = GAPSLOptions()
