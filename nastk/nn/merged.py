"""Combined kernels as ordinary convolutions: a dense one, and one for each wider spacing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from attrs import define, field, frozen
from torch import Tensor
from torch.nn import functional as F

from nastk.nn.constants import constant
from nastk.nn.linear import Taps

Cover = Literal["merged", "ring", "single"]
"""Dense and dilated kernel; dense kernel and the ring around it; one dense kernel for all taps."""


@frozen
class Piece:
    """One convolution of a combined kernel.

    Attributes:
        taps: where it reads.
        places: per tap, rows outermost, its place in the grid; for a tap that is to be 0 one that
            no option fills, or the place after the last.
    """

    taps: Taps
    places: tuple[int, ...]


@constant
def pieces(
    options: tuple[Taps, ...], rows: tuple[int, ...], columns: tuple[int, ...], cover: Cover
) -> tuple[Piece, ...]:
    """Return convolutions that together read every tap of the options once.

    Args:
        options: taps of each option.
        rows: of the grid.
        columns: of the grid.
        cover: which kind of pieces.
    """
    wanted = {(r, c) for t in options for r in t.rows() for c in t.columns()}
    filled = {columns.index(c) * len(rows) + rows.index(r) for r, c in wanted}
    empty = min(set(range(len(rows) * len(columns) + 1)) - filled)
    chosen: list[Piece] = []
    for taps in _frames(options, rows, columns, cover):
        read = [(r, c) for r in taps.rows() for c in taps.columns()]
        if not wanted.intersection(read):
            continue
        places = [
            columns.index(c) * len(rows) + rows.index(r) if (r, c) in wanted else empty
            for r, c in read
        ]
        chosen.append(Piece(taps, tuple(places)))
        wanted.difference_update(read)
    return tuple(chosen)


def _frames(
    options: tuple[Taps, ...], rows: tuple[int, ...], columns: tuple[int, ...], cover: Cover
) -> list[Taps]:
    """Return frames for the taps; an earlier one takes the taps that it shares with later ones."""
    if cover == "single":
        return [_around([*options], (1, 1))]
    by_step: dict[tuple[int, int], list[Taps]] = {}
    for taps in options:
        by_step.setdefault((1, 1) if taps.count == (1, 1) else taps.step, []).append(taps)
    frames = [_around(group, step) for step, group in sorted(by_step.items())]
    if cover == "merged":
        return frames
    rings = [ring for frame in frames[1:] for ring in _ring(frame)]
    return [*frames[:1], *rings, *frames[1:]]


def _around(group: Sequence[Taps], step: tuple[int, int]) -> Taps:
    """Return the smallest frame of this step that holds all taps of a group."""
    start = min(t.start[0] for t in group), min(t.start[1] for t in group)
    end = max(t.rows()[-1] for t in group), max(t.columns()[-1] for t in group)
    aligned = all((t.start[a] - start[a]) % step[a] == 0 for t in group for a in (0, 1))
    step = step if aligned else (1, 1)
    count = (end[0] - start[0]) // step[0] + 1, (end[1] - start[1]) // step[1] + 1
    return Taps(start, step, count)


def _ring(frame: Taps) -> list[Taps]:
    """Return the outer rows and the outer columns of a frame."""
    (top, left), (down, right), (height, width) = frame.start, frame.step, frame.count
    if min(height, width) < 3:
        return []
    outer_rows = Taps((top, left), (down * (height - 1), right), (2, width))
    outer_columns = Taps((top + down, left), (down, right * (width - 1)), (height - 2, 2))
    return [outer_rows, outer_columns]


def convolve(
    x: Tensor,
    grid: Tensor,
    bias: Tensor | None,
    found: Sequence[Piece],
    stride: int,
    out: tuple[int, int],
) -> Tensor:
    """Return the convolution of an activated input, ``(N, out, H', W')``.

    Args:
        x: ``(N, in, H, W)``.
        grid: ``(columns * rows, out, in)``.
        bias: ``(out,)`` or None.
        found: pieces of the grid.
        stride: of both axes.
        out: (H', W').
    """
    total: Tensor | None = None
    for piece in found:
        first = bias if total is None else None
        part = _convolve(x, _kernel(grid, piece), first, piece.taps, stride, out)
        total = part if total is None else total.add_(part)
    assert total is not None
    return total


def _kernel(grid: Tensor, piece: Piece) -> Tensor:
    """Return the kernel ``(out, in, rows, columns)`` of a piece."""
    if max(piece.places) == len(grid):
        grid = torch.cat((grid, grid.new_zeros(1, *grid.shape[1:])))
    index = _index(piece.places, grid.device)
    taken = grid.index_select(0, index).view(*piece.taps.count, *grid.shape[1:])
    return taken.permute(2, 3, 0, 1).contiguous(memory_format=torch.channels_last)


@constant
def _index(places: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.tensor(places).to(device)


def _convolve(
    x: Tensor,
    kernel: Tensor,
    bias: Tensor | None,
    taps: Taps,
    stride: int,
    out: tuple[int, int],
) -> Tensor:
    """Return the convolution at positions 0, stride, ...; taps may lie off the centre."""
    before = [-s for s in taps.start]
    spans = [step * (count - 1) for step, count in zip(taps.step, taps.count, strict=True)]
    # What the last output reads, less what is there.
    after = [stride * (out[a] - 1) + taps.start[a] + spans[a] + 1 - x.shape[2 + a] for a in (0, 1)]
    same = all(b >= 0 and a <= b and a > b - stride for b, a in zip(before, after, strict=True))
    if same:
        return F.conv2d(x, kernel, bias, stride, before, taps.step)
    padded = F.pad(x, (before[1], after[1], before[0], after[0]))
    return F.conv2d(padded, kernel, bias, stride, 0, taps.step)


# -- several edges in one convolution ----------------------------------------------------------


@define(eq=False)
class Use:
    """Which of the edges that were convolved together had a gradient in the last backward pass.

    An edge whose result nobody used must get no gradient at all, as if it had run by itself.
    """

    edges: list[bool] = field(factory=list)


def joined(use: Use, parts: Sequence[Tensor], axis: int) -> Tensor:
    """Return kernels or biases of several edges as one.

    Args:
        use: of these edges.
        parts: ``(taps, out, in)`` or ``(out,)`` each.
        axis: of the output channels.
    """
    if len(parts) == 1:
        return parts[0]
    found: Tensor = _Joined.apply(use, axis, *parts)
    return found


def apart(use: Use, whole: Tensor, count: int) -> tuple[Tensor, ...]:
    """Return ``(N, out, H, W)`` for each of ``count`` edges, of ``(N, count * out, H, W)``."""
    if count == 1:
        return (whole,)
    found: tuple[Tensor, ...] = _Apart.apply(use, count, whole)
    return found


class _Joined(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, use: Use, axis: int, *parts: Tensor) -> Tensor:
        ctx.use, ctx.axis = use, axis
        return torch.cat(parts, axis)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        parts = grads[0].chunk(len(ctx.use.edges), ctx.axis)
        found = (p if used else None for p, used in zip(parts, ctx.use.edges, strict=True))
        return (None, None, *found)


class _Apart(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, use: Use, count: int, whole: Tensor) -> tuple[Tensor, ...]:
        ctx.use = use
        ctx.set_materialize_grads(False)
        parts = whole.chunk(count, 1)
        ctx.like = parts[0].shape, whole.dtype, whole.device
        return parts

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[None, None, Tensor]:
        ctx.use.edges = [g is not None for g in grads]
        shape, dtype, device = ctx.like
        known = [torch.zeros(shape, dtype=dtype, device=device) if g is None else g for g in grads]
        return None, None, torch.cat(known, 1)
