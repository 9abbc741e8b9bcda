"""What the strategy asks of a space: its blocks, its last one, and names for partial choices."""

from __future__ import annotations

import numpy as np

from nastk.errors import PairError
from nastk.records import Choices
from nastk.space import SearchSpace
from nastk_autogan.controller import Controller, Draw, Hidden

ATTEMPTS = 200
"""Draws against the space's rules before the last one is repaired."""


def stages(space: SearchSpace) -> int:
    """Return the largest number of blocks that makes a complete architecture.

    Raises:
        PairError: no number of blocks does.
    """
    first = {d.name: d.allowed[0] for d in space.decisions if d.role == "generator"}
    for blocks in range(space.blocks, 0, -1):
        if space.complete(space.prefix(first, blocks), blocks) is not None:
            return blocks
    raise PairError(f"space '{space.name}': no number of blocks is a complete architecture")


def implied(space: SearchSpace) -> frozenset[str]:
    """Return the decisions that the number of blocks makes."""
    return frozenset(d.name for d in space.decisions if d.kind == "depth")


def codes(space: SearchSpace, choices: Choices) -> str:
    """Return the integer codes of choices that need not be complete, cells separated by `` / ``."""
    cells: dict[str, list[str]] = {}
    for d in space.decisions:
        if d.name in choices and d.role == "generator":
            cells.setdefault(d.cell or str(d.block), []).append(str(d.code(choices[d.name])))
    return " / ".join(" ".join(cell) for cell in cells.values())


def draw_valid(
    controller: Controller,
    space: SearchSpace,
    prefix: Choices,
    hidden: Hidden,
    rng: np.random.Generator,
) -> tuple[Draw, dict[str, str]]:
    """Return a draw, and the choices of prefix and block together, that keep the space's rules.

    Draws against the rules are drawn anew, and after :data:`ATTEMPTS` repaired. Advances ``rng``.

    Args:
        controller: draws the block.
        space: whose rules are kept.
        prefix: choices of the blocks before.
        hidden: where the LSTM starts, ``(1, width)`` each.
        rng: a stream of the run.
    """
    for _ in range(ATTEMPTS):
        draw = controller.draw(prefix, hidden, rng)
        choices = {**prefix, **draw.choices}
        if not space.problems(choices):
            return draw, choices
    repaired = space.repair(choices)
    return draw, {name: repaired[name] for name in choices}
