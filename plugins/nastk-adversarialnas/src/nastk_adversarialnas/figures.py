"""Closed forms of the generator's size, with and without the parts that no image depends on.

A network executes, and ``nastk inspect`` counts, everything its decisions name. Some of that can
be dead: an up edge whose node feeds ``none`` only; in the last cell, node 2 with its skips when
edge c4 is ``none``. Torch-free.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from nastk_adversarialnas.space import CELL_EDGES, CELLS, UP_EDGES, UPS, kernel

if TYPE_CHECKING:
    from nastk.records import Choices
    from nastk_adversarialnas.space import AdversarialSpace


@frozen
class Figures:
    """What a generator costs for one latent.

    Attributes:
        parameters: of the derived network; agrees with ``nastk inspect``.
        reached: those among them that get a gradient from the image.
        macs: of everything that is executed; agrees with ``nastk inspect``.
        live_macs: of what can influence the image.
    """

    parameters: int
    reached: int
    macs: int
    live_macs: int


def generator_figures(
    space: AdversarialSpace, choices: Choices, blocks: int | None = None
) -> Figures:
    """Return the figures of the derived generator, or of its first ``blocks`` cells."""
    cells = CELLS if blocks is None else blocks
    parameters, macs = _ends(space, cells)
    reached, live = parameters, macs
    alive = live_parts(choices, cells)
    for name, (p, m) in _parts(space, choices, cells).items():
        parameters, macs = parameters + p, macs + m
        if name in alive:
            reached, live = reached + p, live + m
    return Figures(parameters, reached, macs, live)


def live_parts(choices: Choices, cells: int = CELLS) -> set[str]:
    """Return the edges (``cell0.c2``) and skip inputs (``cell1.skips``) the image depends on."""
    alive: set[str] = set()
    skipped = False  # whether a later cell's node 2 is alive, so that it takes this one's
    for i in reversed(range(cells)):
        on = {e for e in CELL_EDGES if choices[f"cell{i}.{e}"] != "none"}
        edges = on & {"c2", "c3", "c4"}
        if skipped or "c4" in on:
            skipped = True
            edges |= on & {"c0", "c1"} | {"skips"}
        if edges & {"c0", "c2"}:
            edges.add("u0")
        if edges & {"c1", "c3"}:
            edges.add("u1")
        alive |= {f"cell{i}.{e}" for e in edges}
    return alive


def _ends(space: AdversarialSpace, cells: int) -> tuple[int, int]:
    """Return parameters and MACs of the stems and of the layer that makes the image."""
    width, channels = space.config.generator_width, space.task.image[0]
    part = space.config.latent_dim // space.parts
    sides = [space.bottom_width * 2**j for j in range(cells + 1)]
    positions = sum(side**2 for side in sides[: min(space.parts, cells)])
    parameters = (part + 1) * positions * width + (9 * width + 1) * channels + 2 * width
    return parameters, part * positions * width + 9 * width * channels * sides[-1] ** 2


def _parts(space: AdversarialSpace, choices: Choices, cells: int) -> dict[str, tuple[int, int]]:
    """Return parameters and MACs of every edge and of the skip inputs of every cell."""
    width = space.config.generator_width
    parts = {}
    for i in range(cells):
        positions = (space.bottom_width * 2 ** (i + 1)) ** 2
        for edge in UP_EDGES:
            parts[f"cell{i}.{edge}"] = _up(choices[f"cell{i}.{edge}"], width, positions)
        for edge in CELL_EDGES:
            side = kernel(choices[f"cell{i}.{edge}"])
            parts[f"cell{i}.{edge}"] = _conv(side, width, positions)
        parameters, macs = _conv(1, width, positions)
        parts[f"cell{i}.skips"] = (i * parameters, i * macs)
    return parts


def _conv(side: int, width: int, positions: int) -> tuple[int, int]:
    if side == 0:
        return 0, 0
    return side**2 * width**2 + width, side**2 * width**2 * positions


def _up(op: str, width: int, positions: int) -> tuple[int, int]:
    parameters, macs = _conv(1, width, positions)
    if op != UPS[2]:
        return parameters, macs
    return width**2 + 9 * width, macs + 9 * width * positions // 4
