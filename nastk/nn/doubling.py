"""Mixtures of edges that double the side: nearest, bilinear and transposed, from one input.

All of it works on feature maps that lie in memory as (W, H, N, C). A 1x1 convolution after
nearest interpolation is done before it; bilinear interpolation is done once for all edges; a
depthwise transposed convolution and the 1x1 convolution after it are one matrix product for each
of the four phases of the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from attrs import define
from torch import Tensor, nn
from torch.nn import functional as F

from nastk.nn.constants import constant

PHASES = ((0, 0), (1, 0), (1, 1), (0, 1))
"""(column, row) of a pixel of the result, modulo 2."""


@define(eq=False)
class Doubled:
    """What one edge makes of its input; matrices are already weighted.

    Attributes:
        nearest: ``(out, in)``, None where nothing is interpolated so.
        bilinear: ``(out, in)``, likewise.
        spread: ``(9, out, in)``, by kernel position (rows outermost), of a transposed convolution.
        bias: ``(out,)`` or None.
    """

    nearest: Tensor | None = None
    bilinear: Tensor | None = None
    spread: Tensor | None = None
    bias: Tensor | None = None


def spread_of(weight: Tensor, depthwise: Tensor, point: Tensor) -> Tensor:
    """Return the ``spread`` ``(9, out, in)`` of a depthwise 3x3 and a 1x1 kernel, weighted.

    Args:
        weight: scalar.
        depthwise: ``(in, 1, 3, 3)``.
        point: ``(out, in, 1, 1)``.
    """
    by_tap = depthwise.view(depthwise.shape[0], 9).t()
    return (weight * point.flatten(1)) * by_tap[:, None]


def doubled(x: Tensor, activation: nn.Module, edges: Sequence[Doubled]) -> tuple[Tensor, ...]:
    """Return ``(2 W, 2 H, N, out)`` for each edge, of an input ``(W, H, N, in)``."""
    total: Tensor | None = None
    bilinear = _joined([e.bilinear for e in edges], edges)
    if bilinear is not None:
        total = F.linear(activation(_interpolated(x)), bilinear.to(x.dtype))
    low = _low(x, activation, edges)
    if low is not None:
        width, height, n = x.shape[:3]
        if total is not None:
            low = low + total.view(width, 2, height, 2, n, -1)
        total = low.expand(-1, 2, -1, 2, -1, -1).reshape(2 * width, 2 * height, n, -1)
    assert total is not None
    bias = _bias(edges, total.shape[3] // len(edges))
    total = total if bias is None else total + bias.to(total.dtype)
    return tuple(total.chunk(len(edges), 3))


def _low(x: Tensor, activation: nn.Module, edges: Sequence[Doubled]) -> Tensor | None:
    """Return ``(W, 1 or 2, H, 1 or 2, N, edges * out)`` of what starts at the small side."""
    nearest = _joined([e.nearest for e in edges], edges)
    spread = _joined([e.spread for e in edges], edges, 1)
    if spread is None:
        if nearest is None:
            return None
        return F.linear(activation(x), nearest.to(x.dtype))[:, None, :, None]
    here = spread if nearest is None else torch.cat((spread, nearest[None]))
    found: Tensor = _Phases.apply(activation(x), here.to(x.dtype))
    return found


def _joined(
    parts: Sequence[Tensor | None], edges: Sequence[Doubled], axis: int = 0
) -> Tensor | None:
    """Return the parts' rows below each other, zeros where an edge has none; None without any."""
    known = next((p for p in parts if p is not None), None)
    if known is None:
        return None
    return torch.cat([torch.zeros_like(known) if p is None else p for p in parts], axis)


def _bias(edges: Sequence[Doubled], width: int) -> Tensor | None:
    known = next((e.bias for e in edges if e.bias is not None), None)
    if known is None:
        return None
    return torch.cat([known.new_zeros(width) if e.bias is None else e.bias for e in edges])


def _interpolated(x: Tensor) -> Tensor:
    """Return the bilinear interpolation to twice the side (corners not aligned)."""
    width, height, *rest = x.shape
    across, down = (_blend(side, x.dtype, x.device) for side in (width, height))
    wide = torch.mm(across, x.flatten(1)).view(2 * width, height, -1)
    tall = torch.bmm(down.expand(2 * width, -1, -1), wide)
    return tall.view(2 * width, 2 * height, *rest)


@constant
def _blend(side: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the ``(2 * side, side)`` matrix of linear interpolation."""
    lines = torch.eye(side, dtype=torch.float64)[None]
    wide = F.interpolate(lines, scale_factor=2.0, mode="linear")
    return wide[0].t().to(device, dtype).contiguous()


# -- four phases -------------------------------------------------------------------------------
#
# Pixel 2 i of the result takes tap 1 from pixel i; pixel 2 i + 1 takes tap 2 from pixel i and tap
# 0 from pixel i + 1. Neighbours lie side by side in the order right, here, below, below right, so
# that every phase reads one run of them; phases in the order of PHASES, so that every neighbour is
# read by one run of those.

_READS = ((1, 2), (0, 2), (0, 4), (1, 3))
"""Run of neighbours that each phase reads."""
_READERS = ((1, 3), (0, 4), (2, 4), (2, 3))
"""Run of phases that each neighbour is read by."""
_TAPS = ((4,), (3, 5), (6, 8, 2, 0), (7, 1))
"""Kernel positions (3 * row + column) of a phase's run of neighbours."""


class _Phases(torch.autograd.Function):
    """Input ``(W, H, N, in)`` and taps ``(9 or 10, out, in)`` → ``(W, 2, H, 2, N, out)``.

    A tenth matrix is added to every phase at the pixel itself.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, taps: Tensor) -> Tensor:
        ctx.save_for_backward(x, taps)
        beside = _neighbours(x)
        width, height, n, channels = x.shape
        result = x.new_empty(width, 2, height, 2, n, taps.shape[1])
        for phase, (column, row) in enumerate(PHASES):
            run = _of(_READS[phase], channels)
            part = torch.mm(beside[:, run], _matrix(taps, phase).t())
            result[:, column, :, row] = part.view(width, height, n, -1)
        return result

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        x, taps = ctx.saved_tensors
        count, out, channels = taps.shape
        grad = torch.stack([grads[0][:, c, :, r] for c, r in PHASES], 3).view(-1, 4 * out)
        matrices = [_matrix(taps, phase) for phase in range(4)]
        for_beside = [
            torch.mm(grad[:, _of(readers, out)], _read(matrices, neighbour, channels))
            for neighbour, readers in enumerate(_READERS)
        ]
        beside = _neighbours(x)
        for_taps: list[Tensor] = [taps.new_zeros(())] * 9
        for phase, reads in enumerate(_READS):
            found = grad[:, _of((phase, phase + 1), out)].t() @ beside[:, _of(reads, channels)]
            parts = found.split(channels, 1)  # type: ignore[no-untyped-call]
            for tap, part in zip(_TAPS[phase], parts, strict=True):
                for_taps[tap] = part
        if count == 10:
            for_taps.append(sum((for_taps[t] for t in (4, 5, 7, 8)), taps.new_zeros(())))
        return _gathered([g.view(x.shape) for g in for_beside]), torch.stack(for_taps)


def _of(run: tuple[int, int], width: int) -> slice:
    return slice(run[0] * width, run[1] * width)


def _neighbours(x: Tensor) -> Tensor:
    """Return ``(W * H * N, 4 * in)``: right, here, below, below right; zeros outside."""
    right = F.pad(x, (0, 0, 0, 0, 0, 0, 0, 1))[1:]
    below = F.pad(x, (0, 0, 0, 0, 0, 1))[:, 1:]
    corner = F.pad(right, (0, 0, 0, 0, 0, 1))[:, 1:]
    return torch.cat((right, x, below, corner), 3).flatten(0, 2)


def _gathered(grads: Sequence[Tensor]) -> Tensor:
    """Return the transpose of :func:`_neighbours`, of what each neighbour gets."""
    right, here, below, corner = grads
    total = here.clone()
    total[1:] += right[:-1]
    total[:, 1:] += below[:, :-1]
    total[1:, 1:] += corner[:-1, :-1]
    return total


def _matrix(taps: Tensor, phase: int) -> Tensor:
    """Return ``(out, run * in)``."""
    found = []
    for tap in _TAPS[phase]:
        here = tap in (4, 5, 7, 8) and taps.shape[0] == 10
        found.append(taps[tap] + taps[9] if here else taps[tap])
    return torch.cat(found, 1)


def _read(matrices: Sequence[Tensor], neighbour: int, channels: int) -> Tensor:
    """Return ``(phases * out, in)``: what a neighbour gives to the phases that read it."""
    found = []
    for phase in range(*_READERS[neighbour]):
        place = neighbour - _READS[phase][0]
        found.append(matrices[phase][:, _of((place, place + 1), channels)])
    return torch.cat(found)
