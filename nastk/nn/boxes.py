"""Layers that follow each other, put together into the boxes of a drawing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import frozen

Mark = tuple[str, str]
"""A decision and its option."""


@frozen
class Layer:
    """One layer or function of a forward pass.

    Attributes:
        what: it does; empty for one that only reshapes.
        group: the part of the network that it stands in; empty for none.
        marks: decisions that made it, the outermost first.
        sources: indices of the layers that feed it, -1 for the input.
        shape: of its output, without the batch.
        parameters: that it holds.
    """

    what: str
    group: str
    marks: tuple[Mark, ...]
    sources: tuple[int, ...]
    shape: tuple[int, ...]
    parameters: int


def boxes_of(
    layers: Sequence[Layer], outputs: set[int | None]
) -> tuple[list[dict[str, Any]], list[list[int]]]:
    """Return boxes and edges: what follows in a line in the same part is one box.

    Layers that nothing depends on in the end are left out.

    Args:
        layers: in an order in which they can run.
        outputs: indices of the layers that make the network's outputs.
    """
    used = _used(layers, outputs)
    takers: dict[int, int] = {}
    for i in used:
        for source in layers[i].sources:
            takers[source] = takers.get(source, 0) + 1
    home: dict[int, int] = {-1: -1}
    boxes: list[dict[str, Any]] = []
    edges: list[list[int]] = []
    for i in used:
        joined = _joined(layers, i, takers, outputs)
        if joined is None:
            home[i] = len(boxes)
            boxes.append(_box(layers[i]))
        else:
            home[i] = home[joined]
            _extend(boxes[home[i]], layers[i])
        edges += [e for s in layers[i].sources if (e := [home[s], home[i]])[0] != e[1]]
    return boxes, [list(e) for e in dict.fromkeys(map(tuple, edges))]


def _used(layers: Sequence[Layer], outputs: set[int | None]) -> list[int]:
    wanted = {i for i in outputs if i is not None and i >= 0}
    for i in range(len(layers) - 1, -1, -1):
        if i in wanted:
            wanted |= {s for s in layers[i].sources if s >= 0}
    return sorted(wanted)


def _joined(
    layers: Sequence[Layer], i: int, takers: dict[int, int], outputs: set[int | None]
) -> int | None:
    """Return the layer whose box layer ``i`` continues, None where it begins one.

    A sum continues a sum, whatever else it adds.
    """
    layer = layers[i]
    for source in layer.sources:
        if source < 0 or takers[source] > 1 or source in outputs:
            continue
        before = layers[source]
        if layer.group != before.group or layer.marks[:1] != before.marks[:1]:
            continue
        in_line = len(layer.sources) == 1 and not (before.what == "sum" and layer.parameters)
        if in_line or layer.what == before.what == "sum":
            return source
    return None


def _box(layer: Layer) -> dict[str, Any]:
    box: dict[str, Any] = {
        "group": layer.group, "marks": [], "ops": [], "output": [], "parameters": 0,
    }  # fmt: skip
    _extend(box, layer)
    return box


def _extend(box: dict[str, Any], layer: Layer) -> None:
    if layer.what and not (layer.what == "sum" and box["ops"][-1:] == ["sum"]):
        box["ops"].append(layer.what)
    box["marks"] += [list(m) for m in layer.marks if list(m) not in box["marks"]]
    box["output"] = list(layer.shape)
    box["parameters"] += layer.parameters
