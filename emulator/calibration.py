"""A calibration as it is kept: what one host was measured to take for one workload, in a dated file."""

import json
import os
import re
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from emulator.cost import CostModel
from emulator.errors import InputError
from emulator.host import fingerprint
from emulator.plan import Plan
from emulator.runtime.program import subject_of
from emulator.system import cache_folder

SCHEMA = 6
"""Raised whenever what is measured is no longer what it was."""


class Overheads(BaseModel):
    """What this host adds to emulated times: no part of any prediction, for the system under test has none of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    timer: float
    """Median seconds by which a timer fires too late; what is held back until then, such as a computation, is late."""
    delivery: float
    """Median seconds by which a message is delivered too late: timers, and the hub's and the node's own work."""


class Calibration(BaseModel):
    """What the stages of one subject take one host, and when that was measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_: int = Field(alias="schema")
    fingerprint: str
    made: str
    awake: bool
    """Whether this host's cores were kept awake."""
    subject: str
    cost: CostModel
    overheads: Overheads

    @property
    def runs(self) -> set[str]:
        """The runs whose stages are known."""
        return {stage.run for stage in self.cost.stages}

    def lacks(self, stages: Iterable[tuple[str, str, str]]) -> list[str]:
        """In words, those of `stages` (run, role, stage) of which nothing is known."""
        known = {(cost.run, cost.role, cost.stage) for cost in self.cost.stages}
        return [f"stage '{stage}' of {run}" for run, role, stage in sorted(stages) if (run, role, stage) not in known]


def subject(plan: Plan) -> str:
    """What a calibration for `plan` is of: the workload's own words, or its whole configuration, and how many nodes."""
    words = [_words(node.program, plan.runs[0].config) for node in plan.nodes]
    counts = ", ".join(f"{len(names)} {role}" for role, names in sorted(plan.peers.items()))
    return f"{'; '.join(dict.fromkeys(words))}; {counts}"


def _words(program: str, config: dict[str, Any]) -> str:
    in_words = subject_of(program)
    if in_words is not None:
        return in_words(config)
    return f"{program} {json.dumps(config['workload'], sort_keys=True)}"


def default_path(of: str) -> Path:
    """Where the calibration of that subject is kept for this user."""
    slug = re.sub(r"[^a-z0-9]+", "-", of.lower()).strip("-")[:48]
    return cache_folder() / "calibrations" / f"{slug}-{zlib.crc32(of.encode()):08x}.json"


def read(path: Path, of: str) -> Calibration:
    """The calibration in the file. Raises `InputError` unless it is one of this host and of the subject `of`."""
    try:
        found = Calibration.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}: run edgebed calibrate") from None
    except (ValidationError, UnicodeDecodeError) as error:
        reason = f"{len(error.errors())} faults" if isinstance(error, ValidationError) else "not UTF-8"
        raise InputError(f"{path}: is no calibration ({reason}): run edgebed calibrate anew") from None
    if found.schema_ != SCHEMA:
        raise InputError(f"{path}: is a calibration of another version of edgebed: run edgebed calibrate anew")
    if found.fingerprint != fingerprint():
        raise InputError(
            f"{path}: is a calibration of another host ({found.fingerprint}): run edgebed calibrate on this one"
        )
    if found.subject != of:
        raise InputError(
            f"{path}: is a calibration of {found.subject}, and this experiment is {of}: run edgebed calibrate on it"
        )
    return found


def write(path: Path, calibration: Calibration) -> None:
    """Keep it. Raises `InputError` where that cannot be."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(calibration.model_dump_json(by_alias=True, indent=1) + "\n", encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from None
