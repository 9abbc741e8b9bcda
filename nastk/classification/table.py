"""What the cells of a comparison came to: means, deviations and paired tests."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import asdict, evolve, frozen

from nastk.classification.cells import GAN, METHODS, Cell
from nastk.records import Cost
from nastk.result import Result
from nastk.stages import RETRAIN

LEVEL = 0.05
"""Error rate of all comparisons of one table together (Holm 1979)."""

Results = Sequence[tuple[Cell, Result]]


@frozen
class Row:
    """One method at one label budget, over the seeds that came to an end.

    Attributes:
        labels: the budget.
        method: how D was trained.
        seeds: that came to an end.
        failed: seeds whose training diverged or collapsed.
        accuracy: on the test split, one per seed, 0 to 1.
        balanced_accuracy: mean of the classes' own, likewise.
        visible: labels that could be seen, one per seed.
        steps: updates of D (and of G, where it is trained), of the first seed.
        images: real images shown, of the first seed.
        macs: of one training, the first seed's.
    """

    labels: float
    method: str
    seeds: tuple[int, ...]
    failed: tuple[int, ...]
    accuracy: tuple[float, ...]
    balanced_accuracy: tuple[float, ...]
    visible: tuple[int, ...]
    steps: int
    images: int
    macs: int


@frozen
class Comparison:
    """The GAN against one baseline at one label budget, seed by seed.

    Attributes:
        labels: the budget.
        baseline: compared with.
        pairs: seeds that both finished.
        difference: mean of accuracy minus the baseline's; None without pairs.
        p: of the paired t-test, two-sided; None where it cannot be made.
        verdict: ``better``, ``worse``, ``not distinguishable`` or ``too few seeds``, after Holm.
    """

    labels: float
    baseline: str
    pairs: int
    difference: float | None
    p: float | None
    verdict: str


def rows(results: Results, visible: Mapping[str, int]) -> list[Row]:
    """Return the rows of the table, in the order of the cells.

    Args:
        results: of all cells.
        visible: name of a cell → labels that could be seen.
    """
    order = dict.fromkeys((cell.labels, method) for cell, _ in results for method in METHODS)
    return [
        _row(
            key,
            [(cell, result) for cell, result in results if (cell.labels, cell.method) == key],
            visible,
        )
        for key in order
    ]


def _row(key: tuple[float, str], found: Results, visible: Mapping[str, int]) -> Row:
    good = [(cell, result) for cell, result in found if _value(result, "accuracy") is not None]
    cost = good[0][1].ledger.get(RETRAIN, Cost()) if good else Cost()
    return Row(
        *key,
        seeds=tuple(cell.seed for cell, _ in good),
        failed=tuple(c.seed for c, r in found if _value(r, "accuracy") is None),
        accuracy=tuple(_value(result, "accuracy") or 0.0 for _, result in good),
        balanced_accuracy=tuple(_value(result, "balanced_accuracy") or 0.0 for _, result in good),
        visible=tuple(visible[cell.name] for cell, _ in good),
        steps=cost.steps,
        images=cost.images,
        macs=cost.macs,
    )


def _value(result: Result, name: str) -> float | None:
    metric = result.metrics.get(name)
    return None if metric is None else metric.value


def comparisons(table: Sequence[Row]) -> list[Comparison]:
    """Return the GAN's row of each label budget against its baselines' rows."""
    gans = {row.labels: row for row in table if row.method == GAN}
    raw = [_compared(gans[row.labels], row) for row in table if row.method != GAN]
    return _judged(raw)


def _compared(gan: Row, other: Row) -> Comparison:
    mine = dict(zip(gan.seeds, gan.accuracy, strict=True))
    theirs = dict(zip(other.seeds, other.accuracy, strict=True))
    differences = [mine[seed] - theirs[seed] for seed in mine if seed in theirs]
    mean = statistics.fmean(differences) if differences else None
    p = paired_p(differences)
    return Comparison(other.labels, other.method, len(differences), mean, p, "")


def paired_p(differences: Sequence[float]) -> float | None:
    """Return the two-sided p-value of Student's paired t-test; None where it cannot be made.

    Args:
        differences: one per pair; with fewer than two, or all equal and not 0, there is no test.
    """
    if len(differences) < 2:
        return None
    mean, deviation = statistics.fmean(differences), statistics.stdev(differences)
    if deviation == 0:
        return 1.0 if mean == 0 else None
    from scipy.special import stdtr  # type: ignore[import-untyped]

    t = mean / (deviation / math.sqrt(len(differences)))
    return float(2 * stdtr(len(differences) - 1, -abs(t)))


def _judged(raw: Sequence[Comparison]) -> list[Comparison]:
    """Return the comparisons with verdicts that hold together at :data:`LEVEL`."""
    tested = sorted((c.p, i) for i, c in enumerate(raw) if c.p is not None)
    clear: set[int] = set()
    for rank, (p, i) in enumerate(tested):
        if p > LEVEL / (len(tested) - rank):
            break
        clear.add(i)
    return [evolve(c, verdict=_verdict(c, i in clear)) for i, c in enumerate(raw)]


def _verdict(comparison: Comparison, clear: bool) -> str:
    if comparison.p is None or comparison.difference is None:
        return "too few seeds"
    if not clear:
        return "not distinguishable"
    return "better" if comparison.difference > 0 else "worse"


def spread(values: Sequence[float], scale: float = 100.0, digits: int = 1) -> str:
    """Return mean ± standard deviation (n - 1) as text; ``none`` without values."""
    if not values:
        return "none"
    text = f"{statistics.fmean(values) * scale:,.{digits}f}"
    if len(values) > 1:
        text += f" ± {statistics.stdev(values) * scale:,.{digits}f}"
    return text


def document(
    table: Sequence[Row], compared: Sequence[Comparison], audits: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return everything as JSON data."""
    return {
        "rows": [asdict(row) for row in table],
        "comparisons": [asdict(c) for c in compared],
        "test": f"paired t-test over seeds, two-sided, Holm at {LEVEL:g} over all comparisons",
        "audit": {
            "passed": all(audit["passed"] for audit in audits),
            "cells": [dict(audit) for audit in audits],
        },
    }
