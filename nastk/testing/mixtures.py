"""The law of forms: however a mixture is evaluated, it is the same mixture.

Any plugin may hold its space to it::

    hold_forms(MySpace(...), "generator", "frequency", seed=0)
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from nastk.nn.accelerate import accelerate
from nastk.nn.choice import Network, build
from nastk.nn.forms import plain_forms
from nastk.nn.spectral import SpectralNorm
from nastk.objective import as_scores
from nastk.randomness import Randomness
from nastk.records import Role
from nastk.space import SearchSpace
from nastk.testing.laws import TOLERANCE, inputs, randomised

FORMS = ("auto", "merged", "ring", "single", "frequency")
"""Forms that a space is held to."""

Running = Mapping[str, Iterable[str]]


def hold_forms(
    space: SearchSpace,
    role: Role,
    form: str,
    seed: int = 0,
    *,
    normed: bool = False,
    few: int = 0,
    steps: int = 2,
) -> None:
    """Fail unless a form equals the plain evaluation in float64, in training mode.

    Outputs, gradients of inputs, parameters and choice weights, and buffers are compared, over
    ``steps`` successive steps of gradient descent.

    Args:
        space: small enough for float64.
        role: network.
        form: see :func:`nastk.nn.accelerate.accelerate`.
        seed: of weights and mixtures.
        normed: apply spectral norm first.
        few: run only so many random options of each decision, 0 for all.
        steps: number of steps.

    Raises:
        AssertionError: something differs by more than 1e-10, relative to the largest value.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _network(space, role, form, seed, normed)
        plain = copy.deepcopy(network)
        x = inputs(space, role).requires_grad_()
        for _ in range(steps):
            running = _running(network, few)
            weights = _weights(network, running)
            mine = _step(network, x, weights, running)
            with plain_forms():
                theirs = _step(plain, x, weights, running)
            _compare(mine, theirs, _of_no_effect(plain))


def _network(space: SearchSpace, role: Role, form: str, seed: int, normed: bool) -> Network:
    network = build(space, role, {})
    if normed:
        SpectralNorm().apply(network, Randomness(seed))
    network = randomised(network, seed).train()
    accelerate(network, form)
    return network


def _running(network: Network, few: int) -> dict[str, list[str]]:
    found = {}
    for decision, options in network.selection.options.items():
        if few and len(options) > few:
            kept = torch.randperm(len(options))[:few].tolist()
            found[decision] = [options[i] for i in sorted(kept)]
    return found


def _weights(network: Network, running: Mapping[str, list[str]]) -> dict[str, Tensor]:
    found = {}
    for decision, options in network.selection.options.items():
        weights = torch.rand(len(options), dtype=torch.float64) + 0.1
        kept = running.get(decision, options)
        weights *= torch.tensor([float(o in kept) for o in options])
        found[decision] = weights
    return found


def _step(
    network: Network, x: Tensor, weights: Mapping[str, Tensor], running: Running
) -> dict[str, Tensor | None]:
    """Return everything that a step computes, and take it."""
    own = {d: w.clone().requires_grad_() for d, w in weights.items()}
    network.mix(own, running)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)  # dropout
        outputs = [o for o in as_scores(network(x)) if o is not None]
    seeds = torch.Generator().manual_seed(3)
    total = torch.stack([
        (o * torch.randn(o.shape, generator=seeds, dtype=o.dtype)).sum() for o in outputs
    ]).sum()  # fmt: skip
    named = dict(network.named_parameters())
    asked = [x, *named.values(), *own.values()]
    gradients = torch.autograd.grad(total, asked, allow_unused=True)
    labels = ["input", *named, *(f"weights of {d}" for d in own)]
    found: dict[str, Tensor | None] = dict(zip(labels, gradients, strict=True))
    found |= {f"output {i}": o.detach() for i, o in enumerate(outputs)}
    found |= {f"buffer {n}": b.clone() for n, b in network.named_buffers()}
    with torch.no_grad():
        for name, parameter in named.items():
            gradient = found[name]
            if gradient is not None:
                parameter.sub_(0.01 * gradient / (1.0 + gradient.abs().max()))
    return found


def _compare(
    mine: Mapping[str, Tensor | None], theirs: Mapping[str, Tensor | None], nothing: Sequence[str]
) -> None:
    """Fail unless both are equal.

    Args:
        mine: by name, what one way computes.
        theirs: what the other does.
        nothing: names of gradients that are zero but for the rounding of what cancels in them;
            they are held to that, by the largest gradient of the step.
    """
    assert mine.keys() == theirs.keys()
    largest = max(float(t.abs().max()) for t in theirs.values() if t is not None)
    for name, expected in theirs.items():
        found = mine[name]
        assert (found is None) == (expected is None), f"{name}: one has a gradient, one has none"
        if found is None or expected is None or not expected.is_floating_point():
            continue
        # A gradient in front of a norm may be zero but for rounding, which goes with what cancels.
        scale = max(float(expected.abs().max()), 1e-3 * max(1.0, largest))
        if name in nothing:
            scale, expected = largest, torch.zeros_like(expected)
        worst = float((found - expected).abs().max()) / scale
        assert worst <= TOLERANCE, f"{name}: differs by {worst:.1e} of its largest value"


def _of_no_effect(network: Network) -> list[str]:
    """Return the spectrally normed weights of one number: only their sign has an effect."""
    return [
        name
        for name, parameter in network.named_parameters()
        if name.endswith("parametrizations.weight.original") and parameter.numel() == 1
    ]
