"""The networks of the adversarialnas space, each written once with its choices."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nastk.nn.choice import Absent
from nastk.nn.discriminators import SummedHead
from nastk.nn.layers import Upsample, View, add
from nastk.objective import Scores
from nastk.space import Pick
from nastk_adversarialnas.space import DOWNS, FIRST, NORMALS, UPS, kernel

if TYPE_CHECKING:
    from nastk_adversarialnas.space import AdversarialSpace

SKIP_MODES = ("nearest", "bilinear", "nearest")
"""Interpolation of the skips into cells 0, 1 and 2; the first has none."""


class Generator(nn.Module):
    """A stem per latent part, up cells, and the layer that makes the image.

    Part j of the latent is added to the input of cell j.
    """

    def __init__(self, space: AdversarialSpace, pick: Pick, cells: int) -> None:
        super().__init__()
        width, side = space.config.generator_width, space.bottom_width
        part = space.config.latent_dim // space.parts
        self.part = part
        self.stems = nn.ModuleList(
            _stem(part, width, side * 2**j) for j in range(min(space.parts, cells))
        )
        self.cells = nn.ModuleList(UpCell(pick, i, width) for i in range(cells))
        self.out = nn.Sequential(
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, space.task.image[0], 3, padding=1),
            nn.Tanh(),
        )

    def forward(self, z: Tensor) -> Tensor:
        """Return ``(N, C, H, W)`` images in [-1, 1] of latents ``(N, L)``."""
        parts = torch.split(z, self.part, dim=1)
        h: Tensor | None = None
        skips: list[Tensor] = []
        for i, cell in enumerate(self.cells):
            h = add(h, self.stems[i](parts[i]) if i < len(self.stems) else None)
            skip, h = cell(h, skips)
            skips.append(skip)
        return cast("Tensor", self.out(h))


class UpCell(nn.Module):
    """Two up edges to nodes 0 and 1, then five edges; skips from all earlier cells join node 2."""

    def __init__(self, pick: Pick, index: int, width: int) -> None:
        super().__init__()
        name = f"cell{index}"
        self.mode = SKIP_MODES[index]
        self.u0, self.u1 = (_up_edge(pick, f"{name}.{e}", width) for e in ("u0", "u1"))
        self.c0, self.c1, self.c2, self.c3, self.c4 = (
            _edge(pick, f"{name}.c{i}", width) for i in range(5)
        )
        self.skips = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in range(index))

    def forward(self, x: Tensor, skips: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Return what later cells skip from (skips into this cell included), and the output.

        Args:
            x: ``(N, width, H, W)``.
            skips: of the earlier cells, likewise, of any side.

        Returns:
            Both ``(N, width, 2 * H, 2 * W)``.
        """
        n0, n1 = self.u0(x), self.u1(x)
        n2 = add(self.c0(n0), self.c1(n1))
        for point, skip in zip(self.skips, skips, strict=True):
            n2 = add(n2, point(F.interpolate(skip, size=n0.shape[2:], mode=self.mode)))
        n2 = torch.zeros_like(n0) if n2 is None else n2
        n3 = add(self.c2(n0), self.c3(n1), self.c4(n2))
        return n2, torch.zeros_like(n0) if n3 is None else n3


class Discriminator(nn.Module):
    """Down cells, each of which halves the side, and the summed head.

    Args:
        pick: decides or leaves open each place.
        channels: of the images.
        width: of every feature map.
        cells: 1 to 4.
        class_logits: class outputs, 0 for none.
    """

    def __init__(
        self, pick: Pick, channels: int, width: int, cells: int, class_logits: int
    ) -> None:
        super().__init__()
        self.cells = nn.ModuleList(
            DownCell(pick, i, channels if i == 0 else width, width) for i in range(cells)
        )
        self.head = SummedHead(width, class_logits)

    def forward(self, x: Tensor) -> Scores:
        """Return :class:`~nastk.objective.Scores` of images ``(N, C, H, W)`` in [-1, 1]."""
        for cell in self.cells:
            x = cell(x)
        scores: Scores = self.head(x)
        return scores


class DownCell(nn.Module):
    """Five edges between four nodes at one side, and two down edges that are summed."""

    def __init__(self, pick: Pick, index: int, source: int, width: int) -> None:
        super().__init__()
        name = f"dcell{index}"
        outer = partial(_first_edge, pick, source=source) if index == 0 else partial(_edge, pick)
        self.e0, self.e1, self.e2 = (outer(f"{name}.e{i}", width=width) for i in range(3))
        self.e3, self.e4 = (_edge(pick, f"{name}.e{i}", width) for i in (3, 4))
        self.d0, self.d1 = (_down_edge(pick, f"{name}.d{i}", width) for i in (0, 1))
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(N, width, H / 2, W / 2)``."""
        n1 = self._node(x, self.e0(x))
        n2 = self._node(x, self.e1(x), self.e3(n1))
        n3 = self._node(x, self.e2(x), self.e4(n1))
        return cast("Tensor", self.d0(n2) + self.d1(n3))

    def _node(self, x: Tensor, *terms: Tensor | None) -> Tensor:
        total = add(*terms)
        if total is None:
            return x.new_zeros(x.shape[0], self.width, *x.shape[2:])
        return total


def _stem(latent: int, width: int, side: int) -> nn.Module:
    return nn.Sequential(nn.Linear(latent, side * side * width), View(width, side, side))


def _edge(pick: Pick, decision: str, width: int) -> nn.Module:
    options: dict[str | tuple[str, ...], Callable[[], nn.Module]] = {
        op: partial(_activated, op, width) for op in NORMALS[2:]
    }
    return pick(decision, {"none": Absent, "skip_connect": nn.Identity, **options})


def _first_edge(pick: Pick, decision: str, *, source: int, width: int) -> nn.Module:
    return pick(decision, {op: partial(_conv, op, source, width) for op in FIRST})


def _down_edge(pick: Pick, decision: str, width: int) -> nn.Module:
    options: dict[str | tuple[str, ...], Callable[[], nn.Module]] = {
        op: partial(_activated, op, width, stride=2) for op in DOWNS[2:]
    }
    return pick(
        decision, options, avg_pool=lambda: nn.AvgPool2d(2), max_pool=lambda: nn.MaxPool2d(2)
    )


def _up_edge(pick: Pick, decision: str, width: int) -> nn.Module:
    def interpolated(mode: Literal["nearest", "bilinear"]) -> nn.Module:
        return nn.Sequential(Upsample(mode), nn.ReLU(), nn.Conv2d(width, width, 1))

    def transposed() -> nn.Module:
        spread = nn.ConvTranspose2d(
            width, width, 3, stride=2, padding=1, output_padding=1, groups=width, bias=False
        )
        return nn.Sequential(nn.ReLU(), spread, nn.Conv2d(width, width, 1, bias=False))

    nearest, bilinear, transpose = UPS
    return pick(
        decision,
        {
            nearest: partial(interpolated, "nearest"),
            bilinear: partial(interpolated, "bilinear"),
            transpose: transposed,
        },
    )


def _activated(op: str, width: int, stride: int = 1) -> nn.Module:
    return nn.Sequential(nn.ReLU(), _conv(op, width, width, stride))


def _conv(op: str, source: int, width: int, stride: int = 1) -> nn.Module:
    """Return ``conv_kxk`` or ``dil_conv_kxk`` (dilation 2), padded to keep the side."""
    side = kernel(op)
    dilation = 2 if op.startswith("dil") else 1
    padding = dilation * (side // 2)
    return nn.Conv2d(source, width, side, stride, padding, dilation)
