"""What keeps two rows from standing in one table: found in the cells, told in one line each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from attrs import evolve, frozen

from nastk.comparing.cells import PEEKED, Cell
from nastk.comparing.collecting import amount
from nastk.comparing.planning import LEAST, Comparison, Plan, Row
from nastk.config import parse_budget
from nastk.metrics.cards import comparable
from nastk.records import Cost, MetricCard

Kind = Literal[
    "few-seeds",
    "missing-seed",
    "crashed",
    "unequal-budget",
    "unlike-benchmark",
    "unlike-cards",
    "peeked",
    "selection-on-test",
    "not-test",
]

BARRED: tuple[Kind, ...] = (
    "unlike-benchmark",
    "unlike-cards",
    "peeked",
    "selection-on-test",
    "not-test",
)
"""What makes a row's numbers mean something else: it is shown apart and tested against nobody."""

HARMLESS: tuple[Kind, ...] = ("crashed",)
"""What is told, and counted, and leaves the row comparable."""


@frozen
class Problem:
    """One thing that is wrong with a row.

    Attributes:
        kind: of the problem.
        text: one line.
    """

    kind: Kind
    text: str


Found = Mapping[int, Cell]
"""Seed → the cell of a row's search."""


def problems_of(
    plan: Plan,
    table: Comparison,
    row: Row,
    found: Mapping[str, Found],
    reference: str,
    metric: str,
) -> list[Problem]:
    """Return what is wrong with a row.

    Args:
        plan: of the comparison.
        table: that the row stands in.
        row: the row.
        found: label → the row's cells.
        reference: label of the row whose benchmark, cards and spending the others are held to.
        metric: that decides.
    """
    mine, theirs = found[row.label], found.get(reference, {})
    problems = [*_seeds(table, mine), *_benchmark(table, mine), *_tests(mine)]
    problems += _cards(mine, theirs, metric)
    if row.role != "sampling":
        held = next((r for r in table.rows if r.label == reference), row)
        problems += _budget(plan, table, (row, mine), (held, theirs))
    return problems


def spent(row: Row, cell: Cell, unit: str) -> float:
    """Return what finding a row's winner cost: k · (search + validation), failed work included."""
    once = amount(cell.bill.search, unit) + amount(cell.bill.validation, unit)
    return (1 + row.tuned) * once


def mean_cost(costs: Sequence[Cost]) -> Cost:
    """Return the mean of costs; nothing of none."""
    total, n = sum(costs, start=Cost()), max(1, len(costs))
    return Cost(
        total.steps // n,
        total.images // n,
        total.macs // n,
        total.seconds / n,
    )


def _seeds(table: Comparison, mine: Found) -> Iterator[Problem]:
    if len(table.seeds) < LEAST:
        yield Problem("few-seeds", f"{len(table.seeds)} seeds, expected at least {LEAST}")
    missing = [str(seed) for seed in table.seeds if seed not in mine]
    if missing:
        told = f"seed {', '.join(missing)} missing: counted as worst"
        yield Problem("missing-seed", told)
    crashed: dict[str, list[str]] = {}
    for seed, cell in sorted(mine.items()):
        if cell.status == "failed":
            crashed.setdefault(cell.reason, []).append(str(seed))
    for reason, seeds in crashed.items():
        told = f"seed {', '.join(seeds)} failed, counted as worst: {reason}"
        yield Problem("crashed", told)
    for seed, cell in sorted(mine.items()):
        if cell.status == PEEKED:
            yield Problem("peeked", f"seed {seed}: the search opened the test split")


def _benchmark(table: Comparison, mine: Found) -> Iterator[Problem]:
    others = sorted({c.benchmark for c in mine.values()} - {table.benchmark})
    if others:
        told = f"benchmark {', '.join(others)}, the table's is {table.benchmark}"
        yield Problem("unlike-benchmark", told)


def _tests(mine: Found) -> Iterator[Problem]:
    cells = mine.values()
    if any("test" in cell.search_splits for cell in cells):
        yield Problem("peeked", "scores of the search were measured on the test split")
    if any("test" in cell.choice_splits for cell in cells):
        yield Problem("selection-on-test", "the winner was chosen on the test split")


def _cards(mine: Found, theirs: Found, metric: str) -> Iterator[Problem]:
    """Hold the cards of each seed against the reference's, or against the row's own first."""
    for seed, cell in sorted(mine.items()):
        measured = cell.metrics.get(metric)
        if measured is None:
            continue
        if measured.card.split and measured.card.split != "test":
            yield Problem("not-test", f"seed {seed} was measured on {measured.card.split}")
        other = theirs[seed].metrics.get(metric) if seed in theirs else None
        if other is None:
            continue
        lines = comparable(_plain(measured.card), _plain(other.card))
        if lines:
            yield Problem("unlike-cards", f"seed {seed}: {metric}: {'; '.join(lines)}")
            return


def _plain(card: MetricCard) -> MetricCard:
    """Return a card without what repeats within a seed but may round differently."""
    extra = {k: v for k, v in card.extra.items() if k != "extractor_accuracy"}
    return evolve(card, extra=extra)


def _budget(
    plan: Plan, table: Comparison, own: tuple[Row, Found], held: tuple[Row, Found]
) -> Iterator[Problem]:
    mine = _mean_spent(*own, table.unit)
    if table.budget:
        limit = parse_budget(table.budget).amount
        if mine > (1 + plan.tolerance) * limit:
            yield Problem("unequal-budget", f"spent {mine / limit - 1:.0%} more than the budget")
            return
    theirs = _mean_spent(*held, table.unit)
    if theirs and mine > (1 + plan.tolerance) * theirs and held[0].label != own[0].label:
        share = mine / theirs - 1
        yield Problem("unequal-budget", f"spent {share:.0%} more than {held[0].label}")


def _mean_spent(row: Row, found: Found, unit: str) -> float:
    if row.role == "sampling" or not found:
        return 0.0
    return sum(spent(row, cell, unit) for cell in found.values()) / len(found)
