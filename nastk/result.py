"""What a run came to, and how its trials are told."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import field, frozen

from nastk.ledger import Ledger
from nastk.records import SCHEMA, Architecture, Cost, Metric, Trial, from_json, to_json


@frozen
class Failure:
    """A final training that did not come to its end.

    Attributes:
        status: ``diverged``, ``collapsed``, ``out-of-memory``, ``timed-out`` or ``crashed``.
        reason: one line of what went wrong, and when.
    """

    status: str
    reason: str


@frozen
class Result:
    """What a run came to.

    Attributes:
        folder: of the run.
        architecture: the winner; None when interrupted, or when no candidate succeeded.
        codes: the winner's integer codes.
        metrics: of the winner, by name, each with its card.
        ledger: phase → cost; ``repeated`` is work done again after kills, beyond the other phases.
        interrupted: stopped on request; ``resume`` continues.
        failures: final trainings that failed, in order.
    """

    folder: Path
    architecture: Architecture | None = None
    codes: str = ""
    metrics: Mapping[str, Metric] = field(factory=dict)
    ledger: Mapping[str, Cost] = field(factory=dict)
    interrupted: bool = False
    failures: tuple[Failure, ...] = ()


def result_of(
    folder: Path, outcomes: Mapping[str, Any], ledger: Ledger, *, interrupted: bool = False
) -> Result:
    """Return the result that the outcomes of the stages describe."""
    costs = dict(ledger.phases)
    if ledger.repeated != Cost():
        costs["repeated"] = ledger.repeated
    found = outcomes.get("evaluate", {})
    winner = found.get("architecture")
    finalists = outcomes.get("retrain", {}).get("finalists", [])
    return Result(
        folder=folder,
        architecture=None if winner is None else from_json(Architecture, winner),
        codes=found.get("codes", ""),
        metrics={n: from_json(Metric, m) for n, m in found.get("metrics", {}).items()},
        ledger=costs,
        interrupted=interrupted,
        failures=tuple(
            Failure(each["status"], each["reason"]) for each in finalists if each["status"] != "ok"
        ),
    )


def trial_record(trial: Trial, codes: str) -> dict[str, Any]:
    """Return the line of a trial in ``candidates.jsonl``; ``time`` holds what varies."""
    record = to_json(trial)
    seconds = record["cost"].pop("seconds")
    return {
        "schema": SCHEMA,
        "kind": "trial",
        **record,
        "codes": codes,
        "fingerprint": trial.architecture.fingerprint,
        "time": {"seconds": round(seconds, 3)},
    }


def trial_values(trial: Trial, codes: str) -> dict[str, Any]:
    """Return what an event says of a trial; the whole of it is in ``candidates.jsonl``."""
    found = trial.evaluation
    return {
        "number": trial.number,
        "codes": codes,
        "status": trial.status,
        "reason": trial.reason,
        "metrics": {} if found is None else {n: m.value for n, m in found.metrics.items()},
        **_economy(trial),
    }


def _economy(trial: Trial) -> dict[str, Any]:
    """Return how a trial was trained for less than from scratch in one go; empty otherwise."""
    told: dict[str, Any] = {}
    if trial.rung is not None and trial.budget is not None:
        told |= {"rung": trial.rung, "budget": trial.budget.amount}
    if trial.parent is not None:
        told |= {"parent": trial.parent, "inherited": trial.inherited}
    return told
