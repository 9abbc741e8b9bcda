"""Where the boxes of a layered drawing stand, and how the lines between them run."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from attrs import define, field, frozen

GAP, APART, ROW = 16.0, 36.0, 34.0
"""Least room between neighbours, between neighbours of unlike parts, and between rows."""

BEND = 12.0
"""Width that a line takes where it passes a row."""

SWEEPS = 12
MAX_BENDS = 4000
"""Places where lines pass rows; with more, lines run straight."""


@frozen
class Place:
    """Of a box: the middle of its top."""

    x: float
    y: float


@frozen
class Arranged:
    """A finished layout.

    Attributes:
        places: of the boxes.
        routes: corners of each edge, from the bottom of one box to the top of another.
        width: of everything; the leftmost stands at 0.
        height: of everything.
    """

    places: tuple[Place, ...]
    routes: tuple[tuple[tuple[float, float], ...], ...]
    width: float
    height: float


@define
class _Spot:
    """A box, or a place where a line passes a row."""

    level: int
    width: float
    height: float
    part: str = ""
    above: list[int] = field(factory=list)
    below: list[int] = field(factory=list)
    x: float = 0.0
    y: float = 0.0
    top: float = 0.0
    bottom: float = 0.0


def arrange(
    sizes: Sequence[tuple[float, float]],
    edges: Sequence[tuple[int, int]],
    levels: Sequence[int],
    parts: Sequence[str],
) -> Arranged:
    """Return a layout in rows from top to bottom.

    Args:
        sizes: width and height of each box.
        edges: from box to box, each to a larger level.
        levels: row of each box.
        parts: name of the part that each box belongs to; empty for none.

    Source:
        The layered method of Sugiyama, Tagawa and Toda 1981; boxes stand at the mean of their
        neighbours, as far as order and room allow.
    """
    given = zip(levels, sizes, parts, strict=True)
    spots = [_Spot(level, *size, part) for level, size, part in given]
    bends = sum(levels[b] - levels[a] - 1 for a, b in edges)
    chains = [_chain(spots, a, b, bends <= MAX_BENDS) for a, b in edges]
    rows = _rows(spots)
    _order(spots, rows)
    for sweep in range(SWEEPS):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            _settle(spots, row, down=sweep % 2 == 0)
    for chain in chains:
        _straighten(spots, rows, chain[1:-1])
    height = _heights(spots, rows)
    left = min(spot.x - spot.width / 2 for spot in spots)
    right = max(spot.x + spot.width / 2 for spot in spots)
    for spot in spots:
        spot.x -= left
    places = tuple(Place(spot.x, spot.y) for spot in spots[: len(sizes)])
    return Arranged(places, tuple(_route(spots, c) for c in chains), right - left, height)


def _chain(spots: list[_Spot], a: int, b: int, bending: bool) -> list[int]:
    """Return the spots that an edge runs through, made where it passes a row."""
    chain = [a]
    if bending:
        for level in range(spots[a].level + 1, spots[b].level):
            spots.append(_Spot(level, BEND, 0.0))
            chain.append(len(spots) - 1)
    chain.append(b)
    for upper, lower in pairwise(chain):
        spots[upper].below.append(lower)
        spots[lower].above.append(upper)
    return chain


def _rows(spots: Sequence[_Spot]) -> list[list[int]]:
    rows: list[list[int]] = [[] for _ in range(1 + max(spot.level for spot in spots))]
    for i, spot in enumerate(spots):
        rows[spot.level].append(i)
    return rows


def _order(spots: Sequence[_Spot], rows: Sequence[list[int]]) -> None:
    """Sort each row by the mean place of what it is connected to, to cross few lines."""
    for row in rows:
        _spread(spots, row)
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        for row in rows if down else reversed(rows):
            wanted = {i: _wanted(spots, i, down) for i in row}
            row.sort(key=lambda i: wanted[i])
            _spread(spots, row)


def _spread(spots: Sequence[_Spot], row: Sequence[int]) -> None:
    """Put a row side by side, its middle at 0."""
    x = 0.0
    for before, i in zip([None, *row], row, strict=False):
        x += _distance(spots, before, i)
        spots[i].x = x
    middle = (spots[row[0]].x + spots[row[-1]].x) / 2
    for i in row:
        spots[i].x -= middle


def _distance(spots: Sequence[_Spot], before: int | None, i: int) -> float:
    """Return the least distance between the middles of two neighbours."""
    if before is None:
        return 0.0
    a, b = spots[before], spots[i]
    return (a.width + b.width) / 2 + (GAP if a.part == b.part else APART)


def _wanted(spots: Sequence[_Spot], i: int, down: bool) -> float:
    near = spots[i].above if down else spots[i].below
    near = near or spots[i].below + spots[i].above
    return sum(spots[j].x for j in near) / len(near) if near else spots[i].x


def _settle(spots: Sequence[_Spot], row: Sequence[int], *, down: bool) -> None:
    """Move a row's spots towards where they want to be, in their order and without overlap."""
    wanted = [_wanted(spots, i, down) for i in row]
    spots[row[0]].x = wanted[0]
    for (before, i), want in zip(pairwise(row), wanted[1:], strict=True):
        spots[i].x = max(want, spots[before].x + _distance(spots, before, i))
    shift = sum(spots[i].x - want for i, want in zip(row, wanted, strict=True)) / len(row)
    for i in row:
        spots[i].x -= shift


def _straighten(spots: Sequence[_Spot], rows: Sequence[Sequence[int]], bends: list[int]) -> None:
    """Put the bends of a line below each other, as far down as there is room for that."""
    while bends:
        low, high = float("-inf"), float("inf")
        run: list[int] = []
        for i in bends:
            left, right = _freedom(spots, rows[spots[i].level], i)
            if max(low, left) > min(high, right):
                break
            low, high = max(low, left), min(high, right)
            run.append(i)
        wanted = sorted(spots[i].x for i in run)[len(run) // 2] if run else 0.0
        for i in run:
            spots[i].x = min(max(wanted, low), high)
        bends = bends[max(1, len(run)) :]


def _freedom(spots: Sequence[_Spot], row: Sequence[int], i: int) -> tuple[float, float]:
    """Return how far left and right a spot can move between its neighbours."""
    at, slack = row.index(i), 1e-9
    left = spots[row[at - 1]].x + _distance(spots, row[at - 1], i) if at else float("-inf")
    right = float("inf")
    if at + 1 < len(row):
        right = spots[row[at + 1]].x - _distance(spots, i, row[at + 1])
    return min(left, spots[i].x) - slack, max(right, spots[i].x) + slack


def _heights(spots: Sequence[_Spot], rows: Sequence[Sequence[int]]) -> float:
    """Set the tops of the rows and return the height of all."""
    y = 0.0
    for row in rows:
        tallest = max(spots[i].height for i in row)
        for i in row:
            spots[i].y = y + (tallest - spots[i].height) / 2
            spots[i].top, spots[i].bottom = y, y + tallest
        y += tallest + ROW
    return y - ROW


def _route(spots: Sequence[_Spot], chain: Sequence[int]) -> tuple[tuple[float, float], ...]:
    """Return the corners: straight through the height of a row, so that no box is crossed."""
    first, last = spots[chain[0]], spots[chain[-1]]
    corners = [(first.x, first.y + first.height), (first.x, first.bottom)]
    for i in chain[1:-1]:
        corners += [(spots[i].x, spots[i].top), (spots[i].x, spots[i].bottom)]
    return (*corners, (last.x, last.top), (last.x, last.y))
