"""Transforms of both axes of an image to frequencies and back, as products with small matrices.

The first axis is transformed to the half of its frequencies that the rest follows from, the second
to all. A spectrum lies in memory as one of three kinds:

* ``complex``: ``(half, whole, …)``, complex.
* ``parts``: ``(2, half, whole, …)``, real parts first: for types that have no complex one.
* ``small``: the same, where small products are faster so (:mod:`nastk.nn.products`). Positions of
  the second axis that mirror each other are added and subtracted before: cosines need the sums
  alone and sines the differences, so that half of the multiplications are left.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from attrs import frozen
from torch import Tensor

from nastk.nn.constants import constant
from nastk.nn.products import batched, small_products

Kind = Literal["complex", "parts", "small"]
Positions = Sequence[float]

MIRRORED = 32
"""Positions from which on sums and differences pay for themselves."""


def kind_of(dtype: torch.dtype, device: torch.device) -> Kind:
    """Return how spectra of values of this type are kept."""
    if dtype.itemsize < 4:
        return "parts"
    return "small" if small_products(dtype, device) else "complex"


def kind_like(spectrum: Tensor) -> Kind:
    """Return how a spectrum ``(…, N, C)`` is kept."""
    if spectrum.is_complex():
        return "complex"
    return "parts" if spectrum.itemsize < 4 else "small"


@frozen(eq=False)
class Matrices:
    """A transform of both axes, and its transpose.

    Attributes:
        along: ``(2 * half, positions)``, of the first axis: for each frequency a row of cosines
            and one of signed sines. Mirrored, the second axis being parted into sums s and
            differences d: ``(2, 2 * half, positions)``, for s and for d, the latter with sines
            first.
        back: its transpose ``(…, positions, 2 * half)``, sines negated.
        down: of the second axis, complex ``(whole, positions)``. By parts: ``(2, whole, 2 *
            positions)``, for real and for imaginary parts, from real parts above imaginary ones.
            Mirrored: ``(2, whole, positions)``, from s of the same part above d of the other.
        up: its transpose. By parts: ``(2, 2 * positions, whole)``, from real and from imaginary
            parts. Mirrored: ``(2, positions, whole)``.
    """

    along: Tensor
    back: Tensor
    down: Tensor
    up: Tensor

    @property
    def half(self) -> int:
        """How many frequencies of the first axis are kept."""
        return self.along.shape[-2] // 2

    @property
    def mirrored(self) -> bool:
        """Whether the second axis is parted into sums and differences."""
        return self.along.dim() == 3


@constant
def to_frequencies(
    period: tuple[int, int],
    positions: tuple[Positions, Positions],
    sign: int,
    kind: Kind,
    dtype: torch.dtype,
    device: torch.device,
) -> Matrices:
    """Return the transform of values at ``positions``, the exponent's sign being ``sign``.

    Args:
        period: of both axes.
        positions: of the values, multiples of 1/2.
        sign: 1 or -1.
        kind: of spectrum.
        dtype: of the values.
        device: that the matrices are on.
    """
    angles = _angles(period[0], period[0] // 2 + 1, positions[0])
    along = torch.stack((angles.cos(), sign * angles.sin()), 1)
    return _matrices(along, period[1], positions[1], sign, kind, dtype, device)


@constant
def to_positions(
    period: tuple[int, int],
    positions: tuple[Positions, Positions],
    kind: Kind,
    dtype: torch.dtype,
    device: torch.device,
) -> Matrices:
    """Return the transform whose transpose takes a half spectrum back to ``positions``.

    Arguments as for :func:`to_frequencies`.
    """
    angles = _angles(period[0], period[0] // 2 + 1, positions[0])
    times = torch.full((len(angles), 1), 2.0, dtype=torch.float64)
    times[0] = 1.0
    if period[0] % 2 == 0:
        times[-1] = 1.0
    times /= period[0] * period[1]
    along = torch.stack((angles.cos() * times, angles.sin() * times), 1)
    return _matrices(along, period[1], positions[1], 1, kind, dtype, device)


def _angles(period: int, frequencies: int, positions: Positions) -> Tensor:
    """Return ``2 pi k p / period`` as ``(frequencies, positions)`` float64, reduced before."""
    k, twice = torch.arange(frequencies), torch.tensor([round(2 * p) for p in positions])
    return (torch.outer(k, twice) % (2 * period)).double().mul(math.pi / period)


def _matrices(
    along: Tensor,
    period: int,
    positions: Positions,
    sign: int,
    kind: Kind,
    dtype: torch.dtype,
    device: torch.device,
) -> Matrices:
    mirrored = kind == "small" and _mirrored(positions)
    if mirrored:
        along = torch.stack((along, along.flip(1)))
        positions = positions[: len(positions) // 2]
    back = (along * torch.tensor([1.0, -1.0])[:, None]).flatten(-3, -2).mT
    angles = _angles(period, period, positions)
    cos, sin = angles.cos(), sign * angles.sin()
    if kind == "complex":
        down = torch.complex(cos, sin).to(dtype.to_complex())
        up = down.t()
    elif mirrored:
        down = torch.stack((torch.cat((cos, -sin), 1), torch.cat((cos, sin), 1))).to(dtype)
        up = down.mT
    else:
        down = torch.stack((torch.cat((cos, -sin), 1), torch.cat((sin, cos), 1))).to(dtype)
        up = torch.stack((torch.cat((cos, sin), 1), torch.cat((-sin, cos), 1))).mT.to(dtype)
    along, back = along.flatten(-3, -2).to(dtype), back.to(dtype)
    return Matrices(*(m.to(device) for m in (along, back, down, up)))


def _mirrored(positions: Positions) -> bool:
    """Return whether sums and differences of positions around 0 are worth it."""
    pairs = zip(positions, reversed(positions), strict=True)
    count = len(positions)
    return count >= MIRRORED and count % 2 == 0 and all(p == -q for p, q in pairs)


def analysed(x: Tensor, matrices: Matrices) -> Tensor:
    """Return the spectrum ``(half, whole, rest)``, by parts ``(2, …)``, of ``(a, b, rest)``."""
    n, down = matrices.half, matrices.down
    if matrices.mirrored:
        rows = _half_spectra(x, matrices)
        return batched(down[:, None], rows, x.new_empty(2, n, down.shape[1], x.shape[2]))
    rows = torch.mm(matrices.along, x.flatten(1)).view(n, 2, -1, x.shape[2])
    if down.is_complex():
        return torch.bmm(down.expand(n, -1, -1), torch.complex(rows[:, 0], rows[:, 1]))
    found = x.new_empty(2, n, down.shape[1], x.shape[2])
    return batched(down[:, None], rows.flatten(1, 2)[None], found)


def synthesised(y: Tensor, matrices: Matrices) -> Tensor:
    """Return the transpose of :func:`analysed`, the real part of what it adds up to.

    Args:
        y: ``(half, whole, rest)``, by parts ``(2, half, whole, rest)``.
        matrices: of the transform.

    Returns:
        ``(a, b, rest)``.
    """
    n, up = matrices.half, matrices.up
    if matrices.mirrored:
        rows = y.new_empty(n, 2, up.shape[1], y.shape[-1])
        batched(up[:, None], y, rows.transpose(0, 1))
        return _of_half_spectra(rows, matrices)
    if y.is_complex():
        half = torch.bmm(up.expand(n, -1, -1), y)
        rows = torch.stack((half.real, half.imag), 1)
    else:
        real, imaginary = (matrix.expand(n, -1, -1) for matrix in up)
        rows = torch.bmm(real, y[0]).baddbmm_(imaginary, y[1])
    return torch.mm(matrices.back, rows.view(2 * n, -1)).view(len(matrices.back), -1, y.shape[-1])


# -- sums and differences ----------------------------------------------------------------------
#
# Half spectra lie as (half, part, positions of s above as many of d, rest), so that what a part
# of the spectrum needs is one matrix: of d, it is the other part that lies under a part of s.


def _half_spectra(x: Tensor, matrices: Matrices) -> Tensor:
    """Return ``(2, half, positions, rest)``, transformed along the first axis."""
    count = x.shape[1] // 2
    parted = x.new_empty(2, x.shape[0], count, x.shape[2])
    ours, theirs = x.numpy(), parted.numpy()
    near, far = ours[:, :count], ours[:, : count - 1 : -1]
    np.add(near, far, out=theirs[0])
    np.subtract(near, far, out=theirs[1])
    rows = x.new_empty(matrices.half, 2, 2 * count, x.shape[2])
    batched(matrices.along[:, None], parted.flatten(2)[:, None], _by_parted(rows))
    return rows.transpose(0, 1)


def _of_half_spectra(rows: Tensor, matrices: Matrices) -> Tensor:
    """Return the transpose of :func:`_half_spectra`, of ``(half, 2, positions, rest)``."""
    count, length = rows.shape[2] // 2, rows.shape[3]
    parted = rows.new_empty(2, 1, matrices.back.shape[1], count * length)
    batched(matrices.back[:, None], _by_parted(rows), parted)
    ours = parted.view(2, -1, count, length).numpy()
    found = rows.new_empty(ours.shape[1], 2 * count, length)
    theirs = found.numpy()
    np.add(ours[0], ours[1], out=theirs[:, :count])
    np.subtract(ours[0], ours[1], out=theirs[:, : count - 1 : -1])
    return found


def _by_parted(rows: Tensor) -> Tensor:
    """Return ``(half, 2, 2 * count, rest)`` as ``(2, 1, 2 * half, count * rest)``, s and d."""
    return rows.view(2 * len(rows), 2, -1).transpose(0, 1)[:, None]
