"""What a table says of itself: noise, fidelities, effects. NumPy only."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from nastk_bench.protocol import MEASURED
from nastk_bench.table import Table

Numbers = NDArray[np.float64]

DRAWS = 1000
"""Bootstrap samples of members."""


@frozen
class Interval:
    """A number with its 95 % bootstrap interval over members."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


@frozen
class Effect:
    """What one option of a decision goes with.

    Attributes:
        decision: name.
        option: of it; empty where the decision does not matter.
        members: that have it.
        mean: of their log FD, averaged over seeds; trainings that failed are left out.
        failed: share of their trainings that failed.
    """

    decision: str
    option: str
    members: int
    mean: float
    failed: float


def kendall(x: Numbers, y: Numbers) -> float:
    """Return Kendall's tau-b of two rows of numbers; NaN counts as worse (larger) than all.

    Args:
        x: ``(N,)``, N >= 2.
        y: ``(N,)``.

    Returns:
        -1 to 1; NaN where one of them is constant.

    Source: M. Kendall 1945, The treatment of ties in ranking problems.
    """
    a, b = (np.sign(_worst(v)[:, None] - _worst(v)[None, :]) for v in (x, y))
    pairs = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / pairs if pairs else float("nan")


def _worst(values: Numbers) -> Numbers:
    known = values[~np.isnan(values)]
    top = float(known.max()) + 1.0 if len(known) else 0.0
    return np.where(np.isnan(values), top, values)


def bootstrap(
    statistic: Callable[[NDArray[np.int64]], float], size: int, draws: int = DRAWS
) -> Interval:
    """Return a statistic of all rows and its percentile interval over drawn rows.

    Args:
        statistic: of the indices ``(size,)`` of some rows.
        size: number of rows.
        draws: samples, always the same ones.
    """
    rng = np.random.Generator(np.random.PCG64(0))
    found = [statistic(rng.integers(size, size=size)) for _ in range(draws)]
    low, high = np.nanquantile(found, [0.025, 0.975])
    return Interval(statistic(np.arange(size)), float(low), float(high))


def rank_agreement(x: Numbers, y: Numbers, draws: int = DRAWS) -> Interval:
    """Return tau-b of two rows ``(N,)``, with its interval."""
    a, b = (np.sign(_worst(v)[:, None] - _worst(v)[None, :]).astype(np.float32) for v in (x, y))

    def tau(rows: NDArray[np.int64]) -> float:
        p, q = a[np.ix_(rows, rows)], b[np.ix_(rows, rows)]
        pairs = float(np.sqrt(float((p * p).sum()) * float((q * q).sum())))
        return float((p * q).sum()) / pairs if pairs else float("nan")

    return bootstrap(tau, len(x), draws)


def between_seeds(scores: Numbers) -> float:
    """Return the mean tau between any two seeds' scores, ``(M, S)`` with S >= 2."""
    pairs = combinations(range(scores.shape[1]), 2)
    return float(np.mean([kendall(scores[:, i], scores[:, j]) for i, j in pairs]))


def spreads(scores: Numbers) -> tuple[float, float]:
    """Return the standard deviation between seeds of a member, and between members' true means.

    The latter is what is left of the variance of means when the noise in them is taken off.
    Members with a failed training are left out.

    Args:
        scores: ``(members, seeds)``, NaN where a training failed.
    """
    whole = scores[~np.isnan(scores).any(1)]
    within = float(np.mean(whole.var(1, ddof=1)))
    between = float(whole.mean(1).var(ddof=1)) - within / whole.shape[1]
    return within**0.5, max(0.0, between) ** 0.5


def reliability(scores: Numbers, seeds: int) -> float:
    """Return the share of the variance of means over so many seeds that is not noise.

    Args:
        scores: as for :func:`spreads`, ``(members, seeds)``.
        seeds: >= 1.
    """
    within, between = spreads(scores)
    return between**2 / (between**2 + within**2 / seeds)


def of_fidelities(table: Table) -> list[tuple[int, float]]:
    """Return per fidelity the mean tau of one seed there with the mean of the others at the end."""
    column = MEASURED.index("log_fd")
    last = table.scores()
    found = []
    for index, steps in enumerate(table.protocol.fidelities):
        taus = []
        for seed in range(table.seeds):
            others = np.delete(last, seed, axis=1).mean(1)
            taus.append(kendall(table.validation[:, seed, index, column], others))
        found.append((steps, float(np.mean(taus))))
    return found


def effects(table: Table) -> list[Effect]:
    """Return what each option of each decision goes with, in code order."""
    scores, members = table.scores(), [table.space.parse(c).choices for c in table.codes]
    found = []
    for decision in table.space.decisions:
        chosen = np.array([choices.get(decision.name, "") for choices in members])
        for option in ("", *decision.options):
            rows = scores[chosen == option]
            if len(rows):
                known = rows[~np.isnan(rows)]
                mean = float(known.mean()) if len(known) else float("nan")
                failed = float(np.isnan(rows).mean())
                found.append(Effect(decision.name, option, len(rows), mean, failed))
    return found
