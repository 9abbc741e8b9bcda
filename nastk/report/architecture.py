"""The drawing of the winner's networks, from ``best/drawing.json``: where each box stands."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from attrs import define, frozen

from nastk.errors import RunFolderError
from nastk.report.layers import Place, arrange
from nastk.report.reading import entries, figure, mapping, number, text
from nastk.state import read_json

MAX_BYTES = 2**20
MAX_BOXES = 300
"""Boxes of one network; of a larger one nothing is drawn."""

MAX_EDGES = 1200
MAX_OPS = 12
LETTERS = 25
"""Characters in a line of a box."""

BOX, SUM = 160.0, 104.0
"""Widths of a box and of a sum."""

LINE, PADDING = 14.0, 12.0
MARGIN = 22.0


@frozen
class Box:
    """One box of a drawing.

    Attributes:
        x: left side.
        y: top.
        width: of the box.
        height: of the box.
        title: decision and option that made it; empty for a part that no decision made.
        lines: what is done.
        shape: of the output, as text.
        kind: ``op``, ``sum`` or ``end``.
        words: all of it in one sentence.
    """

    x: float
    y: float
    width: float
    height: float
    title: str
    lines: tuple[str, ...]
    shape: str
    kind: str
    words: str


@frozen
class Part:
    """The frame around the boxes of a cell or stack: left, top, width, height and name."""

    x: float
    y: float
    width: float
    height: float
    name: str


@frozen
class Drawing:
    """A network as it is drawn.

    Attributes:
        role: generator or discriminator.
        width: of the drawing.
        height: of the drawing.
        boxes: in the order in which they run.
        paths: connections, as the data of SVG paths.
        parts: frames behind the boxes.
        words: the drawing in one sentence.
        parameters: of all boxes, as text.
    """

    role: str
    width: float
    height: float
    boxes: tuple[Box, ...]
    paths: tuple[str, ...]
    parts: tuple[Part, ...]
    words: str
    parameters: str


@define
class _Node:
    title: str
    lines: tuple[str, ...]
    shape: str
    group: str
    kind: str
    words: str
    parameters: float = 0.0

    @property
    def width(self) -> float:
        return BOX if self.kind != "sum" else SUM

    @property
    def height(self) -> float:
        rows = len(self.lines) + bool(self.title) + bool(self.shape and self.kind != "sum")
        return LINE * rows + PADDING


def drawings(folder: Path) -> list[Drawing]:
    """Return the drawings of a run's winner; empty where its folder tells of none.

    Anything that is malformed, too large or runs in a circle is left out.
    """
    path = folder / "best" / "drawing.json"
    if path.is_symlink() or not path.is_file():
        return []
    try:
        document = read_json(path, "drawing", MAX_BYTES)
    except RunFolderError:
        return []
    return laid_out(document)


def laid_out(document: Mapping[str, Any]) -> list[Drawing]:
    """Return the drawings that the content of a ``drawing.json`` tells of; see :func:`drawings`."""
    made = [_drawing(role, mapping(document.get(role))) for role in ("generator", "discriminator")]
    return [drawing for drawing in made if drawing is not None]


def _drawing(role: str, told: Mapping[str, Any]) -> Drawing | None:
    boxes, edges = entries(told.get("boxes")), _edges(told)
    if not 0 < len(boxes) <= MAX_BOXES or len(edges) > MAX_EDGES:
        return None
    names = _group_names(boxes)
    nodes = [_end("input", _shape(told.get("input"))), *(_node(mapping(b), names) for b in boxes)]
    edges = [(a + 1, b + 1) for a, b in edges]
    levels = _levels(len(nodes), edges)
    if levels is None:
        return None
    return _drawn(role, nodes, edges, levels)


def _drawn(
    role: str, nodes: Sequence[_Node], edges: Sequence[tuple[int, int]], levels: Sequence[int]
) -> Drawing:
    sizes = [(node.width, node.height) for node in nodes]
    arranged = arrange(sizes, edges, levels, [node.group for node in nodes])
    boxes = tuple(_box(node, place) for node, place in zip(nodes, arranged.places, strict=True))
    parts = _parts(nodes, boxes)
    total = figure(sum(node.parameters for node in nodes))
    return Drawing(
        role=role,
        width=round(arranged.width + 2 * MARGIN, 1),
        height=round(arranged.height + 2 * MARGIN, 1),
        boxes=boxes,
        paths=tuple(_path(points) for points in arranged.routes),
        parts=parts,
        words=f"{role}: {len(nodes) - 1} boxes from {nodes[0].shape} to {nodes[-1].shape}",
        parameters=total,
    )


# -- what is drawn -----------------------------------------------------------------------------


def _edges(told: Mapping[str, Any]) -> list[tuple[int, int]]:
    size, found = len(entries(told.get("boxes"))), []
    for edge in entries(told.get("edges"))[: MAX_EDGES + 1]:
        ends = [int(n) for e in entries(edge) if (n := number(e)) is not None]
        if len(ends) == 2 and -1 <= ends[0] < size and 0 <= ends[1] < size:
            found.append((ends[0], ends[1]))
    return found


def _end(word: str, shape: str) -> _Node:
    return _Node("", (word,), shape, "", "end", f"{word}, {shape}")


def _node(box: Mapping[str, Any], names: Mapping[str, str]) -> _Node:
    ops = [t for o in entries(box.get("ops"))[:MAX_OPS] if (t := text(o, 60))] or ["reshape"]
    marks = _marks(box)
    shape, size = _shape(box.get("output")), number(box.get("parameters")) or 0.0
    kind = "sum" if ops == ["sum"] else "op"
    lines = (f"+  {shape}",) if kind == "sum" else _wrapped(ops)
    told = [f"{d} = {o}" for d, o in marks]
    words = "; ".join([*told, ", then ".join(ops), f"gives {shape}", f"{figure(size)} parameters"])
    group = names.get(text(box.get("group"), 60), "")
    title = _cut(" = ".join(marks[0]).removeprefix(f"{group}.")) if marks else ""
    return _Node(title, lines, shape, group, kind, words, size)


def _marks(box: Mapping[str, Any]) -> list[tuple[str, str]]:
    pairs = [[text(word, 60) for word in entries(m)] for m in entries(box.get("marks"))[:20]]
    return [(pair[0], pair[1]) for pair in pairs if len(pair) == 2]


def _shape(value: object) -> str:
    sizes = [figure(n).replace(",", "") for n in entries(value)[:6]]
    return "×".join(size for size in sizes if size)


def _wrapped(ops: Sequence[str]) -> tuple[str, ...]:
    """Return the ops in lines that fit a box."""
    lines: list[str] = []
    for op in ops:
        for piece in _pieces(op):
            joined = f"{lines[-1]} · {piece}" if lines else ""
            if joined and len(joined) <= LETTERS:
                lines[-1] = joined
            else:
                lines.append(piece)
    return tuple(lines[:MAX_OPS])


def _pieces(op: str) -> list[str]:
    if len(op) <= LETTERS:
        return [op]
    head, _, rest = op.partition(", ")
    return [_cut(f"{head},"), _cut(rest)] if rest else [_cut(op)]


def _cut(words: str) -> str:
    return words if len(words) <= LETTERS else f"{words[: LETTERS - 1]}…"


def _group_names(boxes: Sequence[object]) -> dict[str, str]:
    """Return the name of each part: the cell that all of its decisions name, else the module."""
    cells: dict[str, set[str]] = {}
    counts: dict[str, int] = {}
    for box in map(mapping, boxes):
        group = text(box.get("group"), 60)
        counts[group] = counts.get(group, 0) + 1
        cells.setdefault(group, set()).update(d.split(".")[0] for d, _ in _marks(box))
    return {group: next(iter(found)) if len(found) == 1 else group
            for group, found in cells.items() if group and counts[group] > 1}  # fmt: skip


# -- where it stands ---------------------------------------------------------------------------


def _levels(count: int, edges: Sequence[tuple[int, int]]) -> list[int] | None:
    """Return how far each node is from a beginning, the longest way; None for a circle."""
    after: list[list[int]] = [[] for _ in range(count)]
    waits = [0] * count
    for a, b in edges:
        after[a].append(b)
        waits[b] += 1
    level = [0] * count
    ready, done = deque(i for i in range(count) if waits[i] == 0), 0
    while ready:
        a, done = ready.popleft(), done + 1
        for b in after[a]:
            level[b] = max(level[b], level[a] + 1)
            waits[b] -= 1
            if waits[b] == 0:
                ready.append(b)
    return _late(level, after) if done == count else None


def _late(level: list[int], after: Sequence[Sequence[int]]) -> list[int]:
    """Return levels in which what feeds only later nodes stands right before them."""
    for a in sorted(range(len(level)), key=lambda i: -level[i]):
        if after[a] and a > 0:
            level[a] = max(level[a], min(level[b] for b in after[a]) - 1)
    return level


def _box(node: _Node, place: Place) -> Box:
    x, y = round(place.x - node.width / 2 + MARGIN, 1), round(place.y + MARGIN, 1)
    shape = "" if node.kind == "sum" else node.shape
    return Box(x, y, node.width, node.height, node.title, node.lines, shape, node.kind, node.words)


def _parts(nodes: Sequence[_Node], boxes: Sequence[Box]) -> tuple[Part, ...]:
    within: dict[str, list[Box]] = {}
    for node, box in zip(nodes, boxes, strict=True):
        if node.group:
            within.setdefault(node.group, []).append(box)
    return tuple(_part(name, members) for name, members in within.items())


def _part(name: str, boxes: Sequence[Box]) -> Part:
    left, top = min(b.x for b in boxes) - 9, min(b.y for b in boxes) - 15
    right = max(b.x + b.width for b in boxes) + 9
    bottom = max(b.y + b.height for b in boxes) + 8
    return Part(left, top, round(right - left, 1), round(bottom - top, 1), _cut(name))


def _path(points: Sequence[tuple[float, float]]) -> str:
    """Return a line downwards through the points: straight within a row, smooth between rows."""
    shifted = [(round(x + MARGIN, 1), round(y + MARGIN, 1)) for x, y in points]
    words = [f"M{shifted[0][0]:g},{shifted[0][1]:g}"]
    for (x0, y0), (x1, y1) in pairwise(shifted):
        middle = round((y0 + y1) / 2, 1)
        bent = f"C{x0:g},{middle:g} {x1:g},{middle:g} {x1:g},{y1:g}"
        words.append(bent if x0 != x1 else f"V{y1:g}")
    return " ".join(words)
