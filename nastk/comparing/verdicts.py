"""What the cells of a table support: results, cost, and each row's standing to the baselines."""

from __future__ import annotations

import statistics as plain
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from attrs import evolve, field, frozen

from nastk.comparing.cells import Cell
from nastk.comparing.planning import LABELS, LEAST, Comparison, Plan, Row
from nastk.comparing.problems import (
    BARRED,
    HARMLESS,
    Found,
    Problem,
    mean_cost,
    problems_of,
    spent,
)
from nastk.comparing.samples import Scale, choose_metric, raw, sample, scale_of
from nastk.comparing.statistics import (
    LEVEL,
    Interval,
    holm,
    mean_interval,
    paired_p,
    relative_improvement,
    superiority,
    variance_split,
)
from nastk.randomness import Randomness
from nastk.records import Cost

if TYPE_CHECKING:
    import numpy as np

NOT_DISTINGUISHABLE = "not distinguishable"
NOT_COMPARABLE = "not comparable"
TOO_FEW = "too few seeds"
ITSELF = "the baseline"
NO_BASELINE = "no baseline"


@frozen
class Standing:
    """A row against random search.

    Attributes:
        effect: ratio (or difference) of its values to those of random search.
        p: two-sided, of the paired test.
        corrected: p after Holm's correction for all rows of the table.
        beats: probability that it is better than random search.
    """

    effect: Interval
    p: float
    corrected: float
    beats: Interval


@frozen
class Judged:
    """A row of the table.

    Attributes:
        label: of the row.
        role: contestant, or which baseline.
        values: of each seed of the table, None where it crashed or is missing.
        mean: of the values, those that are None counted as the worst.
        deviation: standard deviation likewise; None of one seed.
        median: likewise.
        search: mean cost of the search.
        validation: mean cost of retraining finalists that were not chosen.
        final: mean cost of retraining and measuring the winner.
        failed: mean cost of failed work, a part of the others.
        repeated: mean cost of work done again after kills.
        k: searches that are counted: one, and those spent on tuning.
        spent: mean of k · (search + validation) in the table's unit.
        overrun: share of the budget that was spent beyond it; negative below; None without.
        word: the verdict.
        standing: against random search; None where it has none.
        improvement: over random sampling, a share; None where it has none.
        split: variance between search seeds and between training seeds; None without repeats.
        problems: what is wrong with it.
        absent: why the row has no cells.
    """

    label: str
    role: str
    values: tuple[float | None, ...] = ()
    mean: float | None = None
    deviation: float | None = None
    median: float | None = None
    search: Cost = field(factory=Cost)
    validation: Cost = field(factory=Cost)
    final: Cost = field(factory=Cost)
    failed: Cost = field(factory=Cost)
    repeated: Cost = field(factory=Cost)
    k: int = 1
    spent: float = 0.0
    overrun: float | None = None
    word: str = ""
    standing: Standing | None = None
    improvement: Interval | None = None
    split: tuple[float, float] | None = None
    problems: tuple[Problem, ...] = ()
    absent: str = ""

    @property
    def barred(self) -> bool:
        """Whether its numbers mean something else than the table's."""
        return any(problem.kind in BARRED for problem in self.problems)


@frozen
class Verdict:
    """A table, judged.

    Attributes:
        name: of the table.
        benchmark: its hash.
        scale: of the deciding metric; None where nothing was measured.
        rows: in the order of the plan.
        seeds: of every row.
        unit: in which budgets are counted.
        budget: as text.
        baselines: whether they are in.
    """

    name: str
    benchmark: str
    scale: Scale | None
    rows: tuple[Judged, ...]
    seeds: tuple[int, ...]
    unit: str
    budget: str
    baselines: bool

    @property
    def troubles(self) -> list[str]:
        """A line for everything that keeps the table from being a fair comparison."""
        told = [
            f"{row.label}: {problem.text}"
            for row in self.rows
            for problem in row.problems
            if problem.kind not in HARMLESS
        ]
        if self.scale is None:
            told.append("nothing was measured")
        return [f"{self.name}: {line}" for line in told]


def judge(plan: Plan, table: Comparison, cells: Sequence[Cell]) -> Verdict:
    """Return what the cells of a table support.

    The same cells give the same numbers: the bootstrap draws from streams of its own.

    Args:
        plan: of the comparison.
        table: one of its tables.
        cells: all that came to an end, trainings of winners too, those for a proxy not.
    """
    found: dict[str, dict[int, Cell]] = {row.label: {} for row in table.rows}
    for cell in cells:
        if cell.training == 0 and cell.row in found:
            found[cell.row][cell.seed] = cell
    own = [cell for held in found.values() for cell in held.values()]
    metric = choose_metric(own, plan.metric)
    reference = _reference(table)
    problems = {
        row.label: tuple(problems_of(plan, table, row, found, reference, metric))
        for row in table.rows
        if not row.absent
    }
    fair = [c for c in own if not any(p.kind in BARRED for p in problems.get(c.row, ()))]
    scale = scale_of(fair, metric) or scale_of(own, metric)
    rows = [_described(table, row, found[row.label], problems.get(row.label, ()), scale)
            for row in table.rows]  # fmt: skip
    if scale is not None:
        rows = _ranked(table, rows, found, scale)
        rows = [evolve(row, split=_split(row.label, cells, scale)) for row in rows]
    return Verdict(table.name, table.benchmark, scale, tuple(rows), table.seeds, table.unit,
                   table.budget, plan.baselines)  # fmt: skip


def _reference(table: Comparison) -> str:
    """Return the row that others are held against: random search, else the first."""
    present = [row for row in table.rows if not row.absent]
    search = [row.label for row in present if row.role == "search"]
    return next(iter([*search, *(row.label for row in present)]), "")


def _described(
    table: Comparison, row: Row, found: Found, problems: tuple[Problem, ...], scale: Scale | None
) -> Judged:
    """Return a row's own numbers."""
    cells = list(found.values())
    judged = Judged(row.label, row.role, k=1 + row.tuned, problems=problems, absent=row.absent)
    if row.absent or not cells:
        return judged
    outlay = sum(spent(row, cell, table.unit) for cell in cells) / len(cells)
    bills = [cell.bill for cell in cells]
    judged = evolve(
        judged,
        search=mean_cost([b.search for b in bills]),
        validation=mean_cost([b.validation for b in bills]),
        final=mean_cost([b.final for b in bills]),
        failed=mean_cost([b.failed for b in bills]),
        repeated=mean_cost([b.repeated for b in bills]),
        spent=outlay,
        overrun=_overrun(table, row, outlay),
    )
    if scale is None:
        return judged
    values = raw(scale, table.seeds, found)
    known = [scale.worst if value is None else value for value in values]
    deviation = plain.stdev(known) if len(known) > 1 else None
    return evolve(judged, values=tuple(values), mean=plain.fmean(known), deviation=deviation,
                  median=plain.median(known))  # fmt: skip


def _overrun(table: Comparison, row: Row, outlay: float) -> float | None:
    from nastk.config import parse_budget

    if not table.budget or row.role == "sampling":
        return None
    return outlay / parse_budget(table.budget).amount - 1


def _ranked(
    table: Comparison, rows: Sequence[Judged], found: Mapping[str, Found], scale: Scale
) -> list[Judged]:
    """Return the rows with their standing against the baselines, and in words."""
    samples = {
        row.label: sample(scale, table.seeds, found[row.label])
        for row in rows
        if not row.absent and not row.barred and found[row.label]
    }
    search, sampling = samples.get(LABELS["search"]), samples.get(LABELS["sampling"])
    enough = len(table.seeds) >= LEAST
    tested = [row.label for row in rows if row.label in samples and row.role != "search"]
    standings: dict[str, Standing] = {}
    if search is not None and enough and tested:
        standings = _standings({label: samples[label] for label in tested}, search, scale)
    ranked = []
    for row in rows:
        own = samples.get(row.label)
        improved = None
        if own is not None and sampling is not None and enough and row.role != "sampling":
            improved = _improvement(row.label, table.seeds, found, scale)
        standing = standings.get(row.label)
        word = _word(row, own is not None, enough, search is not None, standing, scale)
        ranked.append(evolve(row, standing=standing, improvement=improved, word=word))
    return ranked


def _standings(
    samples: Mapping[str, Sequence[float]], search: Sequence[float], scale: Scale
) -> dict[str, Standing]:
    labels = list(samples)
    differences = [[a - b for a, b in zip(samples[x], search, strict=True)] for x in labels]
    p = [float(v) for v in paired_p(differences)]
    corrected = holm(p)
    found = {}
    for i, label in enumerate(labels):
        interval = mean_interval(differences[i], _stream("effect", label))
        ends = sorted((scale.effect(interval.low), scale.effect(interval.high)))
        effect = Interval(scale.effect(interval.value), ends[0], ends[1])
        beats = superiority(samples[label], search, _stream("beats", label))
        found[label] = Standing(effect, p[i], corrected[i], beats)
    return found


def _improvement(
    label: str, seeds: Sequence[int], found: Mapping[str, Found], scale: Scale
) -> Interval | None:
    if not scale.ratio:
        return None
    own, drawn = (
        [scale.worst if v is None else v for v in raw(scale, seeds, found[name])]
        for name in (label, LABELS["sampling"])
    )
    rng = _stream("improvement", label)
    gained = relative_improvement(own, drawn, rng)
    if gained is None or scale.direction == "minimise":
        return gained
    return Interval(-gained.value, -gained.high, -gained.low)


def _word(
    row: Judged,
    measured: bool,
    enough: bool,
    baseline: bool,
    standing: Standing | None,
    scale: Scale,
) -> str:
    kinds = {problem.kind for problem in row.problems}
    if row.absent:
        return "left out"
    if row.barred or not measured or "missing-seed" in kinds:
        return NOT_COMPARABLE
    if not enough:
        return TOO_FEW
    if row.role == "search":
        return ITSELF
    if not baseline or standing is None:
        return NO_BASELINE
    none = 1.0 if scale.ratio else 0.0
    inside = standing.effect.low <= none <= standing.effect.high
    if inside or standing.corrected >= LEVEL:
        return NOT_DISTINGUISHABLE
    better = (standing.effect.value < none) == (scale.direction == "minimise")
    if "unequal-budget" in kinds and better:
        return f"{NOT_COMPARABLE}: better, but at a larger budget"
    return "better than random search" if better else "worse than random search"


def _split(label: str, cells: Sequence[Cell], scale: Scale) -> tuple[float, float] | None:
    groups: dict[int, list[float]] = {}
    for cell in cells:
        value = cell.value(scale.metric)
        if cell.row == label and value is not None and (value > 0 or not scale.ratio):
            groups.setdefault(cell.seed, []).append(scale.badness(value))
    return variance_split(list(groups.values()))


def _stream(what: str, label: str) -> np.random.Generator:
    return Randomness(0).numpy(f"{what}/{label}")
