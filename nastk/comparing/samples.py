"""Final results as paired samples: a number a seed, smaller is better, crashed seeds the worst."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from attrs import frozen

from nastk.comparing.cells import Cell
from nastk.records import Direction

PREFERRED = ("extractor_fd", "fid", "rating")
"""Metrics that decide where none was named, the first that all rows have."""


@frozen
class Scale:
    """How values of a metric become numbers of which smaller is better.

    Attributes:
        metric: its name.
        direction: of the metric.
        ratio: whether differences are of logarithms, so that they are ratios.
        worst: what a crashed or missing seed counts as, in the metric's own unit.
    """

    metric: str
    direction: Direction
    ratio: bool
    worst: float

    def badness(self, value: float | None) -> float:
        """Return a value as a number of which smaller is better; None is the worst."""
        sign = 1.0 if self.direction == "minimise" else -1.0
        known = self.worst if value is None else value
        return sign * (math.log(known) if self.ratio else known)

    def effect(self, difference: float) -> float:
        """Return a difference of badness for a reader: a ratio of values, or a difference."""
        sign = 1.0 if self.direction == "minimise" else -1.0
        return math.exp(sign * difference) if self.ratio else sign * difference


def choose_metric(cells: Iterable[Cell], wanted: str = "") -> str:
    """Return the metric that decides: the one wanted, or one that all measured cells have."""
    measured = [cell.metrics for cell in cells if cell.metrics]
    if wanted or not measured:
        return wanted
    shared = [name for name in measured[0] if all(name in m for m in measured)]
    known = [name for name in PREFERRED if name in shared]
    return next(iter([*known, *shared, *measured[0]]))


def scale_of(cells: Sequence[Cell], metric: str) -> Scale | None:
    """Return the scale of a metric over all cells; None where nobody measured it."""
    values = [v for cell in cells if (v := cell.value(metric)) is not None]
    values = [v for v in values if math.isfinite(v)]
    if not values:
        return None
    direction = next(c.metrics[metric].direction for c in cells if c.value(metric) is not None)
    worst = max(values) if direction == "minimise" else min(values)
    return Scale(metric, direction, min(values) > 0, worst)


def sample(scale: Scale, seeds: Sequence[int], found: Mapping[int, Cell]) -> list[float]:
    """Return the badness of each seed; of crashed and missing ones the worst."""
    return [scale.badness(_value(scale, found.get(seed))) for seed in seeds]


def raw(scale: Scale, seeds: Sequence[int], found: Mapping[int, Cell]) -> list[float | None]:
    """Return the values of each seed as measured, None of crashed and missing ones."""
    return [_value(scale, found.get(seed)) for seed in seeds]


def _value(scale: Scale, cell: Cell | None) -> float | None:
    value = None if cell is None else cell.value(scale.metric)
    return value if value is not None and math.isfinite(value) else None
