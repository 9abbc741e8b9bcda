"""The three laws of choices, as a contract suite for any search space.

Subclass :class:`ChoiceLaws` in a test module and give it a ``space`` fixture::

    class TestMySpace(ChoiceLaws):
        @pytest.fixture
        def space(self):
            return MySpace(...)
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from nastk.nn.choice import Network, build, build_derived
from nastk.nn.transfer import transfer
from nastk.objective import as_scores
from nastk.randomness import Randomness
from nastk.records import Architecture, Role
from nastk.space import SearchSpace

TOLERANCE = 1e-10
"""Largest difference in float64, relative to the largest output."""


def inputs(space: SearchSpace, role: Role, blocks: int | None = None) -> Tensor:
    """Return a float64 batch ``(2, …)`` for one of the networks, always the same."""
    task = space.task if blocks is None else space.prefix_task(blocks)
    shape = space.input.shape if role == "generator" else task.image
    generator = Randomness(7).fixed("laws")
    return torch.randn(2, *shape, generator=generator, dtype=torch.float64)


def randomised(network: Network, seed: int = 0) -> Network:
    """Return ``network`` in float64 with every parameter and statistic drawn, in eval mode."""
    generator = torch.Generator().manual_seed(seed)
    network = network.double().eval()
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
                scale = 1.0 if tensor.dim() < 2 else tensor[0].numel() ** -0.5
                tensor.copy_(noise.abs() + 0.5 if "running_var" in name else noise * scale)
    return network


def outputs(network: Network, x: Tensor) -> list[Tensor]:
    """Return all outputs ``(N, …)`` of ``network`` that are there."""
    with torch.no_grad():
        return [o for o in as_scores(network(x)) if o is not None]


def assert_equal(mine: list[Tensor], theirs: list[Tensor]) -> None:
    """Fail unless both lists hold equal tensors of the same shape, up to :data:`TOLERANCE`."""
    assert len(mine) == len(theirs)
    for a, b in zip(mine, theirs, strict=True):
        assert a.shape == b.shape
        scale = max(1.0, float(b.abs().max()))
        assert float((a - b).abs().max()) <= TOLERANCE * scale


def one_hot(network: Network, architecture: Architecture) -> dict[str, Tensor]:
    """Return mixture weights ``(options,)`` that put everything on the architecture's."""
    weights = {}
    for decision, options in network.selection.options.items():
        chosen = architecture.choices.get(decision, options[0])
        weights[decision] = torch.tensor([float(o == chosen) for o in options], dtype=torch.float64)
    return weights


class ChoiceLaws:
    """Laws that every search space keeps; ``draws`` random architectures are tried each."""

    draws = 6
    roles: tuple[Role, ...] = ("generator", "discriminator")

    @pytest.fixture
    def space(self) -> SearchSpace:
        """The space under test, small enough for float64."""
        raise NotImplementedError

    def sampled(self, space: SearchSpace) -> list[Architecture]:
        """Return the architectures that are tried."""
        rng = np.random.default_rng(5)
        return [space.sample(rng) for _ in range(self.draws)]

    def test_one_hot_supernet_equals_the_derived_network(self, space: SearchSpace) -> None:
        """First law, on a single path and as a mixture with one-hot weights."""
        for role in self.roles:
            supernet = randomised(build(space, role, {}))
            for architecture in self.sampled(space):
                derived = build_derived(space, role, architecture.choices).double().eval()
                assert not transfer(supernet_at(supernet, architecture), derived).fresh
                expected = outputs(derived, inputs(space, role))
                supernet.activate(architecture.choices)
                assert_equal(outputs(supernet, inputs(space, role)), expected)
                supernet.mix(one_hot(supernet, architecture))
                assert_equal(outputs(supernet, inputs(space, role)), expected)

    def test_transfer_preserves_outputs_in_both_directions(self, space: SearchSpace) -> None:
        """Second law: derived → supernet → derived is the same function."""
        for role in self.roles:
            for architecture in self.sampled(space):
                derived = randomised(build_derived(space, role, architecture.choices), 3)
                expected = outputs(derived, inputs(space, role))
                supernet = randomised(build(space, role, {}))
                supernet.activate(architecture.choices)
                transfer(derived, supernet)
                assert_equal(outputs(supernet, inputs(space, role)), expected)
                back = build_derived(space, role, architecture.choices).double().eval()
                transfer(supernet, back)
                assert_equal(outputs(back, inputs(space, role)), expected)


class GrowthLaw:
    """Third law, for spaces that promise function-preserving growth."""

    draws = 6

    @pytest.fixture
    def space(self) -> SearchSpace:
        """The space under test."""
        raise NotImplementedError

    @pytest.mark.parametrize("training", [False, True])
    def test_growth_by_a_block_preserves_the_function(
        self, space: SearchSpace, training: bool
    ) -> None:
        """A prefix and the same prefix with one more block map inputs alike, in both modes."""
        rng = np.random.default_rng(11)
        x = inputs(space, "generator")
        for _ in range(self.draws):
            choices = {d.name: str(rng.choice(d.allowed)) for d in space.decisions}
            for d in space.decisions:
                if d.kind == "dropout":
                    choices[d.name] = d.options[0]
            for blocks in range(1, space.blocks):
                small = space.prefix(choices, blocks)
                large = space.prefix(choices, blocks + 1)
                parent = randomised(build_derived(space, "generator", small, blocks))
                for choice in (large, small):  # grown by one candidate, and by an open block
                    grown = build(space, "generator", choice, blocks + 1)
                    transfer(parent, grown.double().eval())
                    assert_equal(
                        outputs(grown.train(training), x), outputs(parent.train(training), x)
                    )


def supernet_at(supernet: Network, architecture: Architecture) -> Network:
    """Return ``supernet`` with the path of ``architecture`` active."""
    supernet.activate(architecture.choices)
    return supernet
