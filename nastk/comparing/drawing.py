"""Where to draw what a comparison found: plain numbers for a template, no script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nastk.comparing.cells import Cell
from nastk.comparing.samples import Scale
from nastk.comparing.statistics import band
from nastk.comparing.tables import number
from nastk.comparing.verdicts import Verdict

WIDTH, HEIGHT = 520, 260
LEFT, RIGHT, TOP, BOTTOM = 64, 14, 10, 28
GRID = 60
"""Places along the axis of compute at which bands are looked up."""
COLOURS = 8


def incumbent_charts(verdict: Verdict, cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """Return a chart for each fidelity of search-time scores: median and quartiles over seeds."""
    fidelities: dict[str, None] = {}
    for cell in cells:
        fidelities.update(dict.fromkeys(i.fidelity for i in cell.incumbents))
    return [_chart(verdict, cells, fidelity) for fidelity in fidelities]


def _chart(verdict: Verdict, cells: Sequence[Cell], fidelity: str) -> dict[str, Any]:
    scale = 1e9 if verdict.unit == "macs" else 1.0
    curves: dict[str, list[list[tuple[float, float]]]] = {}
    direction = "minimise"
    for cell in cells:
        points = [(i.spent / scale, i.score) for i in cell.incumbents if i.fidelity == fidelity]
        if points and cell.training == 0:
            direction = cell.direction
            curves.setdefault(cell.row, []).append(points)
    sign = 1.0 if direction == "minimise" else -1.0
    last = max(p[0] for found in curves.values() for curve in found for p in curve)
    grid = [last * i / GRID for i in range(1, GRID + 1)]
    bands = {
        row: band([[(x, sign * y) for x, y in curve] for curve in found], grid)
        for row, found in curves.items()
    }
    ends = [
        y for b in bands.values() for _, low, _, high in b for y in (low, high) if y is not None
    ]
    low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
    frame = _Frame(0.0, last, low, high)
    labels = [row.label for row in verdict.rows]
    lines = [_line(labels.index(row), row, len(curves[row]), b, frame)
             for row, b in bands.items() if row in labels]  # fmt: skip
    name = next(c.score for c in cells if any(i.fidelity == fidelity for i in c.incumbents))
    return {"title": f"best {name} so far, {fidelity}", "lines": lines,
            "ticks": frame.ticks(sign)}  # fmt: skip


def _line(index: int, row: str, seeds: int, found: Sequence[Any], frame: _Frame) -> dict[str, Any]:
    upper = [(at, low if high is None else high) for at, low, _, high in found]
    lower = [(at, low) for at, low, _, _ in found]
    return {
        "label": f"{row} ({seeds} seeds)",
        "colour": index % COLOURS,
        "median": frame.path([(at, mid) for at, _, mid, _ in found]),
        "end": frame.path([(at, mid) for at, _, mid, _ in found[-1:]]).split(",") if found else [],
        "band": frame.path([*upper, *reversed(lower)]),
    }


def strips(verdict: Verdict) -> dict[str, Any] | None:
    """Return every seed's result of every row as dots along one axis, the medians marked."""
    values = [v for row in verdict.rows for v in row.values if v is not None]
    if not values or verdict.scale is None:
        return None
    low, high = min(values), max(values)
    reach = (high - low) or abs(high) or 1.0

    def place(value: float) -> str:
        return f"{LEFT * 2 + (WIDTH - 2 * LEFT - RIGHT) * (value - low) / reach:.1f}"

    rows = [
        {
            "label": row.label,
            "colour": i % COLOURS,
            "dots": [(place(v), number(v)) for v in row.values if v is not None],
            "median": None if row.median is None else place(row.median),
            "worst": sum(v is None for v in row.values),
        }
        for i, row in enumerate(verdict.rows)
        if row.values
    ]
    return {"rows": rows, "low": number(low), "high": number(high), "metric": verdict.scale.metric}


class _Frame:
    """Maps values to places in a chart."""

    def __init__(self, left: float, right: float, low: float, high: float) -> None:
        self.left, self.right = left, right if right > left else left + 1
        room = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
        self.low, self.high = low - room, high + room

    def path(self, points: Sequence[tuple[float, float]]) -> str:
        """Return points as the attribute of a polyline."""
        return " ".join(f"{self._x(x):.1f},{self._y(y):.1f}" for x, y in points)

    def ticks(self, sign: float) -> Mapping[str, Any]:
        """Return marks of both axes."""
        xs = [self.left + (self.right - self.left) * i / 4 for i in range(5)]
        ys = [self.low + (self.high - self.low) * i / 4 for i in range(5)]
        return {
            "x": [(f"{self._x(x):.1f}", number(x)) for x in xs],
            "y": [(f"{self._y(y):.1f}", number(sign * y)) for y in ys],
        }

    def _x(self, value: float) -> float:
        share = (value - self.left) / (self.right - self.left)
        return LEFT + (WIDTH - LEFT - RIGHT) * share

    def _y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share


def scale_words(scale: Scale | None) -> str:
    """Return in words how values of a scale are compared."""
    if scale is None:
        return ""
    way = "lower" if scale.direction == "minimise" else "higher"
    how = "ratios (differences of logarithms)" if scale.ratio else "differences"
    return f"{scale.metric}, {way} is better; seeds are compared by {how}"
