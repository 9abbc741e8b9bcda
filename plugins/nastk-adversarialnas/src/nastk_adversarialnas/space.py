"""The adversarialnas space: generators of three up cells, discriminators of four down cells.

Every prefix of up cells is a complete network that makes smaller images.

Source: cells, operations, the order of the codes and ``latest_G`` are those of the public code of
C. Gao et al., CVPR 2020 (arXiv:1912.02037). Differs: sums are out of place; the latent is split
evenly; edges of the first down cell have five operations and five weights; a discriminator that
cannot see the image is refused.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial

from attrs import asdict, evolve
from torch import nn

from nastk.errors import SpaceError
from nastk.nn.discriminators import growing_discriminator
from nastk.records import Choices, Decision, InputSpec, Task
from nastk.space import Pick, SearchSpace
from nastk_adversarialnas.config import SpaceConfig

UPS = ("nearest", "bilinear", "ConvTranspose")
NORMALS = (
    "none",
    "skip_connect",
    "conv_1x1",
    "conv_3x3",
    "conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
FIRST = NORMALS[2:]
DOWNS = ("avg_pool", "max_pool", *NORMALS[3:])

CELLS = 3
DOWN_CELLS = 4
UP_EDGES = ("u0", "u1")
CELL_EDGES = ("c0", "c1", "c2", "c3", "c4")
DOWN_CELL_EDGES = ("e0", "e1", "e2", "e3", "e4")
DOWN_EDGES = ("d0", "d1")
NODES = (("c0", "c1"), ("c2", "c3", "c4"))
"""Edges into nodes 2 and 3 of an up cell; each node needs one that is not ``none``."""


class AdversarialSpace(SearchSpace):
    """Latent-to-image generators; the discriminator is fixed or has decisions of its own.

    Args:
        config: widths, latent parts and kind of discriminator.
        task: square images whose side is a multiple of 8.

    Raises:
        SpaceError: the image does not fit, or the latent cannot be split evenly.
    """

    name = "adversarialnas"

    def __init__(self, config: SpaceConfig, *, task: Task) -> None:
        self.config = config
        self.task = task
        self.settings = asdict(config)
        self.input = InputSpec("latent", (config.latent_dim,))
        self.bottom_width = _bottom_width(config, task)
        self.parts = config.parts or (2 if self.bottom_width == 6 else CELLS)
        if config.latent_dim % self.parts:
            fitting = max(1, config.latent_dim // self.parts) * self.parts
            raise SpaceError(
                f"space 'adversarialnas': latent_dim {config.latent_dim} cannot be split into "
                f"{self.parts} equal parts",
                f"set space.latent_dim={fitting}",
            )
        self.decisions = tuple(_up_decisions(config.generator_width))
        if config.discriminator == "searched":
            self.decisions += tuple(_down_decisions())

    def generator(self, pick: Pick, blocks: int | None = None) -> nn.Module:
        """Return G of the first ``blocks`` cells."""
        from nastk_adversarialnas.networks import Generator

        return Generator(self, pick, CELLS if blocks is None else blocks)

    def discriminator(self, pick: Pick, blocks: int | None = None) -> nn.Module:
        """Return D for images of the first ``blocks`` cells.

        A smaller image needs fewer halvings: the fixed D runs AutoGAN's earlier stage, the
        searched one leaves its last cells out. With class logits wanted, D has a class head.
        """
        from nastk_adversarialnas.networks import Discriminator

        cells = CELLS if blocks is None else blocks
        channels, logits = self.task.image[0], self.task.class_logits
        width = self.config.discriminator_width
        if self.config.discriminator == "fixed":
            return growing_discriminator(channels, width, cells - 1, logits)
        return Discriminator(pick, channels, width, DOWN_CELLS - CELLS + cells, logits)

    def prefix_task(self, blocks: int) -> Task:
        """Return the task with the image that the first ``blocks`` cells make."""
        side = self.bottom_width * 2**blocks
        return evolve(self.task, image=(self.task.image[0], side, side))

    def problems(self, choices: Choices) -> list[str]:
        """Return a line per node of an up cell without input, and one for a blind D."""
        found = [
            f"cell {cell}: edges {', '.join(edges)} are all none, expected another operation on one"
            for cell, edges in self._empty_nodes(choices)
        ]
        blind = [c for c in range(1, DOWN_CELLS) if not sees(choices, c)]
        found += [f"down cell {c}: no path leads through it, expected one" for c in blind]
        return found

    def repair(self, choices: Choices) -> dict[str, str]:
        """Return choices with the cheapest open operation where a node has no input.

        Of a node's edges the first that may be something else is changed. A down cell that lets
        nothing through gets one on its edge e1 or e2.
        """
        fixed = dict(choices)
        for cell, edges in self._empty_nodes(choices):
            self._open_one(fixed, [f"cell{cell}.{edge}" for edge in edges])
        for cell in range(1, DOWN_CELLS):
            if not sees(fixed, cell):
                self._open_one(fixed, [f"dcell{cell}.{edge}" for edge in ("e1", "e2")])
        return fixed

    def with_searched_discriminator(self) -> AdversarialSpace:
        """Return the same space with decisions for D, itself where it has them or cannot."""
        if self.config.discriminator == "searched" or self.bottom_width % 2:
            return self
        other = copy.copy(self)
        other.config = evolve(self.config, discriminator="searched")
        other.settings = asdict(other.config)
        other.decisions = self.decisions + tuple(_down_decisions())
        return other

    def _empty_nodes(self, choices: Choices) -> list[tuple[int, tuple[str, ...]]]:
        return [
            (cell, edges)
            for cell in range(CELLS)
            for edges in NODES
            if all(choices.get(f"cell{cell}.{edge}") == "none" for edge in edges)
        ]

    def _open_one(self, choices: dict[str, str], edges: Sequence[str]) -> None:
        for edge in edges:
            others = [o for o in self.decision(edge).allowed if o != "none"]
            if others:
                choices[edge] = others[0]
                return


def sees(choices: Choices, cell: int) -> bool:
    """Return whether anything passes through down cell ``cell``; True where it is undecided."""
    edges = {e: choices.get(f"dcell{cell}.{e}", "") != "none" for e in DOWN_CELL_EDGES}
    through = edges["e0"] and (edges["e3"] or edges["e4"])
    return edges["e1"] or edges["e2"] or through


def _bottom_width(config: SpaceConfig, task: Task) -> int:
    _, height, width = task.image
    bottom = config.bottom_width or height // 2**CELLS
    if height != width or bottom * 2**CELLS != height or not bottom:
        raise SpaceError(
            f"space 'adversarialnas': got images of {height}x{width} and bottom_width "
            f"{config.bottom_width}, expected a square of side 8 * bottom_width",
            "set dataset.image_size=16 or 32, or space.bottom_width=0",
        )
    if config.discriminator == "searched" and bottom % 2:
        raise SpaceError(
            f"space 'adversarialnas': four down cells need a side that is a multiple of 16, "
            f"got {height}",
            "set space.discriminator=fixed, or dataset.image_size=16 or 32",
        )
    return bottom


def _up_decisions(width: int) -> list[Decision]:
    """Return G's decisions in code order; costs are parameters in units of the width squared."""
    decisions = []
    for i in range(CELLS):
        make = partial(Decision, block=i, cell=f"cell{i}")
        ups = (1 + 1 / width, 1 + 1 / width, 1 + 9 / width)
        decisions += [make(f"cell{i}.{e}", UPS, kind="up", costs=ups) for e in UP_EDGES]
        normals = tuple(_weights(op, width) for op in NORMALS)
        decisions += [make(f"cell{i}.{e}", NORMALS, kind="op", costs=normals) for e in CELL_EDGES]
    return decisions


def _weights(op: str, width: int) -> float:
    return kernel(op) ** 2 + 1 / width if kernel(op) else 0.0


def kernel(op: str) -> int:
    """Return the kernel side of a convolution by its name, 0 of what is none."""
    return int(op[-1]) if "conv_" in op else 0


def _down_decisions() -> list[Decision]:
    make = partial(Decision, role="discriminator")
    decisions = []
    for i in range(DOWN_CELLS):
        for edge in DOWN_CELL_EDGES:
            options = FIRST if i == 0 and edge in DOWN_CELL_EDGES[:3] else NORMALS
            decisions.append(make(f"dcell{i}.{edge}", options, cell=f"dcell{i}"))
        for edge in DOWN_EDGES:
            decisions.append(make(f"dcell{i}.{edge}", DOWNS, cell=f"dcell{i}", kind="down"))
    return decisions


def make(config: SpaceConfig, *, task: Task) -> AdversarialSpace:
    """Return the space."""
    return AdversarialSpace(config, task=task)
