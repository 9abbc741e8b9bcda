"""Spectral norms of a whole network, computed together; each is what its layer would compute.

One by one they take some forty small operations each: in a narrow discriminator as long as a
convolution takes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from attrs import define
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList, is_parametrized

from nastk.nn.forms import plain
from nastk.nn.linear import normed_plainly


@define(eq=False)
class Normalised:
    """What a power iteration found for one weight.

    Attributes:
        left: singular vector ``(out,)``.
        right: singular vector ``(in * kernel,)``.
        weight: ``(out, …)``, divided by its norm.
    """

    left: Tensor
    right: Tensor
    weight: Tensor


class JointWeight(ParametrizationList):
    """A spectrally normalised weight that takes what :class:`Joint` computed ahead.

    Attributes:
        ready: its share of what was computed together, until a pass takes it.
        taken: what this pass took; the vectors move when it ends.
        asked: whether this pass asked for the weight.
    """

    ready: Normalised | None = None
    taken: Normalised | None = None
    asked = False

    def forward(self) -> Tensor:
        """Return the weight ``(out, …)`` over its norm; in training mode the vectors move."""
        if not self.norm.training or plain():
            usual: Tensor = super().forward()
            return usual
        found = self.ready
        if found is not None:
            self.note(asked=True, ready=None, taken=found)
            return found.weight
        # Computed alone it goes the same way: what was ahead is no part of a state.
        _settle([self])
        found = normalise([self])[0]
        self.note(asked=True, taken=found)
        _settle([self])
        return found.weight

    @property
    def norm(self) -> Any:
        """What normalises; a module's own lookups are slow."""
        return self._modules["0"]

    def note(self, **values: Any) -> None:
        """Set attributes; a module's own way looks for parameters first."""
        self.__dict__.update(values)


class Joint:
    """The spectrally normalised weights of a network.

    Args:
        weights: alike in iterations and eps.
    """

    def __init__(self, weights: Sequence[JointWeight]) -> None:
        self._always = list(weights)
        self._met = False

    @contextmanager
    def ahead(self) -> Iterator[None]:
        """Compute what every pass so far asked for; for the duration of one more pass.

        What this pass does not ask for does not move, and is not computed ahead again: it lies on
        a path that is not always taken.
        """
        training = [weight for weight in self._always if weight.norm.training]
        for weight in training:
            weight.note(asked=False)
        ahead = training if self._met else []
        for weight, found in zip(ahead, normalise(ahead) if ahead else (), strict=True):
            weight.note(ready=found)
        try:
            yield
        finally:
            for weight in ahead:
                weight.note(ready=None)
            _settle(ahead)
        if training:
            self._met = True
            self._always = [weight for weight in self._always if weight.asked]


@torch.no_grad()
def _settle(weights: Sequence[JointWeight]) -> None:
    """Move the vectors to where a pass left them, of weights that it took."""
    taken = [(w.norm, w.taken) for w in weights if w.taken is not None]
    if taken:
        buffers = [vector for norm, _ in taken for vector in (norm._u, norm._v)]
        torch._foreach_copy_(buffers, [vector for _, t in taken for vector in (t.left, t.right)])
    for weight in weights:
        weight.note(taken=None)


def join(network: nn.Module) -> Joint | None:
    """Let the spectrally normalised weights of ``network`` be computed ahead; None: there is none.

    Names, parameters, vectors and states stay what they are.
    """
    found: list[JointWeight] = []
    for module in network.modules():
        if is_parametrized(module, "weight") and normed_plainly(module):
            weight: Any = module.parametrizations["weight"]  # type: ignore[index]
            norm = weight[0]
            if not found or _settings(norm) == _settings(found[0].norm):
                weight.__class__ = JointWeight
                found.append(weight)
    return Joint(found) if found else None


def _settings(norm: Any) -> tuple[int, float]:
    return norm.n_power_iterations, norm.eps


def normalise(joint: Sequence[JointWeight]) -> list[Normalised]:
    """Return weights over their spectral norms, after power iterations; buffers stay."""
    weights = [weight.original for weight in joint]
    left, right, sigma = _iterated([weight.norm for weight in joint], weights)
    divided = _Divide.apply(left, right, sigma, *weights)
    return [Normalised(*found) for found in zip(left, right, divided, strict=True)]


@torch.no_grad()
def _iterated(
    norms: Sequence[Any], weights: Sequence[Tensor]
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Return left vectors, right vectors and the norms of ``weights``."""
    eps = norms[0].eps
    right: list[Tensor] = [norm._v for norm in norms]
    with torch.autocast(weights[0].device.type, enabled=False):
        matrices = [weight.flatten(1) for weight in weights]
        for _ in range(norms[0].n_power_iterations):
            left = [torch.mv(m, v) for m, v in zip(matrices, right, strict=True)]
            _shorten(left, eps)
            right = [torch.mv(m.t(), u) for m, u in zip(matrices, left, strict=True)]
            # Of unit vectors u, and v along Wᵀu, the norm uᵀWv is the length of Wᵀu.
            sigma = _shorten(right, eps)
    return left, right, sigma


def _shorten(vectors: list[Tensor], eps: float) -> list[Tensor]:
    """Divide vectors by their lengths, at least ``eps``, in place; return the lengths."""
    lengths = list(torch._foreach_norm(vectors))
    torch._foreach_div_(vectors, torch._foreach_clamp_min(lengths, eps))
    return lengths


class _Divide(torch.autograd.Function):
    """Weights → weights over uᵀWv, of vectors that take part as constants."""

    @staticmethod
    def forward(
        ctx: Any, left: list[Tensor], right: list[Tensor], sigma: list[Tensor], *weights: Tensor
    ) -> tuple[Tensor, ...]:
        divided = tuple(torch._foreach_div(weights, sigma))
        ctx.save_for_backward(*weights, *divided)
        ctx.left, ctx.right, ctx.sigma = left, right, sigma
        ctx.set_materialize_grads(False)
        return divided

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        count = len(grads)
        weights, divided = ctx.saved_tensors[:count], ctx.saved_tensors[count:]
        here = [i for i, grad in enumerate(grads) if grad is not None]
        given: list[Any] = [grads[i] for i in here]
        left, right, sigma = ([of[i] for i in here] for of in (ctx.left, ctx.right, ctx.sigma))
        if torch.is_grad_enabled():
            of = zip(given, [weights[i] for i in here], left, right, strict=True)
            found = [_differentiable(*each) for each in of]
        else:
            found = _slopes(given, [divided[i] for i in here], left, right, sigma)
        result: list[Tensor | None] = [None] * count
        for i, grad in zip(here, found, strict=True):
            result[i] = grad
        return (None, None, None, *result)


def _slopes(
    grads: list[Tensor],
    divided: list[Tensor],
    left: list[Tensor],
    right: list[Tensor],
    sigma: list[Tensor],
) -> list[Tensor]:
    """Return (G - <G, W/s> uvᵀ) / s for every weight's G."""
    along = [product.sum() for product in torch._foreach_mul(grads, divided)]
    columns = torch._foreach_div(torch._foreach_mul(left, along), sigma)
    found = [_dense(slope) for slope in torch._foreach_div(grads, sigma)]
    for slope, column, row in zip(found, columns, right, strict=True):
        matrix, row = _as_stored(slope, row)
        matrix.addr_(column, row, alpha=-1)
    return found


def _dense(weight: Tensor) -> Tensor:
    """Return a weight contiguous or channels last."""
    last = weight.dim() == 4 and weight.is_contiguous(memory_format=torch.channels_last)
    return weight if last else weight.contiguous()


def _as_stored(weight: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
    """Return a view ``(out, in * kernel)`` of a weight as it lies in memory, and ``row`` likewise.

    Args:
        weight: ``(out, in, …)`` as of :func:`_dense`.
        row: ``(in * kernel,)``, of one that is contiguous.
    """
    if weight.is_contiguous():
        return weight.view(len(weight), -1), row
    matrix = weight.permute(0, 2, 3, 1).view(len(weight), -1)
    return matrix, row.view(weight.shape[1], -1).t().flatten()


def _differentiable(grad: Tensor, weight: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Return the same for one weight, as a function of G and W."""
    sigma = torch.dot(left, torch.mv(weight.flatten(1), right))
    along = (grad * weight).sum() / sigma
    return (grad - along * torch.outer(left, right).view(weight.shape)) / sigma
