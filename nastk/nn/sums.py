"""Sums of mixtures: what is added to what, and what its gradients are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def precision(x: Tensor) -> torch.dtype:
    """Return the type that products with ``x``, of any shape, are computed in here."""
    if torch.is_autocast_enabled(x.device.type) and x.dtype != torch.float64:
        return torch.get_autocast_dtype(x.device.type)
    return x.dtype


def plus(total: Tensor | None, term: Tensor) -> Tensor:
    """Return the sum, of one shape; ``term`` itself where there is nothing yet."""
    return term if total is None else total + term


class _Mean(torch.autograd.Function):
    """The mean over squares of ``(W, H, N, C)``."""

    @staticmethod
    def forward(ctx: Any, flat: Tensor, side: int) -> Tensor:
        ctx.side = side
        width, height, *rest = flat.shape
        squares = flat.view(width // side, side, height // side, side, *rest)
        total = squares.new_zeros(width // side, height // side, *rest)
        for i in range(side * side):
            total += squares[:, i // side, :, i % side]
        return total.div_(side * side)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        side = ctx.side
        width, height, *rest = grads[0].shape
        spread = (grads[0] / (side * side))[:, None, :, None]
        whole = spread.expand(-1, side, -1, side, *(-1 for _ in rest))
        return whole.reshape(width * side, height * side, *rest), None


def plus_bias(total: Tensor, biases: Sequence[Tensor]) -> Tensor:
    """Return ``total`` ``(N, C, H, W)`` with the sum of biases ``(C,)`` added."""
    if not biases:
        return total
    bias = biases[0] if len(biases) == 1 else torch.stack(list(biases)).sum(0)
    return total + bias.to(total.dtype)[:, None, None]


def weighed(total: Tensor | None, weight: Tensor, x: Tensor) -> Tensor:
    """Return ``total`` + weight * x of one shape, the weight a scalar."""
    found: Tensor = _Weighed.apply(total, weight, x)
    return found


class _Weighed(torch.autograd.Function):
    """A sum and a scalar times a tensor; the scalar's gradient is summed in its own precision."""

    @staticmethod
    def forward(ctx: Any, total: Tensor | None, weight: Tensor, x: Tensor) -> Tensor:
        ctx.save_for_backward(weight, x)
        factor = weight.to(x.dtype)
        if total is None:
            return x * factor
        if total.dtype == x.dtype:
            return torch.addcmul(total, x, factor)
        return total + x * factor

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        weight, x = ctx.saved_tensors
        grad, inner, for_x = grads[0], None, None
        if ctx.needs_input_grad[1]:
            exact = torch.promote_types(weight.dtype, x.dtype)
            inner = (grad.to(exact) * x.to(exact)).sum().to(weight.dtype)
        if ctx.needs_input_grad[2]:
            for_x = (grad * weight.to(grad.dtype)).to(x.dtype)
        return grad if ctx.needs_input_grad[0] else None, inner, for_x


def mean(flat: Tensor, side: int) -> Tensor:
    """Return the mean over squares of ``(W, H, N, C)``; both sides are multiples of ``side``."""
    found: Tensor = _Mean.apply(flat, side)
    return found
