"""The autogan space: generators of three cells, each of which doubles the side.

Every prefix of cells is a complete network that makes smaller images; the discriminator belongs
to a fixed family that grows with it.

Source: the cells, the order of the codes and the three published architectures are those of the
public code of X. Gong et al., ICCV 2019 (arXiv:1908.03835). Differs: skips and shortcuts are
added out of place; modules that no architecture runs are not made.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, cast

from attrs import asdict, evolve
from torch import Tensor, nn

from nastk.errors import SpaceError
from nastk.nn.choice import Absent
from nastk.nn.discriminators import growing_discriminator
from nastk.nn.layers import Upsample, View, add
from nastk.records import Decision, InputSpec, Task
from nastk.space import Pick, SearchSpace
from nastk_autogan.config import SpaceConfig

CELLS = 3
STYLES = ("post", "pre")
NORMS = ("none", "bn", "in")
UPSAMPLINGS = ("bilinear", "nearest", "deconv")
SHORTCUTS = ("no", "yes")
SMALLEST = 2
"""Least side of the first feature map: instance norm needs more than one position."""


class AutoganSpace(SearchSpace):
    """Latent-to-image generators of three cells; a fixed discriminator.

    Per cell: style of its two convolution blocks, norm, upsampling, shortcut, and from the second
    cell on a mask of skips from the cells before. Written as an integer of as many bits as there
    are cells before, the mask's most significant bit stands for cell 0.

    Args:
        config: widths.
        task: square images whose side is a multiple of 8, at least 16.

    Raises:
        SpaceError: the image does not fit.
    """

    name = "autogan"

    def __init__(self, config: SpaceConfig, *, task: Task) -> None:
        self.config = config
        self.task = task
        self.settings = asdict(config)
        self.input = InputSpec("latent", (config.latent_dim,))
        self.bottom_width = _bottom_width(config, task)
        self.decisions = tuple(_decisions(config.generator_width))

    def generator(self, pick: Pick, blocks: int | None = None) -> nn.Module:
        """Return G of the first ``blocks`` cells."""
        return _Generator(self, pick, CELLS if blocks is None else blocks)

    def discriminator(self, pick: Pick, blocks: int | None = None) -> nn.Module:
        """Return the discriminator for images of the first ``blocks`` cells.

        It has a class head only where the task wants class logits.
        """
        stage = (CELLS if blocks is None else blocks) - 1
        width = self.config.discriminator_width
        return growing_discriminator(self.task.image[0], width, stage, self.task.class_logits)

    def prefix_task(self, blocks: int) -> Task:
        """Return the task with the image that the first ``blocks`` cells make."""
        side = self.bottom_width * 2**blocks
        return evolve(self.task, image=(self.task.image[0], side, side))

    def reference(self) -> dict[str, str]:
        """Return the published architecture A."""
        return dict(self._whole().parse("1 0 1 1 / 1 0 0 1 1 / 1 0 1 0 3").choices)

    def _whole(self) -> AutoganSpace:
        return AutoganSpace(self.config, task=self.task)


def skips_from(mask: str, cell: int) -> tuple[int, ...]:
    """Return the cells that the skip mask of ``cell`` takes, e.g. ``("2", 2)`` gives ``(0,)``."""
    return tuple(i for i in range(cell) if int(mask) >> (cell - 1 - i) & 1)


def _bottom_width(config: SpaceConfig, task: Task) -> int:
    _, height, width = task.image
    bottom = config.bottom_width or height // 2**CELLS
    if height != width or bottom * 2**CELLS != height or bottom < SMALLEST:
        side = max(bottom, SMALLEST) * 2**CELLS
        raise SpaceError(
            f"space 'autogan': got images of {height}x{width} and bottom_width "
            f"{config.bottom_width}, expected a square of side 8 * bottom_width, at least 16",
            f"images of {side}x{side} would fit; space.bottom_width=0 follows the image",
        )
    return bottom


def _decisions(width: int) -> list[Decision]:
    """Return the decisions in code order; costs are parameters, without the upsampling of skips."""
    point, transposed = width**2 + width, 4 * width**2 + width
    decisions = []
    for i in range(CELLS):
        decisions += [
            _decision(i, "style", STYLES, "op", (0, 0)),
            _decision(i, "norm", NORMS, "norm", (0, 4 * width, 0)),
            _decision(i, "up", UPSAMPLINGS, "up", (0, 0, transposed)),
            _decision(i, "shortcut", SHORTCUTS, "skip", (0, point)),
        ]
        if i:
            masks = tuple(str(mask) for mask in range(2**i))
            costs = tuple(point * len(skips_from(mask, i)) for mask in masks)
            decisions.append(_decision(i, "skips", masks, "skip", costs))
    return decisions


def _decision(
    cell: int, name: str, options: tuple[str, ...], kind: str, costs: tuple[int, ...]
) -> Decision:
    return Decision(
        f"cell{cell}.{name}", options, block=cell, cell=f"cell{cell}", kind=kind, costs=costs
    )


# -- networks ----------------------------------------------------------------------------------


class _Generator(nn.Module):
    def __init__(self, space: AutoganSpace, pick: Pick, cells: int) -> None:
        super().__init__()
        width, side = space.config.generator_width, space.bottom_width
        self.stem = nn.Sequential(
            nn.Linear(space.config.latent_dim, side * side * width), View(width, side, side)
        )
        self.cells = nn.ModuleList(_Cell(pick, i, width) for i in range(cells))
        self.out = nn.Sequential(
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, space.task.image[0], 3, padding=1),
            nn.Tanh(),
        )

    def forward(self, z: Tensor) -> Tensor:
        h = self.stem(z)
        skips: list[Tensor] = []
        for cell in self.cells:
            skip, h = cell(h, skips)
            skips.append(skip)
        return cast("Tensor", self.out(h))


class _Cell(nn.Module):
    """Two convolution blocks, skips from earlier cells after the first, a shortcut around both."""

    def __init__(self, pick: Pick, index: int, width: int) -> None:
        super().__init__()
        name = f"cell{index}"
        self.first = _block(pick, name, width, upsampling=True)
        self.skips = nn.ModuleList(_skip(pick, index, i, width) for i in range(index))
        self.second = _block(pick, name, width, upsampling=False)
        self.shortcut = pick(
            f"{name}.shortcut", no=Absent, yes=partial(_upsampled_point, pick, name, width, 1)
        )

    def forward(self, x: Tensor, skips: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Return what later cells skip from, and the cell's output.

        The former is taken after the skips from earlier cells were added.
        """
        h: Tensor | None = self.first(x)
        for adapt, skip in zip(self.skips, skips, strict=True):
            h = add(h, adapt(skip))
        y = add(self.second(h), self.shortcut(x))
        return cast("Tensor", h), cast("Tensor", y)


def _block(pick: Pick, name: str, width: int, *, upsampling: bool) -> nn.Module:
    """Return a convolution block; the two styles share no weights."""

    def resize() -> list[nn.Module]:
        return [_upsampling(pick, name, width, 1)] if upsampling else []

    def conv() -> nn.Module:
        return nn.Conv2d(width, width, 3, padding=1)

    def norm() -> nn.Module:
        return pick(
            f"{name}.norm",
            none=nn.Identity,
            bn=partial(nn.BatchNorm2d, width),
            **{"in": partial(nn.InstanceNorm2d, width)},
        )

    return pick(
        f"{name}.style",
        pre=lambda: nn.Sequential(norm(), nn.ReLU(), *resize(), conv()),
        post=lambda: nn.Sequential(*resize(), conv(), norm(), nn.ReLU()),
    )


def _upsampling(pick: Pick, name: str, width: int, doublings: int) -> nn.Module:
    """Return the cell's own upsampling, by 2 per doubling; transposed convolutions in a chain."""

    def interpolation(mode: Literal["bilinear", "nearest"]) -> Callable[[], nn.Module]:
        return partial(Upsample, mode, 2**doublings)

    def transposed() -> nn.Module:
        chain = [nn.ConvTranspose2d(width, width, 2, stride=2) for _ in range(doublings)]
        return nn.Sequential(*chain)

    return pick(
        f"{name}.up",
        bilinear=interpolation("bilinear"),
        nearest=interpolation("nearest"),
        deconv=transposed,
    )


def _upsampled_point(pick: Pick, name: str, width: int, doublings: int) -> nn.Module:
    return nn.Sequential(_upsampling(pick, name, width, doublings), nn.Conv2d(width, width, 1))


def _skip(pick: Pick, index: int, source: int, width: int) -> nn.Module:
    """Return what brings the skip of cell ``source`` to cell ``index``, or nothing."""
    masks = [str(mask) for mask in range(2**index)]
    taken = tuple(m for m in masks if source in skips_from(m, index))
    left = tuple(m for m in masks if m not in taken)
    adapt = partial(_upsampled_point, pick, f"cell{index}", width, index - source)
    return pick(f"cell{index}.skips", {left: Absent, taken: adapt})


def make(config: SpaceConfig, *, task: Task) -> AutoganSpace:
    """Return the space."""
    return AutoganSpace(config, task=task)
