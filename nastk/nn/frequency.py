"""Exact linear convolution in the frequency domain, by matrix products.

Feature maps lie in memory as (W, H, N, C), so that each transform is a plain product with a small
matrix and channels are mixed by one complex batched product. An image is padded just enough that
no tap wraps around; of the transform along the width only the half is kept that the rest follows
from. Several convolutions into one node are added as spectra, and strided ones are transformed
back at the positions that are kept only.

A spectrum is complex, ``(F, …)``, or ``(2, F, …)`` with real parts first
(:mod:`nastk.nn.transforms`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from attrs import frozen
from torch import Tensor

from nastk.nn.products import multiplied
from nastk.nn.transforms import (
    Matrices,
    analysed,
    kind_like,
    kind_of,
    synthesised,
    to_frequencies,
    to_positions,
)


@frozen
class Plane:
    """Sizes and taps of one group of convolutions.

    Attributes:
        size: (height, width) of the input.
        out: (height, width) of the result.
        stride: of both axes.
        rows: row offsets of the taps' grid, ascending.
        columns: column offsets.
    """

    size: tuple[int, int]
    out: tuple[int, int]
    stride: int
    rows: tuple[int, ...]
    columns: tuple[int, ...]

    @property
    def period(self) -> tuple[int, int]:
        """Length of both transforms: no tap of any output wraps onto the image."""
        return (
            _period(self.size[0], self.out[0], self.stride, self.rows),
            _period(self.size[1], self.out[1], self.stride, self.columns),
        )

    @property
    def frequencies(self) -> tuple[int, int]:
        """Frequencies kept of width and height."""
        return self.period[1] // 2 + 1, self.period[0]


def _period(side: int, out: int, stride: int, offsets: Sequence[int]) -> int:
    return max(side, side - offsets[0], stride * (out - 1) + 1 + offsets[-1])


def spectrum(x: Tensor, plane: Plane) -> Tensor:
    """Return the spectrum ``(frequencies, N, C)`` of a feature map ``(W, H, N, C)``."""
    height, width = plane.period
    positions = range(plane.size[1]), _centred(range(plane.size[0]), plane)
    kind = kind_of(x.dtype, x.device)
    matrices = to_frequencies((width, height), positions, -1, kind, x.dtype, x.device)
    return _transform(x.flatten(2), matrices, x.shape[2:])


def convolved(
    pairs: Sequence[tuple[Tensor, Tensor]], plane: Plane, bias: Tensor | None = None
) -> Tensor:
    """Return the sum of convolutions into one node, ``(W', H', N, out)``.

    Args:
        pairs: spectra ``(frequencies, N, in)`` and taps ``(columns * rows, out, in)``.
        plane: of all.
        bias: ``(out,)`` of all together, or None.
    """
    height, width = plane.period
    rows, columns = (range(0, plane.stride * side, plane.stride) for side in plane.out)
    grid = pairs[0][1]
    like = kind_like(pairs[0][0]), grid.dtype, grid.device
    to = to_frequencies((width, height), (plane.columns, plane.rows), 1, *like)
    back = to_positions((width, height), (columns, _centred(rows, plane)), *like)
    given = [tensor for pair in pairs for tensor in pair]
    # What is the same everywhere is the first frequency alone.
    first = None if bias is None else bias * (height * width)
    total: Tensor = _Convolved.apply(to, back, first, *given)
    return total


def _centred(rows: Sequence[int], plane: Plane) -> tuple[float, ...]:
    """Return rows as distances from the middle of the input, around which they may mirror."""
    return tuple(row - (plane.size[0] - 1) / 2 for row in rows)


def _transform(x: Tensor, matrices: Matrices, rest: Sequence[int]) -> Tensor:
    """Return the spectrum ``(frequencies of both axes, *rest)`` of ``(a, b, numel of rest)``."""
    found = _analysed(x, matrices)
    return found.view(*found.shape[:-3], -1, *rest)


def _transposed(y: Tensor, matrices: Matrices) -> Tensor:
    """Return the transpose of :func:`_transform`, ``(a, b, *rest)`` of ``(frequencies, *rest)``."""
    planes = y.view(*y.shape[:-3], matrices.half, -1, y.shape[-2] * y.shape[-1])
    found = _synthesised(planes, matrices)
    return found.view(*found.shape[:2], *y.shape[-2:])


def _of_taps(grid: Tensor, matrices: Matrices) -> Tensor:
    """Return the spectrum ``(frequencies, a, b)`` of taps ``(columns * rows, a, b)``."""
    taps = grid.reshape(matrices.along.shape[-1], -1, grid.shape[1] * grid.shape[2])
    return _transform(taps, matrices, grid.shape[1:])


# -- gradients ---------------------------------------------------------------------------------
#
# Inside of this module the gradient of a spectrum is kept conjugated. Every step is then the plain
# transpose of what it came from, and the large spectra of kernels are never copied to conjugate
# them. Spectra do not leave the module's functions, so that autograd only ever adds such gradients.
#
# A function of autograd takes longer to call than many a small product takes. So where gradients
# are not recorded, inside of such functions too, the products are called as they are.


def _analysed(x: Tensor, matrices: Matrices) -> Tensor:
    """Return :func:`analysed`, with gradients where they are recorded."""
    if torch.is_grad_enabled():
        tracked: Tensor = _Analysed.apply(x, matrices)
        return tracked
    return analysed(x, matrices)


def _synthesised(y: Tensor, matrices: Matrices) -> Tensor:
    """Return :func:`synthesised`, likewise."""
    if torch.is_grad_enabled():
        tracked: Tensor = _Synthesised.apply(y, matrices)
        return tracked
    return synthesised(y, matrices)


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Return the complex a·b, frequency by frequency, with gradients by this module's rule."""
    if torch.is_grad_enabled():
        tracked: Tensor = _Product.apply(a, b)
        return tracked
    return multiplied(a, b)


class _Analysed(torch.autograd.Function):
    """:func:`_analysed` with gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, matrices: Matrices) -> Tensor:
        ctx.matrices = matrices
        return _analysed(x, matrices)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return _synthesised(grads[0], ctx.matrices), None


class _Synthesised(torch.autograd.Function):
    """:func:`_synthesised` with gradients."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, matrices: Matrices) -> Tensor:
        ctx.matrices = matrices
        return _synthesised(y, matrices)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return _analysed(grads[0].contiguous(), ctx.matrices), None


class _Product(torch.autograd.Function):
    """:func:`_product` with gradients."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a, b)
        return _product(a, b)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        a, b = ctx.saved_tensors
        return _product(grads[0], b.mT), _product(a.mT, grads[0])


class _Convolved(torch.autograd.Function):
    """Spectra and taps of edges → the sum of their convolutions, channels mixed by frequency.

    To the first frequency ``(out,)`` is added, real.
    """

    @staticmethod
    def forward(
        ctx: Any, to: Matrices, back: Matrices, first: Tensor | None, *given: Tensor
    ) -> Tensor:
        total: Tensor | None = None
        # Small products take longer with the second factor transposed, and most are made here.
        kernels = [_of_taps(grid.mT, to) for grid in given[1::2]]
        for x, kernel in zip(given[::2], kernels, strict=True):
            total = multiplied(x, kernel, total)
        assert total is not None
        if first is not None:
            _first(total).add_(first)
            ctx.first = first.dtype
        ctx.to, ctx.back, ctx.edges = to, back, len(kernels)
        # What no gradient needs is not kept.
        kept = [k for i, k in enumerate(kernels) if ctx.needs_input_grad[3 + 2 * i]]
        ctx.save_for_backward(*given, *kept)
        return _transposed(total, back)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        given, kept = ctx.saved_tensors[: 2 * ctx.edges], [*ctx.saved_tensors[2 * ctx.edges :]]
        grad = grads[0].contiguous()
        total = _transform(grad.flatten(2), ctx.back, grad.shape[2:])
        found: list[Tensor | None] = [None] * len(given)
        for i in range(0, len(given), 2):
            x, grid = given[i : i + 2]
            if ctx.needs_input_grad[3 + i]:
                kernel = kept.pop(0).mT
                again = torch.is_grad_enabled()
                found[i] = _product(total, _of_taps(grid, ctx.to) if again else kernel)
            if ctx.needs_input_grad[4 + i]:
                found[i + 1] = _transposed(_product(total.mT, x), ctx.to).flatten(0, 1)
        for_first = _first(total).sum(0, dtype=ctx.first) if ctx.needs_input_grad[2] else None
        return (None, None, for_first, *found)


def _first(y: Tensor) -> Tensor:
    """Return the real part of the first frequency, ``(N, C)``, of a spectrum."""
    return y[0].real if y.is_complex() else y[0, 0]
