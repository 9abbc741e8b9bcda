"""Batches of small matrix products, complex ones as pairs of real and imaginary parts.

The mixing of channels in the frequency domain is hundreds of products of matrices of a few dozen
rows. The library that torch calls reaches about half of a CPU's peak with them. OpenBLAS, which
numpy calls, has kernels of their own for small products on CPUs with AVX-512 and comes close to
the peak; it uses one thread for them.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

SMALL = 2**18
"""Multiplications up to which OpenBLAS takes a product for a small one, for one thread alone."""

LEAST = 16
"""Columns that are not cut any further, for a vector at a time is slow."""


def small_products(dtype: torch.dtype, device: torch.device) -> bool:
    """Return whether small products of this type are faster by numpy's library than by torch's."""
    return (
        device.type == "cpu"
        and dtype in (torch.float32, torch.float64)
        and torch.get_num_threads() == 1
        and _small_kernels()
    )


@cache
def _small_kernels() -> bool:
    config = np.show_config(mode="dicts")
    library = config["Build Dependencies"]["blas"]["name"] if config else ""
    capable = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    return capable and "openblas" in library.lower()


def batched(a: Tensor, b: Tensor, out: Tensor) -> Tensor:
    """Return ``out``, now a·b for every leading index; those of ``a`` and ``b`` broadcast.

    Args:
        a: ``(..., m, k)``.
        b: ``(..., k, n)``, rows without gaps inside.
        out: ``(i, j, m, n)``, likewise.
    """
    if small_products(out.dtype, out.device):
        return _by_numpy(a, b, out)
    a, b = (t.expand(*out.shape[:2], -1, -1) for t in (a, b))
    for i, each in enumerate(out):
        torch.bmm(a[i], b[i], out=each)
    return out


def _by_numpy(a: Tensor, b: Tensor, out: Tensor) -> Tensor:
    """Do :func:`batched` by numpy, wide matrices in pieces that count as small."""
    per_column, columns = out.shape[-2] * a.shape[-1], out.shape[-1]
    if per_column * columns <= SMALL or columns <= LEAST:
        np.matmul(a.numpy(), b.numpy(), out=out.numpy())
        return out
    width = max(LEAST, _power(SMALL // per_column))
    alike = columns - columns % width
    pieces, into = (
        t[..., :alike].view(*t.shape[:-1], -1, width).transpose(-3, -2) for t in (b, out)
    )
    np.matmul(a[..., None, :, :].numpy(), pieces.numpy(), out=into.numpy())
    if alike < columns:
        _by_numpy(a, b[..., alike:], out[..., alike:])
    return out


def _power(most: int) -> int:
    """Return the largest power of 2 up to ``most``, 0 of 0."""
    return 1 << most.bit_length() >> 1


def multiplied(a: Tensor, b: Tensor, total: Tensor | None = None) -> Tensor:
    """Return complex a·b by first index, added to ``total`` in place where there is one.

    Args:
        a: complex ``(F, m, k)``, or ``(2, F, m, k)``, real parts first.
        b: ``(F, k, n)`` or ``(2, F, k, n)``, of the same kind.
        total: ``(F, m, n)`` or ``(2, F, m, n)``.
    """
    if a.is_complex():
        return torch.bmm(a, b) if total is None else total.baddbmm_(a, b)
    if small_products(a.dtype, a.device):
        return _by_parts(a, b, total)
    found = a.new_empty(*a.shape[:-1], b.shape[-1]) if total is None else total
    for part, sign in enumerate((-1, 1)):
        found[part].baddbmm_(a[0], b[part], beta=0 if total is None else 1)
        found[part].baddbmm_(a[1], b[1 - part], alpha=sign)
    return found


def _by_parts(a: Tensor, b: Tensor, total: Tensor | None) -> Tensor:
    """Do :func:`multiplied` by numpy, which adds nothing to products by itself."""
    found = a.new_empty(*a.shape[:-1], b.shape[-1]) if total is None else total
    more = torch.empty_like(found[0])
    for part, add in enumerate((Tensor.sub_, Tensor.add_)):
        if total is None:
            _by_numpy(a[0], b[part], found[part])
        else:
            found[part].add_(_by_numpy(a[0], b[part], more))
        add(found[part], _by_numpy(a[1], b[1 - part], more))
    return found
