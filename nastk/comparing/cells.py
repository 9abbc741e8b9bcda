"""What one search of a comparison came to: the record that everything else is computed from."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

from attrs import field, frozen

from nastk.config import Config
from nastk.records import Budget, Cost, Direction, Metric, MetricCard, digest

SCHEMA_KIND = "cell"

PEEKED = "peeked"
"""Status of a cell whose strategy opened the test split."""

BENCHMARK = ("space", "dataset", "objective", "trainer", "evaluator")
"""Sections that make the benchmark; passes and the final training belong to it too."""

PLACES = ("root", "download", "path", "inception_weights", "inception_download", "workers")
"""Settings that say where things lie; they change no number."""

FREE = ("final.seed", "final.evaluate")
"""Settings of the final training that may differ within a benchmark."""

Status = Literal["ok", "failed", "peeked"]


def _freeze(value: Mapping[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType(dict(value))


@frozen
class Incumbent:
    """A new best score of a search.

    Attributes:
        spent: in the ledger when it was found, in the comparison's unit.
        score: by the search's own measure, at its fidelity.
        fidelity: training behind it and hash of its card; scores of unlike ones do not compare.
    """

    spent: float
    score: float
    fidelity: str


@frozen
class Rated:
    """A candidate that a search has scored.

    Attributes:
        codes: of the architecture.
        score: as the search saw it.
        fidelity: as of :class:`Incumbent`.
    """

    codes: str
    score: float
    fidelity: str


@frozen
class Bill:
    """What a cell cost, by the ledger.

    Attributes:
        phases: of the search, each with its cost.
        validation: of retraining finalists that were not chosen.
        final: of retraining and measuring the winner.
        failed: a part of all these: work on candidates that failed.
        repeated: work done again after kills, on top of all these.
    """

    phases: Mapping[str, Cost] = field(converter=_freeze, factory=dict, hash=False)
    validation: Cost = field(factory=Cost)
    final: Cost = field(factory=Cost)
    failed: Cost = field(factory=Cost)
    repeated: Cost = field(factory=Cost)

    @property
    def search(self) -> Cost:
        """The sum of the search's phases."""
        return sum(self.phases.values(), start=Cost())


@frozen
class Cell:
    """One strategy with one seed, finished or failed.

    Attributes:
        row: label of the strategy with its settings.
        seed: of the search, which also splits the data.
        training: number of the training of the winner, 0 for the search's own.
        status: ``ok``, ``failed``, or ``peeked``: the test split was opened by the search.
        reason: one line of why it is not ``ok``.
        benchmark: hash of data, space, training pipeline and evaluator.
        codes: of the winner.
        metrics: of the winner, with their cards.
        bill: by the ledger.
        budget: of the search; None: the strategy's own plan.
        candidates: tried.
        failures: of them, failed.
        score: name of the search's score; empty where it tells none.
        direction: of the score.
        incumbents: in order.
        rated: candidates with their scores, at most :data:`MAX_RATED`.
        search_splits: splits that scores of the search were measured on.
        choice_splits: splits that the choice among finalists was made on.
        values: the configuration, dotted key → value.
        versions: of Python, libraries and plugins.
        device: where it ran.
        folder: of the run; empty for cells without one.
    """

    row: str
    seed: int
    training: int
    status: Status
    benchmark: str
    reason: str = ""
    codes: str = ""
    metrics: Mapping[str, Metric] = field(converter=_freeze, factory=dict, hash=False)
    bill: Bill = field(factory=Bill)
    budget: Budget | None = None
    candidates: int = 0
    failures: int = 0
    score: str = ""
    direction: Direction = "minimise"
    incumbents: tuple[Incumbent, ...] = ()
    rated: tuple[Rated, ...] = ()
    search_splits: tuple[str, ...] = ()
    choice_splits: tuple[str, ...] = ()
    values: Mapping[str, Any] = field(converter=_freeze, factory=dict, hash=False)
    versions: Mapping[str, str] = field(converter=_freeze, factory=dict, hash=False)
    device: str = ""
    folder: str = ""

    @property
    def name(self) -> str:
        """The cell's file name without ending."""
        return cell_name(self.row, self.seed, self.training)

    def value(self, metric: str) -> float | None:
        """Return a metric of the winner; None where the cell has none."""
        found = self.metrics.get(metric)
        return found.value if found is not None and self.status == "ok" else None


MAX_RATED = 64
"""Candidates of a cell that are kept with their scores."""


def cell_name(row: str, seed: int, training: int = 0) -> str:
    """Return the file name of a cell, without ending."""
    return f"{row}-seed{seed}" + (f"-training{training}" if training else "")


def benchmark_facts(config: Config) -> dict[str, Any]:
    """Return what makes two cells members of one benchmark, as plain JSON data.

    The seed, the budget and everything of the strategy are no part of it.
    """
    values = config.values()
    kept = {key: value for key, value in values.items() if _belongs(key)}
    return {key: kept[key] for key in sorted(kept)}


def benchmark_hash(config: Config) -> str:
    """Return twelve hex digits; equal for cells that may share a table."""
    return digest(benchmark_facts(config))[:12]


def card_hash(card: MetricCard | Mapping[str, Any]) -> str:
    """Return six hex digits that tell protocols apart."""
    from nastk.records import to_json

    return digest(to_json(card) if isinstance(card, MetricCard) else dict(card))[:6]


def _belongs(key: str) -> bool:
    section, _, name = key.partition(".")
    if section == "run":
        return name in (*BENCHMARK, "passes")
    if section == "final":
        return key not in FREE
    return (section in BENCHMARK or section.startswith("pass-")) and name not in PLACES
