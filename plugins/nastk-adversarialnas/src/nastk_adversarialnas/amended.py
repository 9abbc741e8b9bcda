"""The gradient of choice weights, plain or with the amending second-order term.

Source: the amended gradient of Bi et al. 2019 (arXiv:1910.11831) as AdversarialNAS's public code
has it, where it is off. Differs: the direction is taken from the held-out loss alone; noise,
inputs, statistics and weights are the same before and after.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

STEP = 0.01
"""Length of the steps of the finite differences."""

Loss = Callable[[bool], Tensor]
"""Loss on the held-out half (True) or on the half for weights (False), repeatable."""


def choice_gradients(
    loss: Loss, choices: Sequence[nn.Parameter], weights: Sequence[nn.Parameter], coefficient: float
) -> list[Tensor]:
    """Return the gradients of the held-out loss for the choice weights; nothing is changed.

    With ``coefficient`` > 0 each is amended by ``- coefficient * h2``, where h2 is the mixed
    derivative of the weights' loss in the direction H v, v the held-out gradient of the weights
    and H the Hessian of the weights' loss, both by central differences.

    Args:
        loss: repeatable within the call, with gradients for both kinds of weights.
        choices: choice weights.
        weights: of the same network.
        coefficient: >= 0; 0 is first order.

    Returns:
        One each, of the same shape as the choice weights.
    """
    if coefficient == 0:
        return _gradients(loss(True), choices)
    both = _gradients(loss(True), [*choices, *weights])
    plain, direction = both[: len(choices)], both[len(choices) :]
    curved = _difference(lambda: _gradients(loss(False), weights), weights, direction)
    mixed = _difference(lambda: _gradients(loss(False), choices), weights, curved)
    return [g - coefficient * h for g, h in zip(plain, mixed, strict=True)]


@contextmanager
def unmoved(*networks: nn.Module) -> Iterator[None]:
    """Put the buffers of the networks (running statistics and the like) back at the end."""
    before = [(b, b.detach().clone()) for n in networks for b in n.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, saved in before:
                buffer.copy_(saved)


@contextmanager
def fixed(weights: Iterable[nn.Parameter]) -> Iterator[None]:
    """Ask for no gradients of ``weights``; what only they need is not computed."""
    asked = [p for p in weights if p.requires_grad]
    for parameter in asked:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in asked:
            parameter.requires_grad_(True)


def _gradients(loss: Tensor, parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for g, p in zip(found, parameters, strict=True)]


def _difference(
    gradients: Callable[[], list[Tensor]],
    weights: Sequence[nn.Parameter],
    direction: Sequence[Tensor],
) -> list[Tensor]:
    """Return the derivative of ``gradients`` as the weights move along ``direction``."""
    length = float(torch.stack(torch._foreach_norm(list(direction))).norm())
    if length == 0:
        return [torch.zeros_like(g) for g in gradients()]
    step = STEP / length
    before = [w.detach().clone() for w in weights]
    with _at(weights, before, direction, step):
        ahead = gradients()
    with _at(weights, before, direction, -step):
        behind = gradients()
    return [(a - b) / (2 * step) for a, b in zip(ahead, behind, strict=True)]


@contextmanager
def _at(
    weights: Sequence[nn.Parameter],
    before: Sequence[Tensor],
    direction: Sequence[Tensor],
    step: float,
) -> Iterator[None]:
    with torch.no_grad():
        for w, d in zip(weights, direction, strict=True):
            w.add_(d, alpha=step)
    try:
        yield
    finally:
        with torch.no_grad():
            for w, saved in zip(weights, before, strict=True):
                w.copy_(saved)
