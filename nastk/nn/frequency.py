"""Exact linear convolution in the frequency domain, by matrix products.

Feature maps lie in memory as (W, H, N, C), so that each transform is a plain product with a small
matrix and channels are mixed by one complex batched product. An image is padded just enough that
no tap wraps around; of the transform along the width only the half is kept that the rest follows
from. Several convolutions into one node are added as spectra, and strided ones are transformed
back at the positions that are kept only.

A spectrum is complex, ``(F, …)``. Products shorter than single precision have no complex type:
there it is ``(2, F, …)``, real parts first, and a complex product is four real ones.
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


@frozen(eq=False)
class Matrices:
    """A transform of both axes, and its transpose.

    Attributes:
        along: ``(2 * frequencies, positions)``, of the first axis: for each frequency a row of
            cosines and one of signed sines.
        back: ``(positions, 2 * frequencies)``, the real part of its transpose.
        down: of the second axis, complex ``(period, positions)``. Short: ``(2, period, 2 *
            positions)``, for real and for imaginary parts, from real parts above imaginary ones.
        up: its transpose. Short: ``(2, 2 * positions, period)``, to real parts above imaginary
            ones, from real and from imaginary parts.
    """

    along: Tensor
    back: Tensor
    down: Tensor
    up: Tensor

    @property
    def half(self) -> int:
        """How many frequencies of the first axis are kept."""
        return len(self.along) // 2


def _angles(period: int, frequencies: int, positions: Sequence[int]) -> Tensor:
    """Return ``2 pi k p / period`` as ``(frequencies, positions)`` float64, reduced before."""
    k, p = torch.arange(frequencies), torch.tensor(positions)
    return (torch.outer(k, p) % period).double().mul(2 * math.pi / period)


@constant
def _to(
    period: tuple[int, int],
    positions: tuple[Sequence[int], Sequence[int]],
    sign: int,
    dtype: torch.dtype,
    device: torch.device,
) -> Matrices:
    """Return the transform of values at ``positions`` of width and height, of that sign."""
    angles = _angles(period[0], period[0] // 2 + 1, positions[0])
    along = torch.stack((angles.cos(), sign * angles.sin()), 1)
    return _matrices(along, _angles(period[1], period[1], positions[1]), sign, dtype, device)


@constant
def _back(
    period: tuple[int, int],
    positions: tuple[Sequence[int], Sequence[int]],
    dtype: torch.dtype,
    device: torch.device,
) -> Matrices:
    """Return the transform whose transpose takes a half spectrum back to ``positions``."""
    angles = _angles(period[0], period[0] // 2 + 1, positions[0])
    times = torch.full((len(angles), 1), 2.0, dtype=torch.float64)
    times[0] = 1.0
    if period[0] % 2 == 0:
        times[-1] = 1.0
    times /= period[0] * period[1]
    along = torch.stack((angles.cos() * times, angles.sin() * times), 1)
    return _matrices(along, _angles(period[1], period[1], positions[1]), 1, dtype, device)


def _matrices(
    along: Tensor, angles: Tensor, sign: int, dtype: torch.dtype, device: torch.device
) -> Matrices:
    cos, sin = angles.cos(), sign * angles.sin()
    back = along * torch.tensor([1.0, -1.0])[:, None]
    if _short(dtype):
        down = torch.stack((torch.cat((cos, -sin), 1), torch.cat((sin, cos), 1))).to(dtype)
        up = torch.stack((torch.cat((cos, sin), 1), torch.cat((-sin, cos), 1))).mT.to(dtype)
    else:
        down = torch.complex(cos, sin).to(dtype.to_complex())
        up = down.t()
    along, back = (matrix.flatten(0, 1).to(dtype) for matrix in (along, back))
    return Matrices(*(m.to(device) for m in (along, back.t(), down, up)))


def spectrum(x: Tensor, plane: Plane) -> Tensor:
    """Return the spectrum ``(frequencies, N, C)`` of a feature map ``(W, H, N, C)``."""
    height, width = plane.period
    positions = range(plane.size[1]), range(plane.size[0])
    matrices = _to((width, height), positions, -1, x.dtype, x.device)
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
    to = _to((width, height), (plane.columns, plane.rows), 1, grid.dtype, grid.device)
    back = _back((width, height), (columns, rows), grid.dtype, grid.device)
    given = [tensor for pair in pairs for tensor in pair]
    # What is the same everywhere is the first frequency alone.
    first = None if bias is None else bias * (height * width)
    total: Tensor = _Convolved.apply(to, back, first, *given)
    return total


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
    """Return the spectrum ``(frequencies, out, in)`` of taps ``(columns * rows, out, in)``."""
    taps = grid.view(matrices.along.shape[1], -1, grid.shape[1] * grid.shape[2])
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
    """Return the spectrum ``down @ (along @ x)``, ``(f, g, rest)`` of ``(a, b, rest)``."""
    if torch.is_grad_enabled():
        tracked: Tensor = _Analysed.apply(x, matrices)
        return tracked
    n, down = matrices.half, matrices.down
    half = torch.mm(matrices.along, x.flatten(1)).view(n, 2, -1, x.shape[2])
    if down.is_complex():
        return torch.bmm(down.expand(n, -1, -1), torch.complex(half[:, 0], half[:, 1]))
    found = half.new_empty(2, n, down.shape[1], x.shape[2])
    for part, matrix in zip(found, down, strict=True):
        torch.bmm(matrix.expand(n, -1, -1), half.flatten(1, 2), out=part)
    return found


def _synthesised(y: Tensor, matrices: Matrices) -> Tensor:
    """Return the transpose of :func:`_analysed`: the real part of what it adds up to."""
    if torch.is_grad_enabled():
        tracked: Tensor = _Synthesised.apply(y, matrices)
        return tracked
    n, up = matrices.half, matrices.up
    if y.is_complex():
        half = torch.bmm(up.expand(n, -1, -1), y)
        parts = torch.stack((half.real, half.imag), 1)
    else:
        real, imaginary = (matrix.expand(n, -1, -1) for matrix in up)
        parts = torch.bmm(real, y[0]).baddbmm_(imaginary, y[1])
    return torch.mm(matrices.back, parts.view(2 * n, -1)).view(len(matrices.back), -1, y.shape[-1])


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Return the complex a·b, frequency by frequency, with gradients by this module's rule."""
    if torch.is_grad_enabled():
        tracked: Tensor = _Product.apply(a, b)
        return tracked
    return _multiplied(a, b)


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
        kernels = [_of_taps(grid, to) for grid in given[1::2]]
        for x, kernel in zip(given[::2], kernels, strict=True):
            total = _multiplied(x, kernel.mT, total)
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
                kernel = kept.pop(0)
                again = torch.is_grad_enabled()
                found[i] = _product(total, _of_taps(grid, ctx.to) if again else kernel)
            if ctx.needs_input_grad[4 + i]:
                found[i + 1] = _transposed(_product(total.mT, x), ctx.to).flatten(0, 1)
        for_first = _first(total).sum(0, dtype=ctx.first) if ctx.needs_input_grad[2] else None
        return (None, None, for_first, *found)


def _first(y: Tensor) -> Tensor:
    """Return the real part of the first frequency, ``(N, C)``, of a spectrum."""
    return y[0].real if y.is_complex() else y[0, 0]


def _short(dtype: torch.dtype) -> bool:
    """Return whether a type has no complex one that products are computed in."""
    return dtype.itemsize < 4


def _multiplied(a: Tensor, b: Tensor, total: Tensor | None = None) -> Tensor:
    """Return the complex a·b of two spectra, added to ``total`` in place where there is one."""
    if a.is_complex():
        return torch.bmm(a, b) if total is None else total.baddbmm_(a, b)
    found = a.new_empty(*a.shape[:-1], b.shape[-1]) if total is None else total
    for part, sign in enumerate((-1, 1)):
        found[part].baddbmm_(a[0], b[part], beta=0 if total is None else 1)
        found[part].baddbmm_(a[1], b[1 - part], alpha=sign)
    return found
