"""What paired samples support: intervals, tests, orders and shares of variance; NumPy and SciPy.

Every function is plain mathematics on numbers of which smaller is better.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import frozen

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

LEVEL = 0.05
"""Error rate of tests, and one minus the coverage of intervals."""

RESAMPLES = 10_000
"""Draws of a bootstrap."""

SMALL = 8
"""Below so many pairs an interval of the bootstrap is widened to that of Student."""


@frozen
class Interval:
    """An estimate with its 95 % interval.

    Attributes:
        value: the estimate.
        low: lower end.
        high: upper end.
    """

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether both ends are on one side of zero."""
        return self.low > 0 or self.high < 0


def resample(n: int, rng: np.random.Generator, resamples: int = RESAMPLES) -> NDArray[Any]:
    """Return ``(resamples, n)`` weights of a bootstrap, each row summing to 1; ``rng`` advances."""
    return rng.multinomial(n, np.full(n, 1 / n), size=resamples) / n


def mean_intervals(samples: ArrayLike, weights: NDArray[Any]) -> tuple[Any, Any]:
    """Return the ends of 95 % intervals of means by the bootstrap, one of each row.

    Args:
        samples: ``(M, n)``, n >= 2.
        weights: of :func:`resample` for n.

    Returns:
        Two arrays of M: lower and upper ends.

    Source:
        Hesterberg 2015 (arXiv:1411.5279): percentiles expanded to the width that Student's
        distribution asks for. Differs: below :data:`SMALL` values, where resamples cannot leave
        the range of the few there are, the wider of this and Student's interval on each side.
    """
    from scipy import special  # type: ignore[import-untyped]

    rows = np.atleast_2d(np.asarray(samples, float))
    n = rows.shape[1]
    student = special.stdtrit(n - 1, 1 - LEVEL / 2)
    tail = special.ndtr(-student * math.sqrt(n / (n - 1)))
    low, high = np.quantile(rows @ weights.T, [tail, 1 - tail], axis=1)
    if n < SMALL:
        reach = student * rows.std(axis=1, ddof=1) / math.sqrt(n)
        low = np.minimum(low, rows.mean(axis=1) - reach)
        high = np.maximum(high, rows.mean(axis=1) + reach)
    return low, high


def mean_interval(sample: Sequence[float], rng: np.random.Generator) -> Interval:
    """Return mean and interval of one sample of at least two values; ``rng`` advances."""
    low, high = mean_intervals([sample], resample(len(sample), rng))
    return Interval(float(np.mean(sample)), float(low[0]), float(high[0]))


def paired_p(differences: ArrayLike) -> Any:
    """Return the two-sided p-values of paired t-tests, one of each row of ``(M, n)``.

    1 where no pair differs, 0 where all differ by the same.
    """
    from scipy import special

    rows = np.atleast_2d(np.asarray(differences, float))
    n = rows.shape[1]
    error = rows.std(axis=1, ddof=1) / math.sqrt(n)
    mean = rows.mean(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(mean == 0, 0.0, mean / error)
    return 2 * special.stdtr(n - 1, -np.abs(t))


def holm(values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number, in the given order.

    Source: Holm 1979, A simple sequentially rejective multiple test procedure.
    """
    order = sorted(range(len(values)), key=values.__getitem__)
    corrected, worst = [0.0] * len(values), 0.0
    for rank, index in enumerate(order):
        worst = max(worst, min(1.0, values[index] * (len(values) - rank)))
        corrected[index] = worst
    return corrected


def superiority(a: Sequence[float], b: Sequence[float], rng: np.random.Generator) -> Interval:
    """Return how probable it is that a value of ``a`` is smaller than one of ``b``; ties half.

    All pairs are compared. The interval resamples seeds, those of ``a`` and ``b`` together.

    Args:
        a: paired with ``b``, at least two values.
        b: of the same seeds.
        rng: advances.
    """
    x, y = np.asarray(a, float)[:, None], np.asarray(b, float)[None, :]
    wins = (x < y) + 0.5 * (x == y)
    weights = resample(len(a), rng)
    shares = np.einsum("ri,ij,rj->r", weights, wins, weights, optimize=True)
    low, high = np.quantile(shares, [LEVEL / 2, 1 - LEVEL / 2])
    return Interval(float(wins.mean()), float(low), float(high))


def relative_improvement(
    a: Sequence[float], b: Sequence[float], rng: np.random.Generator
) -> Interval | None:
    """Return by which share the mean of ``a`` is below that of ``b``; None unless all are > 0.

    Args:
        a: paired with ``b``, at least two values.
        b: of the same seeds, e.g. of random sampling.
        rng: advances.

    Source:
        Yang, Esperança & Carlucci 2020 (arXiv:1912.12522). Differs: for metrics of which
        smaller is better.
    """
    x, y = np.asarray(a, float), np.asarray(b, float)
    if min(x.min(), y.min()) <= 0:
        return None
    weights = resample(len(x), rng)
    low, high = np.quantile(1 - (weights @ x) / (weights @ y), [LEVEL / 2, 1 - LEVEL / 2])
    return Interval(float(1 - x.mean() / y.mean()), float(low), float(high))


def kendall(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Return Kendall's tau-b of two orders, -1 to 1; None where one of them orders nothing."""
    x, y = np.asarray(a, float), np.asarray(b, float)
    above = np.triu_indices(len(x), 1)
    dx, dy = (np.sign(v[:, None] - v[None, :])[above] for v in (x, y))
    scale = math.sqrt(float((dx != 0).sum()) * float((dy != 0).sum()))
    return float((dx * dy).sum() / scale) if scale else None


def kendall_interval(
    a: Sequence[float], b: Sequence[float], rng: np.random.Generator, resamples: int = 1000
) -> Interval | None:
    """Return tau-b with an interval over resampled candidates; None where nothing is ordered."""
    value = kendall(a, b)
    if value is None:
        return None
    x, y = np.asarray(a, float), np.asarray(b, float)
    drawn = [rng.integers(len(x), size=len(x)) for _ in range(resamples)]
    found = [t for i in drawn if (t := kendall(x[i].tolist(), y[i].tolist())) is not None]
    low, high = np.quantile(found, [LEVEL / 2, 1 - LEVEL / 2])
    return Interval(value, float(low), float(high))


def top_recall(scores: Sequence[float], truth: Sequence[float], k: int) -> float:
    """Return the share of the truly best ``k`` that are among the ``k`` best by ``scores``."""
    by_score, by_truth = (
        set(np.argsort(np.asarray(v, float), kind="stable")[:k].tolist()) for v in (scores, truth)
    )
    return len(by_score & by_truth) / k


def variance_split(groups: Sequence[Sequence[float]]) -> tuple[float, float] | None:
    """Return the variance between and within groups; None unless some group has two values.

    Args:
        groups: a search seed each, holding outcomes of several training seeds.

    Source:
        One-way random-effects analysis of variance with unequal groups (Searle, Casella &
        McCulloch 1992, section 3.6); a negative estimate is 0.
    """
    known = [np.asarray(g, float) for g in groups if len(g)]
    n = np.array([len(g) for g in known])
    if len(known) < 2 or n.sum() == len(known):
        return None
    means = np.array([g.mean() for g in known])
    grand = float((n * means).sum() / n.sum())
    within = sum(float(((g - g.mean()) ** 2).sum()) for g in known) / float(n.sum() - len(known))
    between = float((n * (means - grand) ** 2).sum()) / (len(known) - 1)
    size = float(n.sum() - (n**2).sum() / n.sum()) / (len(known) - 1)
    return max(0.0, (between - within) / size), within


def band(curves: Sequence[Sequence[tuple[float, float]]], grid: Sequence[float]) -> list[Any]:
    """Return (at, lower quartile, median, upper quartile) where at least half of curves have begun.

    Args:
        curves: (spent, best so far) of each seed, ascending in what was spent; held until the end.
        grid: where to look.
    """
    found = []
    for at in grid:
        values = sorted(_held(curve, at) for curve in curves)
        low, mid, high = (values[round(q * (len(values) - 1))] for q in (0.25, 0.5, 0.75))
        if math.isfinite(mid):
            found.append((at, low, mid, high if math.isfinite(high) else None))
    return found


def _held(curve: Sequence[tuple[float, float]], at: float) -> float:
    value = math.inf
    for spent, best in curve:
        if spent > at:
            break
        value = best
    return value
