"""Which candidates are rated: within hard limits on size, uniform ones and mutations."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from nastk.nn.inspect import cost
from nastk.records import Choices
from nastk.space import SearchSpace
from nastk_blockwise.beam import Entry, Rated
from nastk_blockwise.config import StrategyConfig
from nastk_blockwise.growth import block_candidates, draw_block, mutate_block

TRIES = 8
"""Draws per wanted candidate before a block is taken to hold too few within the limits."""

Queue = list[tuple[int, dict[str, str]]]


class Limits:
    """Hard limits on a generator's parameters and MACs; 0 is no limit.

    A limit that is not configured is that of the space's reference architecture.
    """

    def __init__(self, space: SearchSpace, config: StrategyConfig) -> None:
        self._space = space
        self._known: dict[tuple[tuple[str, str], ...], tuple[int, int]] = {}
        reference = space.reference()
        known = self.cost(reference) if reference else (0, 0)
        given = (config.max_parameters, config.max_macs)
        self.parameters, self.macs = (
            k if g is None else g for k, g in zip(known, given, strict=True)
        )

    def cost(self, choices: Choices, blocks: int | None = None) -> tuple[int, int]:
        """Return parameters and MACs of the derived generator, counted once."""
        key = (*sorted(choices.items()), ("", str(blocks)))
        if key not in self._known:
            self._known[key] = cost(self._space, choices, blocks)
        return self._known[key]

    def fit(self, full: Choices) -> bool:
        """Return whether a complete architecture is within the limits."""
        parameters, macs = self.cost(full)
        return (not self.parameters or parameters <= self.parameters) and (
            not self.macs or macs <= self.macs
        )

    def admit(self, prefix: Choices, blocks: int) -> bool:
        """Return whether a prefix is valid and its cheapest legal completion within the limits."""
        if self._space.problems(prefix):
            return False
        return self.fit(self._space.cheapest_completion(prefix, blocks))


class Proposals:
    """Draws candidates for a block from one stream."""

    def __init__(
        self,
        space: SearchSpace,
        limits: Limits,
        config: StrategyConfig,
        rng: np.random.Generator,
    ) -> None:
        self._space = space
        self._limits = limits
        self._config = config
        self._rng = rng

    def uniform(self, parents: Sequence[Entry], unit: int) -> Queue:
        """Return distinct admissible candidates: all of a small block, else uniform draws."""
        wanted = self._config.rate_first if unit == 1 else self._config.rate_uniform
        small = math.prod(len(d.allowed) for d in self._space.block(unit - 1)) <= wanted
        queue: Queue = []
        for index, parent in enumerate(parents):
            if parent.discriminator is None:
                continue
            if small:
                options = list(block_candidates(self._space, unit - 1))
                queue += [(index, o) for o in options if self._admitted(parent, o, unit)]
            else:
                queue += self._drawn(index, parent, unit, wanted)
        return queue

    def mutations(self, parents: Sequence[Entry], unit: int, pool: Sequence[Rated]) -> Queue:
        """Return distinct admissible mutations of each parent's best candidate so far."""
        known = [(r.parent, r.block) for r in pool]
        queue: Queue = []
        for index, parent in enumerate(parents):
            mine = [r for r in pool if r.parent == index]
            if not mine or unit == 1:
                continue
            best = min(mine, key=lambda r: r.rating.score)
            for _ in range(self._config.rate_mutations):
                mutant = mutate_block(self._space, parent.choices, best.block, self._rng)
                new = (index, mutant) not in known and (index, mutant) not in queue
                if new and self._admitted(parent, mutant, unit):
                    queue.append((index, mutant))
        return queue

    def _drawn(self, index: int, parent: Entry, unit: int, wanted: int) -> Queue:
        queue: Queue = []
        for _ in range(TRIES * wanted):
            if len(queue) == wanted:
                break
            block = draw_block(self._space, parent.choices, unit - 1, self._rng)
            if (index, block) not in queue and self._admitted(parent, block, unit):
                queue.append((index, block))
        return queue

    def _admitted(self, parent: Entry, block: Choices, unit: int) -> bool:
        return self._limits.admit({**parent.choices, **block}, unit)
