"""Growing a generator by a block: what is inherited, what trains, which path runs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nastk.nn.choice import Network
from nastk.nn.layers import SlicedConv2d, raw_weight
from nastk.nn.transfer import Transferred
from nastk.records import Choices, Decision
from nastk.space import SearchSpace

UNIFORM_KINDS = ("width", "dropout")
"""Decisions whose options share weights (or have none) and are drawn uniformly."""


def block_candidates(space: SearchSpace, block: int) -> Iterator[dict[str, str]]:
    """Yield every assignment of the open options of 0-based ``block``, valid or not."""
    decisions = space.block(block)
    for options in itertools.product(*(d.allowed for d in decisions)):
        yield {d.name: o for d, o in zip(decisions, options, strict=True)}


def draw_block(
    space: SearchSpace, prefix: Choices, block: int, rng: np.random.Generator, tries: int = 1000
) -> dict[str, str]:
    """Return valid options for ``block`` behind ``prefix``, drawn uniformly; advances ``rng``."""
    decisions = space.block(block)
    for _ in range(tries):
        drawn = {d.name: d.allowed[int(rng.integers(len(d.allowed)))] for d in decisions}
        if not space.problems({**prefix, **drawn}):
            return drawn
    return drawn


def mutate_block(
    space: SearchSpace, prefix: Choices, block: Choices, rng: np.random.Generator, tries: int = 1000
) -> dict[str, str]:
    """Return ``block`` with one option redrawn to another valid one; advances ``rng``."""
    names = [n for n in block if len(space.decision(n).allowed) > 1]
    for _ in range(tries if names else 0):
        name = names[int(rng.integers(len(names)))]
        others = [o for o in space.decision(name).allowed if o != block[name]]
        mutant = {**block, name: others[int(rng.integers(len(others)))]}
        if not space.problems({**prefix, **mutant}):
            return mutant
    return dict(block)


class FairPaths:
    """Draws the path of each training step.

    Options that are separate modules come from shuffled decks, so that each trains equally often;
    options that share weights are drawn uniformly.

    Args:
        decisions: the open ones.
        rng: a stream of the run.
    """

    def __init__(self, decisions: Sequence[Decision], rng: np.random.Generator) -> None:
        self._decisions = tuple(decisions)
        self._rng = rng
        self._decks: dict[str, list[str]] = {}

    def draw(self) -> dict[str, str]:
        """Return an option for each decision."""
        return {d.name: self._option(d) for d in self._decisions}

    def _option(self, decision: Decision) -> str:
        if decision.kind in UNIFORM_KINDS:
            return decision.allowed[int(self._rng.integers(len(decision.allowed)))]
        deck = self._decks.get(decision.name)
        if not deck:
            order = self._rng.permutation(len(decision.allowed))
            deck = self._decks[decision.name] = [decision.allowed[int(i)] for i in order]
        return deck.pop()

    def state_dict(self) -> dict[str, Any]:
        """Return the decks; the stream is the run's."""
        return {name: list(deck) for name, deck in self._decks.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the decks."""
        self._decks = {name: list(deck) for name, deck in state.items()}


def trainable(
    network: Network, inherited: Transferred, head: Sequence[str]
) -> Callable[[str], bool]:
    """Return which parameters of a grown network train: all but the inherited prefix.

    The head trains whole. Of a layer that gained inputs only the kernels of those train: a hook
    keeps the gradient of the others, and of the bias, at zero.
    """
    heads = tuple(f"body.{name}." for name in head)
    frozen: set[str] = set()
    modules = dict(network.named_modules())
    for name, module in modules.items():
        if id(module) in inherited.inherited and not f"{name}.".startswith(heads):
            frozen.update(f"{name}.{p}" for p, _ in module.named_parameters(recurse=False))
    names = {id(m): n for n, m in modules.items()}
    for layer, gained in inherited.widened:
        if not f"{names[id(layer)]}.".startswith(heads):
            _train_only(layer, gained)
    return lambda name: name not in frozen


def _train_only(layer: SlicedConv2d, gained: Sequence[str]) -> None:
    weight = raw_weight(layer)
    mask = torch.zeros(1, weight.shape[1], 1, 1, dtype=weight.dtype, device=weight.device)
    for source in gained:
        start, stop = layer.slices[source]
        mask[:, start:stop] = 1.0
    weight.register_hook(lambda gradient: gradient * mask)  # type: ignore[no-untyped-call]
    if layer.bias is not None:
        layer.bias.register_hook(_zero)  # type: ignore[no-untyped-call]


def _zero(gradient: Tensor) -> Tensor:
    return torch.zeros_like(gradient)
