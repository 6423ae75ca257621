"""`result.json`: the contract with whatever reads a run's outcome. Schema 1; SI units, named by the keys."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from emulator import verdict as verdicts
from emulator.report.summary import Summary
from emulator.verdict import Check, HostFacts, Verdict

SCHEMA = 1


def build(
    summaries: Sequence[Summary],
    host: HostFacts,
    *,
    version: str,
    runtime: str,
    testbed: str,
    seed: int,
) -> dict[str, Any]:
    """The result of an experiment. Its verdict is the worst of its runs. `ValueError` if there is no run."""
    verdict = verdicts.combine({summary.run: summary.verdict for summary in summaries})
    return {
        "schema": SCHEMA,
        "version": version,
        "runtime": runtime,
        "testbed": testbed,
        "seed": seed,
        "host": {**asdict(host), "notes": list(host.notes), "disturbances": list(host.disturbances)},
        "verdict": verdict_fields(verdict),
        "algorithms": {summary.run: _algorithm(summary) for summary in summaries},
    }


def to_json(result: Mapping[str, Any]) -> str:
    """The text of the file. `ValueError` if a number is not finite: JSON has none such."""
    return json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _algorithm(summary: Summary) -> dict[str, Any]:
    latency, accuracy = summary.latency, summary.accuracy
    return {
        "rounds": summary.rounds,
        "emulated_s": summary.emulated,
        "wall_s": summary.wall,
        "round_latency_s": {"mean": latency.mean, "median": latency.median, "p95": latency.p95},
        "accuracy": None if accuracy is None else asdict(accuracy),
        "target_accuracy": summary.target,
        "time_to_accuracy_s": summary.time_to_target,
        "bytes": {"up": summary.traffic.up, "down": summary.traffic.down},
        "stages_s": {stage: {"median": times.median, "p95": times.p95} for stage, times in summary.stages.items()},
        "verdict": verdict_fields(summary.verdict),
        "predicted": None,
        **({} if summary.client_rounds is None else {"lost_client_rounds": summary.client_rounds.lost}),
    }


def verdict_fields(verdict: Verdict) -> dict[str, Any]:
    """A verdict as it stands in a result."""
    return {"valid": verdict.valid, "checks": [_check(check) for check in verdict.checks]}


def read_verdict(fields: Mapping[str, Any]) -> Verdict:
    """The verdict that a result holds. `KeyError` or `TypeError` if it holds none."""
    return Verdict(bool(fields["valid"]), tuple(Check(**{"reason": "", **check}) for check in fields["checks"]))


def _check(check: Check) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "name": check.name,
        "value": check.value,
        "limit": check.limit,
        "unit": check.unit,
        "ok": check.ok,
    }
    return fields if check.ok else {**fields, "reason": check.reason}
