"""How well the scores of a search foretell what its candidates come to when trained alone."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from nastk.comparing.cells import Cell
from nastk.comparing.planning import Comparison
from nastk.comparing.statistics import Interval, kendall_interval, top_recall
from nastk.comparing.store import Store
from nastk.randomness import Randomness

ENOUGH = 20
"""Candidates without which an order says little."""

TOP = 5
"""Of how many of the truly best the share is told that the search ranks among its best."""

MARK = "-proxy"


@frozen
class Foresight:
    """How a row's search-time scores agree with stand-alone scores.

    Attributes:
        row: label.
        seed: of the search.
        score: name of the search's score.
        count: candidates that were trained alone.
        failed: of them, failed.
        tau: Kendall's tau-b with its interval; None where nothing is ordered.
        recall: share of the truly best :data:`TOP` among the search's best.
        pairs: (search-time score, stand-alone score), smaller is better.
    """

    row: str
    seed: int
    score: str
    count: int
    failed: int
    tau: Interval | None
    recall: float
    pairs: tuple[tuple[float, float], ...]


def foresights(store: Store, table: Comparison) -> list[Foresight]:
    """Return the foresight of each row whose candidates were trained alone."""
    cells = dict(store.cells(table))
    groups: dict[str, list[Cell]] = {}
    for name, cell in cells.items():
        if MARK in name:
            groups.setdefault(name.rpartition(MARK)[0], []).append(cell)
    return [found for name, alone in groups.items() if name in cells
            if (found := foresight(cells[name], alone)) is not None]  # fmt: skip


def foresight(search: Cell, alone: Sequence[Cell]) -> Foresight | None:
    """Return how the scores of ``search`` agree with trainings of its candidates.

    None of fewer than two that can be compared.
    """
    scores = {candidate.codes: candidate.score for candidate in search.rated}
    sign = 1.0 if search.direction == "minimise" else -1.0
    pairs = []
    for cell in alone:
        value = cell.value(search.score)
        if value is not None and cell.codes in scores:
            pairs.append((sign * scores[cell.codes], sign * value))
    if len(pairs) < 2:
        return None
    first, second = ([pair[i] for pair in pairs] for i in (0, 1))
    rng = Randomness(0).numpy(f"proxy/{search.row}")
    return Foresight(
        row=search.row,
        seed=search.seed,
        score=search.score,
        count=len(pairs),
        failed=len(alone) - len(pairs),
        tau=kendall_interval(first, second, rng),
        recall=top_recall(first, second, min(TOP, len(pairs))),
        pairs=tuple(pairs),
    )
