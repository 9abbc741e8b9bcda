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


def weighed(total: Tensor | None, terms: Sequence[tuple[Tensor, int, Tensor]]) -> Tensor:
    """Return ``total`` and the sum of w[i] * x over ``terms`` (w, i, x), the x of one shape."""
    vectors = {id(weights): weights for weights, _, _ in terms}
    order = {key: n for n, key in enumerate(vectors)}
    places = [(order[id(weights)], i) for weights, i, _ in terms]
    found: Tensor = _Weighed.apply(places, total, *vectors.values(), *(x for _, _, x in terms))
    return found


class _Weighed(torch.autograd.Function):
    """A sum and tensors times scalars, whose gradients are summed in their own precision."""

    @staticmethod
    def forward(
        ctx: Any, places: Sequence[tuple[int, int]], total: Tensor | None, *given: Tensor
    ) -> Tensor:
        ctx.save_for_backward(*given)
        ctx.places = places
        fresh = False
        for (vector, i), x in zip(places, given[-len(places) :], strict=True):
            factor = given[vector][i].to(x.dtype)
            if total is None or total.dtype != x.dtype:
                total = x * factor if total is None else total + x * factor
            else:
                total = torch.addcmul(total, x, factor, out=total if fresh else None)
            fresh = True
        assert total is not None
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        given, grad = ctx.saved_tensors, grads[0]
        first = len(given) - len(ctx.places)
        found: list[Tensor | None] = [
            torch.zeros_like(vector) if ctx.needs_input_grad[2 + n] else None
            for n, vector in enumerate(given[:first])
        ]
        for n, (vector, i) in enumerate(ctx.places, first):
            x, weights, for_weights = given[n], given[vector], found[vector]
            if for_weights is not None:
                exact = torch.promote_types(weights.dtype, x.dtype)
                for_weights[i] += _inner(grad.to(exact), x.to(exact))
            needed = ctx.needs_input_grad[2 + n]
            found.append((grad * weights[i].to(grad.dtype)).to(x.dtype) if needed else None)
        return (None, grad if ctx.needs_input_grad[1] else None, *found)


def _inner(a: Tensor, b: Tensor) -> Tensor:
    """Return the sum of products, in one go where both lie alike in memory."""
    order = sorted(range(a.dim()), key=a.stride, reverse=True)
    a, b = a.permute(order), b.permute(order)
    if a.is_contiguous() and b.is_contiguous():
        return torch.dot(a.view(-1), b.view(-1))
    return (a * b).sum()


def mean(flat: Tensor, side: int) -> Tensor:
    """Return the mean over squares of ``(W, H, N, C)``; both sides are multiples of ``side``."""
    found: Tensor = _Mean.apply(flat, side)
    return found
