"""Combined kernels: Σ wᵢ / σᵢ · Wᵢ of many edges at once, with spectral norms as one product.

Kernels of all options of all edges lie side by side, one row a tap. Everything is then a matrix
product over taps: the sums, the power iterations, and the gradients of weights and choice
weights. Only parameters are kept for backward.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from attrs import define, frozen
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from nastk.nn.constants import constant
from nastk.nn.linear import Taps


@frozen
class Layout:
    """Taps of the options of an edge, and the grid of rows and columns that holds them all.

    Attributes:
        taps: of each option.
        out: output channels.
        source: input channels.
    """

    taps: tuple[Taps, ...]
    out: int
    source: int

    @property
    def rows(self) -> tuple[int, ...]:
        """Distinct row offsets, ascending."""
        return _grid(self.taps)[0]

    @property
    def columns(self) -> tuple[int, ...]:
        """Distinct column offsets, ascending."""
        return _grid(self.taps)[1]

    @property
    def sizes(self) -> list[int]:
        """Taps of each option."""
        return [t.count[0] * t.count[1] for t in self.taps]

    def places(self, option: Taps) -> list[int]:
        """Return where the taps of one option lie in the grid, columns outermost."""
        rows, columns = self.rows, self.columns
        return [
            columns.index(c) * len(rows) + rows.index(r)
            for r in option.rows()
            for c in option.columns()
        ]


@cache
def _grid(options: tuple[Taps, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the distinct row and column offsets; a pass asks for those of every edge."""
    rows = sorted({r for t in options for r in t.rows()})
    columns = sorted({c for t in options for c in t.columns()})
    return tuple(rows), tuple(columns)


@constant
def _matrices(layout: Layout, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return ``(grid, taps)`` and ``(options, taps)`` incidence matrices."""
    sizes = layout.sizes
    places = [p for t in layout.taps for p in layout.places(t)]
    onto = torch.zeros(len(layout.rows) * len(layout.columns), len(places))
    onto[places, range(len(places))] = 1.0
    of = torch.repeat_interleave(torch.eye(len(sizes)), torch.tensor(sizes), 1)
    return onto.to(device, dtype), of.to(device, dtype)


@define(eq=False)
class Normed:
    """Singular vectors and values of all kernels of some edges, after this pass's iterations.

    Attributes:
        left: ``(edges, options, out)``.
        right: ``(edges, taps, in)``.
        sigma: ``(edges, options)``.
    """

    left: Tensor
    right: Tensor
    sigma: Tensor


def gathered(weights: Sequence[Tensor], edges: int) -> Tensor:
    """Return stored weights ``(out, in, k, k)`` as ``(edges, taps, out, in)``, edges outermost."""
    out, source = weights[0].shape[:2]
    taps = [weight[0, 0].numel() for weight in weights]
    found = weights[0].new_empty(sum(taps), out, source)
    parts = found.split(taps)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        torch._foreach_copy_(
            [part.view(*w.shape[2:], out, source) for part, w in zip(parts, weights, strict=True)],
            [weight.permute(2, 3, 0, 1) for weight in weights],
        )
    return found.view(edges, -1, out, source)


@torch.no_grad()
def power_iterations(
    kernels: Tensor, norms: Sequence[Any], layout: Layout, training: bool
) -> Normed:
    """Return the spectral norms of all kernels; buffers are left as they are.

    Args:
        kernels: ``(edges, taps, out, in)`` as :func:`gathered`.
        norms: torch's, edges outermost, alike in iterations and eps.
        layout: of every edge.
        training: whether to iterate first.
    """
    edges, taps = kernels.shape[:2]
    _, of = _matrices(layout, kernels.dtype, kernels.device)
    option = of.argmax(0)
    right = torch.cat([n._v.view(layout.source, -1).t() for n in norms])
    left = torch.cat([n._u for n in norms]).view(edges, -1, layout.out)
    right = right.view(edges, taps, layout.source)
    flat, eps = kernels.flatten(0, 1), norms[0].eps
    for _ in range(norms[0].n_power_iterations if training else 0):
        products = torch.bmm(flat, right.reshape(-1, layout.source, 1)).view(edges, taps, -1)
        left = nn.functional.normalize(of @ products, dim=2, eps=eps)
        back = _backwards(flat, left, option).view(edges, taps, -1)
        length = (back.square().sum(2) @ of.t()).sqrt_().clamp_(min=eps)
        right = back / length[:, option, None]
    back = _backwards(flat, left, option).view(edges, taps, -1)
    return Normed(left, right, (back * right).sum(2) @ of.t())


def _backwards(flat: Tensor, left: Tensor, option: Tensor) -> Tensor:
    """Return the transposed kernels' products with the left vectors, ``(edges * taps, in)``."""
    spread = left[:, option].reshape(-1, 1, left.shape[2])
    return torch.bmm(spread, flat)[:, 0]


def moved_vectors(
    normed: Normed, norms: Sequence[Any], layout: Layout
) -> list[tuple[Tensor, Tensor]]:
    """Return buffers ``(out,)`` and ``(in, taps)`` and what they become, two pairs a norm.

    Args:
        normed: what was found.
        norms: torch's, edges outermost.
        layout: of every edge.
    """
    left = normed.left.flatten(0, 1).unbind()
    sizes = layout.sizes * len(normed.left)
    right = normed.right.flatten(0, 1).split(sizes)  # type: ignore[no-untyped-call]
    found = []
    for norm, u, v in zip(norms, left, right, strict=True):
        found += [(norm._u, u), (norm._v.view(layout.source, -1), v.t())]
    return found


class _Combine(torch.autograd.Function):
    """Weights, biases and choice weights → one grid of taps and one bias per edge."""

    @staticmethod
    def forward(
        ctx: Any,
        layout: Layout,
        normed: Normed | None,
        members: Sequence[int],
        lean: bool,
        kernels: Tensor,
        *given: Tensor,
    ) -> tuple[Tensor, ...]:
        edges = kernels.shape[0]
        ctx.members, ctx.weighed = members, (len(given[0]), given[0].dtype)
        choice, parameters = _chosen(given[:edges], members, kernels), given[edges:]
        count = len(layout.taps) * edges
        ctx.layout, ctx.normed, ctx.biased = layout, normed, len(parameters) > count
        ctx.taps, ctx.lean = kernels.shape[1], lean
        kept = () if lean else (kernels,)
        ctx.save_for_backward(choice, *parameters, *kept)
        ctx.set_materialize_grads(False)
        ctx.matrices = onto, of = _matrices(layout, kernels.dtype, kernels.device)
        scale = choice if normed is None else choice / normed.sigma
        mixing = onto * (scale @ of)[:, None]
        grids = torch.bmm(mixing, kernels.flatten(2)).view(edges, -1, *kernels.shape[2:])
        if not ctx.biased:
            return tuple(grids.unbind())
        biases = torch.bmm(choice[:, None], _stacked(parameters[count:], edges))[:, 0]
        return (*grids.unbind(), *biases.unbind())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        choice, *parameters = ctx.saved_tensors
        kept = None if ctx.lean else parameters.pop()
        normed = ctx.normed
        edges, options = choice.shape
        count = edges * options
        weights, biases = parameters[:count], parameters[count:]
        used = [g is not None for g in grads[:edges]]
        if kept is None:
            kept = gathered(weights, edges)
        kernels = kept.view(edges, ctx.taps, -1)
        onto, of = ctx.matrices
        grid = torch.stack([_or_zero(g, onto.shape[0], kernels) for g in grads[:edges]])
        # ⟨∂L/∂K, embed(Wᵢ)⟩, tap by tap.
        inner = torch.bmm(kernels, grid.transpose(1, 2)).mul_(onto.t()).sum(2) @ of.t()
        scale = choice if normed is None else choice / normed.sigma
        for_choice = inner if normed is None else inner / normed.sigma
        for_weights = _for_weights(ctx, grid, scale, inner, weights, used)
        for_biases: list[Tensor | None] = [None] * len(biases)
        if biases:
            more, for_biases = _for_biases(choice, biases, grads[edges:])
            for_choice = for_choice + more
        for_choices = _for_choices(ctx, for_choice, grads)
        return (None, None, None, None, None, *for_choices, *for_weights, *for_biases)


def _for_weights(
    ctx: Any,
    grid: Tensor,
    scale: Tensor,
    inner: Tensor,
    weights: Sequence[Tensor],
    used: Sequence[bool],
) -> list[Tensor | None]:
    """Return the gradients of the stored weights; None for edges that were not run."""
    first = 5 + grid.shape[0]
    if not any(ctx.needs_input_grad[first : first + len(weights)]):
        return [None] * len(weights)
    layout, normed = ctx.layout, ctx.normed
    onto, of = ctx.matrices
    mixing = onto * (scale @ of)[:, None]
    found = torch.bmm(mixing.transpose(1, 2), grid).view(-1, layout.out, layout.source)
    if normed is not None:
        option = of.argmax(0)
        pull = -(inner * scale / normed.sigma)[:, :, None] * normed.left
        left = pull[:, option].reshape(-1, layout.out, 1)
        found.baddbmm_(left, normed.right.reshape(-1, 1, layout.source))
    parts = found.split(layout.sizes * grid.shape[0])  # type: ignore[no-untyped-call]
    options = len(layout.taps)
    return [
        _by_place(part, w) if used[i // options] else None
        for i, (part, w) in enumerate(zip(parts, weights, strict=True))
    ]


def _by_place(part: Tensor, like: Tensor) -> Tensor:
    return part.view(*like.shape[2:], *like.shape[:2]).permute(2, 3, 0, 1)


def _for_biases(
    choice: Tensor, biases: Sequence[Tensor], grads: Sequence[Tensor | None]
) -> tuple[Tensor, list[Tensor | None]]:
    """Return the gradients of choice weights and biases through the edges' biases."""
    edges, options = choice.shape
    values = _stacked(biases, edges)
    zero = values.new_zeros(values.shape[2])
    grad = torch.stack([zero if g is None else g for g in grads])
    each = (choice[:, :, None] * grad[:, None]).flatten(0, 1).unbind()
    kept = [g if grads[i // options] is not None else None for i, g in enumerate(each)]
    return torch.bmm(values, grad[:, :, None])[:, :, 0], kept


def _chosen(choices: Sequence[Tensor], members: Sequence[int], like: Tensor) -> Tensor:
    """Return ``(edges, options)`` of what is combined."""
    whole = torch.stack(list(choices)).to(like.dtype)
    return whole if len(members) == whole.shape[1] else whole[:, list(members)]


def _for_choices(ctx: Any, found: Tensor, grads: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Return the gradient of every edge's weights; None for edges that were not run."""
    (count, dtype), edges = ctx.weighed, found.shape[0]
    whole = found
    if len(ctx.members) != count:
        whole = found.new_zeros(edges, count)
        whole[:, list(ctx.members)] = found
    rows = whole.to(dtype).unbind()
    known = [grads[e] is not None or grads[e - edges] is not None for e in range(edges)]
    return [row if run else None for row, run in zip(rows, known, strict=True)]


def _stacked(biases: Sequence[Tensor], edges: int) -> Tensor:
    return torch.stack(list(biases)).view(edges, -1, biases[0].shape[0])


def _or_zero(grad: Tensor | None, rows: int, like: Tensor) -> Tensor:
    if grad is None:
        return like.new_zeros(rows, like.shape[2])
    return grad.reshape(rows, -1)


def combine(
    layout: Layout,
    parameters: Sequence[Tensor],
    choices: Sequence[Tensor],
    members: Sequence[int],
    normed: Normed | None,
    kernels: Tensor,
    lean: bool = False,
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Return a grid ``(columns * rows, out, in)`` and a bias ``(out,)`` for every edge.

    Args:
        layout: of every edge.
        parameters: stored weights, edges outermost, then the biases of all or none.
        choices: for every edge the mixture weights of all of its modules.
        members: the modules that are combined, in the order of the layout.
        normed: spectral norms, None where there are none.
        kernels: as :func:`gathered`.
        lean: keep only parameters for backward, and gather the kernels again.
    """
    apply: Any = _Combine.apply
    found = apply(layout, normed, members, lean, kernels, *choices, *parameters)
    edges = kernels.shape[0]
    return found[:edges], found[edges:]
