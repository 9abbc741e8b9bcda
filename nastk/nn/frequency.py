"""Exact linear convolution in the frequency domain, by matrix products.

Feature maps lie in memory as (W, H, N, C), so that each transform is a plain product with a small
matrix and channels are mixed by one complex batched product. An image is padded just enough that
no tap wraps around; of the transform along the width only the half is kept that the rest follows
from. Several convolutions into one node are added as spectra, and strided ones are transformed
back at the positions that are kept only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from attrs import frozen
from torch import Tensor

from nastk.nn.constants import constant


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


@constant
def _angles(
    period: int, frequencies: int, positions: tuple[int, ...], device: torch.device
) -> Tensor:
    """Return ``2 pi k p / period`` as ``(frequencies, positions)`` float64, reduced before."""
    k, p = torch.arange(frequencies), torch.tensor(positions)
    return (torch.outer(k, p) % period).double().mul(2 * math.pi / period).to(device)


@constant
def _pair(
    period: int, positions: tuple[int, ...], sign: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Return the real half transform: cosines above, signed sines below."""
    angles = _angles(period, period // 2 + 1, positions, device)
    return torch.cat((angles.cos(), sign * angles.sin())).to(dtype)


@constant
def _whole(
    period: int, positions: tuple[int, ...], sign: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Return the complex transform ``(period, positions)``."""
    angles = _angles(period, period, positions, device)
    return torch.complex(angles.cos(), sign * angles.sin()).to(dtype.to_complex())


@constant
def _back(
    period: int, positions: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Return what takes the half spectrum back, laid out like :func:`_pair`."""
    angles = _angles(period, period // 2 + 1, positions, device)
    twice = torch.full((period // 2 + 1, 1), 2.0, dtype=torch.float64, device=device)
    twice[0] = 1.0
    if period % 2 == 0:
        twice[-1] = 1.0
    return torch.cat((angles.cos() * twice, angles.sin() * twice)).div(period).to(dtype)


def spectrum(x: Tensor, plane: Plane) -> Tensor:
    """Return the spectrum ``(frequencies, N, C)`` of a feature map ``(W, H, N, C)``."""
    height, width = plane.period
    along = _pair(width, tuple(range(plane.size[1])), -1, x.dtype, x.device)
    down = _whole(height, tuple(range(plane.size[0])), -1, x.dtype, x.device)
    return _transform(x.flatten(2), along, down).view(-1, *x.shape[2:])


def kernel_spectrum(grid: Tensor, plane: Plane) -> Tensor:
    """Return the spectrum ``(frequencies, out, in)`` of taps ``(columns * rows, out, in)``."""
    height, width = plane.period
    along = _pair(width, plane.columns, 1, grid.dtype, grid.device)
    down = _whole(height, plane.rows, 1, grid.dtype, grid.device)
    taps = grid.view(len(plane.columns), len(plane.rows), -1)
    return _transform(taps, along, down).view(-1, *grid.shape[1:])


def _transform(x: Tensor, along: Tensor, down: Tensor) -> Tensor:
    """Return ``(frequencies of axis 0, frequencies of axis 1, rest)`` of ``(a, b, rest)``."""
    found: Tensor = _Analysed.apply(x, along, down)
    return found


def inverse(y: Tensor, plane: Plane) -> Tensor:
    """Return the feature map ``(W', H', N, C)`` of a spectrum ``(frequencies, N, C)``."""
    height, width = plane.period
    rows = tuple(range(0, plane.stride * plane.out[0], plane.stride))
    columns = tuple(range(0, plane.stride * plane.out[1], plane.stride))
    real = y.real.dtype
    along = _back(width, columns, real, y.device)
    down = _whole(height, rows, 1, real, y.device) / height
    planes = y.view(width // 2 + 1, height, -1)
    result: Tensor = _Synthesised.apply(planes, along, down)
    return result.view(plane.out[1], plane.out[0], *y.shape[1:])


def mixed_channels(pairs: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Return Σ X·Kᵀ of spectra ``(F, N, in)`` and kernels ``(F, out, in)``."""
    given = [tensor for pair in pairs for tensor in pair]
    total: Tensor = _Mixed.apply(*given)
    return total


# -- gradients ---------------------------------------------------------------------------------
#
# Inside of this module the gradient of a spectrum is kept conjugated. Every step is then the plain
# transpose of what it came from, and the large spectra of kernels are never copied to conjugate
# them. Spectra do not leave the module's functions, so that autograd only ever adds such gradients.


class _Analysed(torch.autograd.Function):
    """``(a, b, rest)`` → ``down @ (along @ x)``, complex ``(f, g, rest)``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, along: Tensor, down: Tensor) -> Tensor:
        ctx.matrices = along, down
        real, imaginary = torch.mm(along, x.flatten(1)).view(2, -1, *x.shape[1:])
        half = torch.complex(real, imaginary)
        return torch.bmm(down.expand(half.shape[0], -1, -1), half)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return _Synthesised.apply(grads[0], *ctx.matrices), None, None


class _Synthesised(torch.autograd.Function):
    """The transpose of :class:`_Analysed`: the real part of what it adds up to."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, along: Tensor, down: Tensor) -> Tensor:
        ctx.matrices = along, down
        z = torch.bmm(down.t().expand(y.shape[0], -1, -1), y)
        parts = torch.cat((z.real, z.imag.neg()))
        return torch.mm(along.t(), parts.flatten(1)).view(-1, *z.shape[1:])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return _Analysed.apply(grads[0].contiguous(), *ctx.matrices), None, None


class _Product(torch.autograd.Function):
    """A batched product whose gradients follow this module's rule."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a, b)
        return torch.bmm(a, b)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        a, b = ctx.saved_tensors
        return (
            _Product.apply(grads[0], b.transpose(1, 2)),
            _Product.apply(a.transpose(1, 2), grads[0]),
        )


class _Mixed(torch.autograd.Function):
    """Channels mixed frequency by frequency, all edges into one sum."""

    @staticmethod
    def forward(ctx: Any, *given: Tensor) -> Tensor:
        ctx.save_for_backward(*given)
        total = torch.bmm(given[0], given[1].transpose(1, 2))
        for x, kernel in zip(given[2::2], given[3::2], strict=True):
            total.baddbmm_(x, kernel.transpose(1, 2))
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        given = ctx.saved_tensors
        found: list[Tensor | None] = [None] * len(given)
        for i in range(0, len(given), 2):
            x, kernel = given[i : i + 2]
            if ctx.needs_input_grad[i]:
                found[i] = _Product.apply(grads[0], kernel)
            if ctx.needs_input_grad[i + 1]:
                found[i + 1] = _Product.apply(grads[0].transpose(1, 2), x)
        return tuple(found)
