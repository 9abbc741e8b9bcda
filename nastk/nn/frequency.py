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
    """Return the real inverse ``(positions, 2 * frequencies)`` of the half spectrum."""
    angles = _angles(period, period // 2 + 1, positions, device).t()
    twice = torch.full((period // 2 + 1,), 2.0, dtype=torch.float64, device=device)
    twice[0] = 1.0
    if period % 2 == 0:
        twice[-1] = 1.0
    return torch.cat((angles.cos() * twice, -angles.sin() * twice), 1).div(period).to(dtype)


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
    real, imaginary = torch.mm(along, x.flatten(1)).view(2, -1, *x.shape[1:]).unbind()
    half = torch.complex(real, imaginary)
    return torch.bmm(down.expand(half.shape[0], -1, -1), half)


def inverse(y: Tensor, plane: Plane) -> Tensor:
    """Return the feature map ``(W', H', N, C)`` of a spectrum ``(frequencies, N, C)``."""
    height, width = plane.period
    rows = tuple(range(0, plane.stride * plane.out[0], plane.stride))
    columns = tuple(range(0, plane.stride * plane.out[1], plane.stride))
    real = y.real.dtype
    up = _whole(height, rows, 1, real, y.device).t() / height
    z = torch.bmm(up.expand(width // 2 + 1, -1, -1), y.view(width // 2 + 1, height, -1))
    parts = torch.view_as_real(z).movedim(-1, 0).reshape(2 * z.shape[0], -1)
    result = torch.mm(_back(width, columns, real, y.device), parts)
    return result.view(plane.out[1], plane.out[0], *y.shape[1:])


def mixed_channels(pairs: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Return Σ X·Kᵀ of spectra ``(F, N, in)`` and kernels ``(F, out, in)``."""
    given = [tensor for pair in pairs for tensor in pair]
    total: Tensor = _Mixed.apply(*given)
    return total


class _Mixed(torch.autograd.Function):
    """Channels mixed frequency by frequency; conjugates are taken of feature maps, not kernels."""

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
        mirrored = grads[0].conj().resolve_conj()
        known: dict[int, Tensor] = {}
        for i in range(0, len(given), 2):
            x, kernel = given[i : i + 2]
            if ctx.needs_input_grad[i]:
                found[i] = torch.conj_physical(torch.bmm(mirrored, kernel))
            if ctx.needs_input_grad[i + 1]:
                if id(x) not in known:
                    known[id(x)] = x.conj().resolve_conj()
                found[i + 1] = torch.bmm(grads[0].transpose(1, 2), known[id(x)])
        return tuple(found)
