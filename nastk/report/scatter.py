"""Quality against cost: the candidates of a group as points, and which of them are not beaten."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from attrs import define, field, frozen

from nastk.report.curves import LARGEST, Scale, marks, span
from nastk.report.reading import figure, mapping, number, short, text

COSTS = ("parameters", "macs", "bytes", "latency_p50_ms")
"""Metrics that are costs, in the order in which they are drawn."""

FIRST = ("rating", "score", "quality")
"""Metrics that are drawn before others where no leader's objective says what is sought."""

MAX_POINTS = 3000
"""Candidates that are kept, of all groups."""

MAX_PLOTS = 12
WIDE = 20.0
"""Ratio of the largest cost to the smallest beyond which the axis is logarithmic."""

WIDTH, HEIGHT = 420, 260
LEFT, RIGHT, TOP, BOTTOM = 50, 14, 12, 38
"""Size of a plot and its margins, in units of its own."""


@frozen
class Measured:
    """One candidate's numbers.

    Attributes:
        name: how it is called.
        fingerprint: of its architecture.
        group: numbers are comparable within one only.
        values: metric → value, direction and card.
    """

    name: str
    fingerprint: str
    group: str
    values: Mapping[str, tuple[float, str, str]]


@define
class Cloud:
    """The candidates that were measured, as many as are kept."""

    points: list[Measured] = field(factory=list)
    left_out: int = 0

    def take(
        self, record: Mapping[str, Any], card: Callable[[Mapping[str, Any]], str], training: str
    ) -> None:
        """Learn of one candidate.

        Args:
            record: of the journal.
            card: gives the protocol of a metric as text.
            training: what the candidate got; those of unlike trainings are not comparable.
        """
        evaluation = mapping(record.get("evaluation"))
        values = {}
        for name, metric in list(mapping(evaluation.get("metrics")).items())[:40]:
            told = mapping(metric)
            value = number(told.get("value"))
            if value is not None and abs(value) < LARGEST:
                values[text(name, 40)] = (value, text(told.get("direction"), 20), card(told))
        if record.get("status") != "ok" or not values:
            return
        if len(self.points) >= MAX_POINTS:
            self.left_out += 1
            return
        codes, counted = text(record.get("codes"), 80), figure(record.get("number"))
        group = ", ".join(w for w in (text(evaluation.get("group"), 40), training) if w)
        name = f"no. {counted}: {codes}" if counted else codes
        self.points.append(Measured(name, text(record.get("fingerprint"), 40), group, values))


@frozen
class Dot:
    """A drawn candidate: place, what is told of it, whether on the front, whether the winner."""

    x: float
    y: float
    words: str
    front: bool
    winner: bool


@frozen
class Plot:
    """A drawn plot, in units of :data:`WIDTH` × :data:`HEIGHT`.

    Attributes:
        group: of the candidates; may be empty.
        cost: horizontal metric.
        quality: vertical metric.
        better: which way is better.
        dots: the candidates, by cost.
        front: corners ``x,y x,y …`` of the line along those that are not beaten.
        across: marks of the horizontal axis, (x, label).
        up: marks of the vertical axis, (y, label).
        remark: what is left out, and why.
        words: the plot in one sentence.
    """

    group: str
    cost: str
    quality: str
    better: str
    dots: tuple[Dot, ...]
    front: str
    across: tuple[tuple[float, str], ...]
    up: tuple[tuple[float, str], ...]
    remark: str
    words: str


def plots(cloud: Cloud, wanted: Sequence[str], winner: str) -> list[Plot]:
    """Return a plot for each group and cost; the group that was measured last comes first.

    Args:
        cloud: the candidates.
        wanted: metrics that the leaders were chosen by, first comes first.
        winner: fingerprint of the winner.
    """
    groups: dict[str, list[Measured]] = {}
    for point in cloud.points:
        groups.setdefault(point.group, []).append(point)
    found = []
    for group, points in reversed(list(groups.items())):
        names = Counter(name for point in points for name in point.values)
        quality = _quality(names, wanted)
        if quality is not None:
            found += [_plot(group, points, cost, quality, winner)
                      for cost in COSTS[:3] if names[cost] > 1]  # fmt: skip
    return [plot for plot in found if plot is not None][:MAX_PLOTS]


def ordered(names: Iterable[str], wanted: Sequence[str]) -> list[str]:
    """Return metrics by what a reader looks for: what was sought, other scores, costs, the rest."""
    rank = {name: i for i, name in enumerate(dict.fromkeys([*wanted, *FIRST, *COSTS]))}
    return sorted(names, key=lambda name: rank.get(name, len(rank)))


def _quality(names: Counter[str], wanted: Sequence[str]) -> str | None:
    ranked = [*wanted, *FIRST, *(name for name, _ in names.most_common())]
    return next((n for n in ranked if names[n] > 1 and n not in COSTS), None)


def _plot(
    group: str, points: Sequence[Measured], cost: str, quality: str, winner: str
) -> Plot | None:
    known = [p for p in points if cost in p.values and quality in p.values]
    if len(known) < 2:
        return None
    protocol, _ = Counter(p.values[quality][1:] for p in known).most_common(1)[0]
    alike = [p for p in known if p.values[quality][1:] == protocol]
    alike.sort(key=lambda p: p.values[cost][0])
    sign = -1.0 if protocol[0] == "maximise" else 1.0
    costs = [p.values[cost][0] for p in alike]
    heights = [p.values[quality][0] for p in alike]
    front = _front(costs, [sign * h for h in heights])
    logarithmic = costs[0] > 0 and costs[-1] / costs[0] > WIDE
    at = [math.log10(c) for c in costs] if logarithmic else costs
    x, y = (
        Scale(*span(at, 0.05), LEFT, WIDTH - RIGHT),
        Scale(*span(heights, 0.07), HEIGHT - BOTTOM, TOP),
    )
    dots = tuple(
        Dot(x(a), y(h), _words(p, cost, quality), i in front, bool(winner) and
            p.fingerprint == winner)
        for i, (p, a, h) in enumerate(zip(alike, at, heights, strict=True))
    )  # fmt: skip
    apart = len(known) - len(alike)
    return Plot(
        group=group,
        cost="MACs" if cost == "macs" else cost,
        quality=quality,
        better="higher is better" if sign < 0 else "lower is better",
        dots=dots,
        front=" ".join(f"{dots[i].x:g},{dots[i].y:g}" for i in sorted(front)),
        across=tuple(_across(x, logarithmic)),
        up=tuple((y(v), short(v)) for v in marks(y, 4)),
        remark=f"{apart} measured under another protocol are left out" if apart else "",
        words=f"{quality} against {cost} of {len(alike)} candidates, {len(front)} not beaten",
    )


def _front(costs: Sequence[float], qualities: Sequence[float]) -> set[int]:
    """Return the indices that no other beats in both; costs ascend, smaller is better."""
    best, kept = math.inf, set()
    order = sorted(range(len(costs)), key=lambda i: (costs[i], qualities[i]))
    for i in order:
        if qualities[i] < best:
            best = qualities[i]
            kept.add(i)
    return kept


def _across(x: Scale, logarithmic: bool) -> Iterable[tuple[float, str]]:
    if not logarithmic:
        return ((x(v), short(v)) for v in marks(x, 4))
    powers = range(math.floor(x.low), math.ceil(x.high) + 1)
    every = [(math.log10(n) + p, n * 10.0**p) for p in powers for n in (1, 2, 5)]
    inside = [(v, label) for v, label in every if x.low <= v <= x.high]
    kept = inside if len(inside) <= 6 else [e for e in inside if round(e[0], 9) == round(e[0])]
    return ((x(v), short(label)) for v, label in kept)


def _words(point: Measured, cost: str, quality: str) -> str:
    told = [f"{n} {figure(point.values[n][0])}" for n in (quality, *COSTS) if n in point.values]
    return f"{point.name}; {', '.join(told)}"
