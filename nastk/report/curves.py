"""Curves over a run: points kept in bounded memory, and where to draw them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Literal

from attrs import define, field, frozen

from nastk.report.reading import figure, short

MAX_POINTS = 4000
"""Points kept of one curve; beyond, every second is dropped."""

MAX_CURVES = 60
"""Named values that are kept; further names are left out."""

LARGEST = 1e100
"""Values and costs beyond are not drawn: their differences may not be finite."""

MAX_CHARTS = 24
"""Charts on a page."""

BUCKETS = 150
"""Of each line's drawn stretch; of each bucket the lowest and the highest point are drawn."""

WIDTH, HEIGHT = 420, 210
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 10, 24
"""Size of a chart and its margins, in units of its own."""

COLOURS = 12
"""Colours that the page knows, ``c0`` to ``c11``."""

_FIRST = ("best", "entropy", "temperature", "reward")

Axis = Literal["updates", "ticks"]


@frozen
class Point:
    """One value of one step.

    Attributes:
        stage: name of the stage.
        updates: generator updates in the ledger.
        ticks: engine steps.
        value: finite.
    """

    stage: str
    updates: float
    ticks: float
    value: float


@define
class Curve:
    """The points of one named value, thinned evenly when they become too many."""

    name: str
    points: list[Point] = field(factory=list)
    last: Point | None = None
    _stride: int = 1
    _seen: int = 0

    def add(self, point: Point) -> None:
        """Take the next point; one beyond :data:`LARGEST` is left out."""
        if max(abs(point.value), abs(point.updates), abs(point.ticks)) > LARGEST:
            return
        if self._seen % self._stride == 0:
            self.points.append(point)
        self._seen += 1
        self.last = point
        if len(self.points) >= MAX_POINTS:
            self.points = self.points[::2]
            self._stride *= 2

    def whole(self) -> list[Point]:
        """Return the points with the last one."""
        ended = not self.points or self.points[-1] is self.last
        return self.points if ended or self.last is None else [*self.points, self.last]


@frozen
class Line:
    """A drawn curve.

    Attributes:
        name: of the value.
        colour: 0-based.
        strokes: corners ``x,y x,y …`` of unbroken stretches.
        dots: points that have no neighbour.
        last: the last value as text.
    """

    name: str
    colour: int
    strokes: tuple[str, ...]
    dots: tuple[tuple[float, float], ...]
    last: str


@frozen
class Chart:
    """A drawn chart, in units of :data:`WIDTH` × :data:`HEIGHT`.

    Attributes:
        title: what is drawn.
        axis: what the horizontal axis counts.
        lines: the curves.
        across: marks of the horizontal axis, (x, label).
        up: marks of the vertical axis, (y, label).
        stages: where stages begin, (x, name).
        words: the chart in one sentence.
    """

    title: str
    axis: str
    lines: tuple[Line, ...]
    across: tuple[tuple[float, str], ...]
    up: tuple[tuple[float, str], ...]
    stages: tuple[tuple[float, str], ...]
    words: str


@frozen
class Scale:
    """From values, ``low`` to ``high``, to units of a chart, ``start`` to ``end``."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return where a value is drawn."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)


def charts(curves: Mapping[str, Curve]) -> list[Chart]:
    """Return a chart for each group of values: ``d``, ``d.real`` and ``d_x`` stand together."""
    groups: dict[str, list[Curve]] = {}
    for name, curve in curves.items():
        if curve.points:
            groups.setdefault(_head(name, curves), []).append(curve)
    order = {name: i for i, name in enumerate(_FIRST)}
    ranked = sorted(groups.items(), key=lambda item: order.get(item[0], len(order)))
    return [_chart(title, group[:COLOURS]) for title, group in ranked[:MAX_CHARTS]]


def _head(name: str, names: Mapping[str, object]) -> str:
    head = re.split(r"[._]", name, maxsplit=1)[0]
    return head if head in names else name


def shares(tables: Mapping[str, Mapping[str, Curve]]) -> list[Chart]:
    """Return a chart from 0 to 1 for each decision's options.

    Args:
        tables: decision → option → its share over the search.
    """
    return [_chart(decision, list(options.values())[:COLOURS], (0.0, 1.0))
            for decision, options in tables.items() if options]  # fmt: skip


def _chart(title: str, curves: Sequence[Curve], over: tuple[float, float] | None = None) -> Chart:
    drawn = [curve.whole() for curve in curves]
    every = [point for points in drawn for point in points]
    axis = _axis(drawn[0])
    x = Scale(*span([_at(p, axis) for p in every], 0.0), LEFT, WIDTH - RIGHT)
    y = Scale(*(over or span([p.value for p in every], 0.05)), HEIGHT - BOTTOM, TOP)
    lines = [_line(c.name, i, points, axis, x, y) for i, (c, points) in
             enumerate(zip(curves, drawn, strict=True))]  # fmt: skip
    label = "generator updates" if axis == "updates" else "engine steps"
    first, last = drawn[0][0].value, drawn[0][-1].value
    return Chart(
        title=title,
        axis=label,
        lines=tuple(lines),
        across=tuple((x(v), short(v)) for v in marks(x, 5)),
        up=tuple((y(v), short(v)) for v in marks(y, 4)),
        stages=tuple((x(_at(p, axis)), p.stage) for p in _stage_begins(drawn[0])),
        words=f"{title} against {label}: from {figure(first)} to {figure(last)}",
    )


def _axis(points: Sequence[Point]) -> Axis:
    """Return updates, but engine steps where the updates mostly stand still between points."""
    return "updates" if 2 * len({p.updates for p in points}) > len(points) else "ticks"


def _at(point: Point, axis: Axis) -> float:
    return point.updates if axis == "updates" else point.ticks


def span(values: Sequence[float], margin: float) -> tuple[float, float]:
    """Return what an axis runs over: the values with a margin in shares of their range."""
    low, high = min(values), max(values)
    room = (high - low) * margin
    if high - low <= max(1e-100, 1e-12 * max(abs(low), abs(high))):
        room = max(abs(low) * 0.1, 0.5)
    return low - room, high + room


def marks(scale: Scale, wanted: int) -> list[float]:
    """Return round numbers within the scale, about as many as wanted."""
    rough = (scale.high - scale.low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next((power * n for n in (1, 2, 5, 10) if power * n >= rough), 20 * power)
    first, last = math.ceil(scale.low / step), math.floor(scale.high / step)
    return [round(n * step, 12) if step > 1e-9 else n * step for n in range(first, last + 1)]


def _stage_begins(points: Sequence[Point]) -> Iterator[Point]:
    for before, point in pairwise(points):
        if before.stage != point.stage:
            yield point


def _line(name: str, colour: int, points: Sequence[Point], axis: Axis, x: Scale, y: Scale) -> Line:
    strokes, dots = [], []
    for stretch in _stretches(points):
        corners = [(x(_at(p, axis)), y(p.value)) for p in _thinned(stretch)]
        if len(corners) == 1:
            dots += corners
        else:
            strokes.append(" ".join(f"{a:g},{b:g}" for a, b in corners))
    return Line(name, colour, tuple(strokes), tuple(dots), figure(points[-1].value))


def _stretches(points: Sequence[Point]) -> list[list[Point]]:
    """Return the points stage by stage."""
    found: list[list[Point]] = []
    for point in points:
        if not found or found[-1][-1].stage != point.stage:
            found.append([])
        found[-1].append(point)
    return found


def _thinned(points: Sequence[Point]) -> list[Point]:
    """Return few enough points to draw, with every peak and dip of the rest."""
    if len(points) <= 2 * BUCKETS:
        return list(points)
    size = math.ceil(len(points) / BUCKETS)
    kept = {0, len(points) - 1}
    for start in range(0, len(points), size):
        bucket = range(start, min(start + size, len(points)))
        kept |= {f(bucket, key=lambda i: points[i].value) for f in (min, max)}
    return [points[i] for i in sorted(kept)]
