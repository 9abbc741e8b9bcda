"""Cells from what runs leave behind: a run's folder, or what an observer heard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import define, field

from nastk.assembly import plugin_versions, used_entries, versions
from nastk.comparing.cells import (
    MAX_RATED,
    Bill,
    Cell,
    Incumbent,
    Rated,
    benchmark_hash,
    card_hash,
)
from nastk.config import Config, parse_budget
from nastk.errors import RunFolderError
from nastk.ledger import Ledger
from nastk.records import Budget, Cost, Direction, Metric, from_json, to_json
from nastk.registry import Registry
from nastk.resuming import finished_result, repeated_work, saved_config
from nastk.rundir import RunFolder
from nastk.stages import EVALUATE, OUTSIDE_BUDGET, RETRAIN

USUAL = "rating"
"""The search-time score that is looked for first."""


@define
class Diary:
    """What a search tells of its candidates, in order.

    Attributes:
        unit: in which incumbents are told.
    """

    unit: str
    score: str = ""
    direction: Direction = "minimise"
    incumbents: list[Incumbent] = field(factory=list)
    rated: dict[str, Rated] = field(factory=dict)
    splits: set[str] = field(factory=set)
    choice: set[str] = field(factory=set)
    finalists: list[Mapping[str, Any]] = field(factory=list)
    candidates: int = 0
    failures: int = 0

    def trial(self, record: Mapping[str, Any], codes: str, spent: float) -> None:
        """Note a trial: the JSON of its record, its codes, and what was spent by then."""
        self.candidates += not record.get("rung")
        self.failures += record["status"] not in ("ok", "pruned")
        metrics = (record.get("evaluation") or {}).get("metrics", {})
        if not metrics:
            return
        self.splits |= _splits(metrics)
        if not self.score:
            self.score = USUAL if USUAL in metrics else next(iter(metrics))
            self.direction = metrics[self.score]["direction"]
        metric = metrics.get(self.score)
        if metric is None or metric["value"] is None:
            return
        found = Rated(codes, float(metric["value"]), _fidelity(record, metric))
        if len(self.rated) < MAX_RATED or codes in self.rated:
            self.rated[codes] = found
        self._incumbent(found, spent)

    def finalist(self, entry: Mapping[str, Any]) -> None:
        """Note a finalist: measured, or failed."""
        self.finalists.append(entry)
        self.choice |= _splits((entry.get("evaluation") or {}).get("metrics", {}))

    def _incumbent(self, found: Rated, spent: float) -> None:
        sign = 1 if self.direction == "minimise" else -1
        known = [i.score for i in self.incumbents if i.fidelity == found.fidelity]
        if not known or sign * found.score < sign * known[-1]:
            self.incumbents.append(Incumbent(spent, found.score, found.fidelity))

    def into(self, **more: Any) -> dict[str, Any]:
        """Return the fields of a cell that this diary fills, and ``more``."""
        return {
            "candidates": self.candidates,
            "failures": self.failures,
            "score": self.score,
            "direction": self.direction,
            "incumbents": tuple(self.incumbents),
            "rated": tuple(self.rated.values()),
            "search_splits": tuple(sorted(self.splits)),
            "choice_splits": tuple(sorted(self.choice)),
            **more,
        }


def settings_of_cell(config: Config, registry: Registry, device: str) -> dict[str, Any]:
    """Return the fields of a cell that its configuration decides."""
    plugins = plugin_versions(used_entries(config, registry))
    return {
        "seed": config.run.seed,
        "training": config.final.seed,
        "benchmark": benchmark_hash(config),
        "budget": parse_budget(config.run.budget) if config.run.budget else None,
        "values": config.values(),
        "versions": {**versions(), **plugins},
        "device": device,
    }


def bill_of(ledger: Ledger, finalists: int) -> Bill:
    """Return what a run cost; retraining is shared out evenly among its finalists."""
    retrain = ledger.phases.get(RETRAIN, Cost())
    others = _share(retrain, max(0, finalists - 1), max(1, finalists))
    return Bill(
        phases={p: c for p, c in ledger.phases.items() if p not in OUTSIDE_BUDGET},
        validation=others,
        final=retrain - others + ledger.phases.get(EVALUATE, Cost()),
        failed=ledger.failed,
        repeated=ledger.repeated,
    )


def cell_of_run(folder: Path, row: str, registry: Registry, unit: str = "") -> Cell | None:
    """Return what a finished run came to; None where it is not finished.

    Args:
        folder: of the run.
        row: label of the cell's row.
        registry: must hold the run's components.
        unit: of incumbents; empty: that of the run's budget, else MACs.

    Raises:
        RunFolderError: no run, or damaged.
    """
    held = RunFolder.open(folder)
    generation = held.latest()
    if generation is None:
        return None
    result = finished_result(held, generation)
    if result is None:
        return None
    config = saved_config(held, registry, None)
    diary = diary_of_run(held, unit or _unit(config))
    ledger = Ledger()
    ledger.load_state_dict(generation.states["ledger"])
    ledger.repeated = repeated_work(held)
    ok = result.architecture is not None
    facts = settings_of_cell(config, registry, str(held.document.get("device", "")))
    return Cell(
        row=row,
        status="ok" if ok else "failed",
        reason="" if ok else "no valid architecture was found",
        codes=result.codes,
        metrics=result.metrics,
        bill=bill_of(ledger, len(diary.finalists)),
        folder=str(folder),
        **diary.into(**facts),
    )


def diary_of_run(held: RunFolder, unit: str) -> Diary:
    """Return what a run's journals tell of its search.

    Raises:
        RunFolderError: the journals are malformed.
    """
    diary = Diary(unit)
    trials = held.read("candidates")
    try:
        for event in held.read("events"):
            if event["type"] == "trial":
                record = next(trials)
                diary.trial(record, str(record["codes"]), spent_of(event, unit))
            elif event["type"] == "finalist":
                diary.finalist(event)
    except (KeyError, TypeError, ValueError, AttributeError, StopIteration) as error:
        raise RunFolderError(f"{held.path}: malformed journals: {error!r}") from None
    return diary


def lost_bill(folder: Path, error: str) -> Bill:
    """Return what a run that failed has cost, as far as its journal tells."""
    try:
        held = RunFolder.open(folder)
        last: Mapping[str, Any] = {}
        for event in held.read("events"):
            last = event
        spent = {**last.get("spent", {}), "seconds": last.get("time", {}).get("spent", 0.0)}
        cost = from_json(Cost, spent) if last else Cost()
    except RunFolderError:
        cost = Cost()
    return Bill(phases={"search": cost}, failed=cost)


def spent_of(event: Mapping[str, Any], unit: str) -> float:
    """Return what an event says was spent by then."""
    found = event["time"]["spent"] if unit == "seconds" else event["spent"][unit]
    return float(found)


def amount(cost: Cost, unit: str) -> float:
    """Return a cost in one unit."""
    return float(getattr(cost, unit))


def metrics_from(data: Mapping[str, Any]) -> dict[str, Metric]:
    """Return metrics from their JSON."""
    return {name: from_json(Metric, metric) for name, metric in data.items()}


def _unit(config: Config) -> str:
    return parse_budget(config.run.budget).unit if config.run.budget else "macs"


def _splits(metrics: Mapping[str, Any]) -> set[str]:
    return {m["card"]["split"] for m in metrics.values() if m["card"].get("split")}


def _fidelity(record: Mapping[str, Any], metric: Mapping[str, Any]) -> str:
    budget = record.get("budget")
    training = f"{budget['amount']:.15g} {budget['unit']}" if budget else "shared weights"
    return f"{training}, protocol {card_hash(_unseeded(metric['card']))}"


def _unseeded(card: Mapping[str, Any]) -> dict[str, Any]:
    """Return a card without what the seed changes in it: splits of data, trained extractors."""
    extra = {k: v for k, v in card["extra"].items() if k != "extractor_accuracy"}
    return {**card, "data": "", "weights": "", "extra": extra}


def _share(cost: Cost, part: int, whole: int) -> Cost:
    return Cost(
        cost.steps * part // whole,
        cost.images * part // whole,
        cost.macs * part // whole,
        cost.seconds * part / whole,
    )


def budget_text(budget: Budget | None) -> str:
    """Return a budget for a reader, e.g. ``200 GMACs``."""
    if budget is None:
        return "the strategy's own plan"
    if budget.unit == "macs":
        return f"{budget.amount / 1e9:,.4g} GMACs"
    return f"{budget.amount:,.15g} {budget.unit}"


def trial_json(trial: Any) -> dict[str, Any]:
    """Return the JSON of a trial's record."""
    found: dict[str, Any] = to_json(trial)
    return found
