"""Networks and trainings of the blockwise search: everything that is built anew on a resume."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nastk.nn.choice import Network
from nastk.nn.inspect import training_bytes, weight_bytes
from nastk.nn.snapshot import Snapshot
from nastk.nn.transfer import transfer
from nastk.randomness import Randomness
from nastk.records import Choices, Role
from nastk.search import Search
from nastk.trainer import Pair, Plan, Training
from nastk_blockwise.beam import Entry
from nastk_blockwise.config import StrategyConfig
from nastk_blockwise.growth import FairPaths, trainable

DRAWN = 6
"""Random beginnings that an estimate is the mean of."""


class Workshop:
    """Builds networks of prefixes and starts their trainings; draws from child streams only.

    Args:
        search: trainer, space and streams.
        discriminator: choices for the decisions of D.
    """

    def __init__(self, search: Search, discriminator: Mapping[str, str]) -> None:
        self._search = search
        self._choices = discriminator

    def block(self, parent: Entry, unit: int, index: int, steps: int, paths: FairPaths) -> Training:
        """Return the training of a parent's generator with the next block open."""
        streams = self._search.randomness.child(f"blockwise/block{unit}/{index}")
        generator, predicate = self._grown(parent, parent.choices, unit, streams)
        plan = Plan(
            phase=f"block{unit}",
            horizon=steps,
            path=lambda step: generator.activate(paths.draw()),
            trainable=predicate,
        )
        return self._begin(generator, parent, unit, plan, streams)

    def candidate(
        self, parent: Entry, block: Choices, unit: int, number: int, steps: int
    ) -> Training:
        """Return the training of one candidate for itself (``inherit`` mode)."""
        streams = self._search.randomness.child(f"blockwise/candidate{number}")
        choices = {**parent.choices, **block}
        generator, predicate = self._grown(parent, choices, unit, streams)
        plan = Plan("candidates", horizon=steps, trainable=predicate if unit > 1 else None)
        return self._begin(generator, parent, unit, plan, streams)

    def survivor(self, entry: Entry, unit: int, index: int, steps: int) -> Training:
        """Return the training of all weights of a chosen candidate."""
        streams = self._search.randomness.child(f"blockwise/finetune{unit}/{index}")
        assert entry.generator is not None
        generator = entry.generator.network(self._search.space)
        plan = Plan("finetune", horizon=max(1, steps))
        return self._begin(generator, entry, unit, plan, streams)

    def derived(self, supernet: Network, parent: Entry, block: Choices, unit: int) -> Entry:
        """Return a candidate's derived network with the supernet's weights."""
        choices = {**parent.choices, **block}
        supernet.activate(choices)
        streams = self._search.randomness.child("blockwise/derive")
        network = self.build("generator", choices, streams, unit)
        transfer(supernet, network)
        return Entry(choices, parent.discriminator, Snapshot.take(network, unit))

    def referee(self, parent: Entry, unit: int) -> Network:
        """Return a parent's discriminator, frozen, in eval mode."""
        streams = self._search.randomness.child("blockwise/referee")
        network = self._discriminator(parent, unit, streams).eval()
        return network.requires_grad_(False)

    def build(self, role: Role, choices: Choices, streams: Randomness, blocks: Any) -> Network:
        """Return a fresh network of a prefix, on the device."""
        return self._search.trainer.build(self._search.space, role, choices, streams, blocks)

    def _grown(
        self, parent: Entry, choices: Choices, unit: int, streams: Randomness
    ) -> tuple[Network, Callable[[str], bool] | None]:
        """Return a generator that starts at its parent's function, and what of it trains."""
        space = self._search.space
        generator = self.build("generator", choices, streams, unit)
        if parent.generator is None:
            return generator, None
        inherited = transfer(parent.generator.network(space), generator)
        if parent.generator.blocks == unit:
            return generator, None
        return generator, trainable(generator, inherited, space.head)

    def _begin(
        self, generator: Network, parent: Entry, unit: int, plan: Plan, streams: Randomness
    ) -> Training:
        discriminator = self._discriminator(parent, unit, streams)
        pair = Pair(generator, discriminator, self._search.space, unit)
        return self._search.trainer.begin(pair, plan, streams)

    def _discriminator(self, parent: Entry, unit: int, streams: Randomness) -> Network:
        """Return D of a prefix with what the parent's D has learned."""
        network = self.build("discriminator", self._choices, streams, unit)
        saved = parent.discriminator
        if saved is None:
            return network
        if saved.blocks == unit:
            return saved.network(self._search.space, like=network)
        old = self.build("discriminator", self._choices, streams, saved.blocks)
        transfer(saved.network(self._search.space, like=old), network)
        return network


def largest_state(search: Search, config: StrategyConfig) -> int:
    """Return about the bytes of the largest state: one parent's training, the others' weights.

    Which blocks come first is not known: the mean over some random beginnings is taken.
    """
    space, fixed = search.space, default_discriminator(search)
    rng = search.randomness.child("blockwise/estimate").numpy("draw")
    drawn = [space.sample(rng).choices for _ in range(DRAWN)]
    own = config.rating_mode == "inherit"

    def of(unit: int, choices: Choices) -> int:
        first = unit if own else unit - 1
        names = [d.name for block in range(first) for d in space.block(block)]
        made = {name: choices[name] for name in names if name in choices}
        weights = sum(weight_bytes(space, "generator", made, unit))
        weights += sum(weight_bytes(space, "discriminator", fixed, unit))
        parents = config.beam if unit > 1 else 1
        kept = parents * (config.rate_uniform + config.rate_mutations) if own else parents - 1
        return training_bytes(space, made, fixed, unit) + kept * weights

    units = range(1, max(1, space.blocks) + 1)
    return max(sum(of(unit, choices) for choices in drawn) // DRAWN for unit in units)


def default_discriminator(search: Search) -> dict[str, str]:
    """Return choices for the decisions of D while G is searched: drawn once from the seed."""
    decisions = [d for d in search.space.decisions if d.role == "discriminator"]
    if not decisions:
        return {}
    rng = search.randomness.child("blockwise/discriminator").numpy("draw")
    drawn = search.space.sample(rng).choices
    return {d.name: drawn[d.name] for d in decisions if d.name in drawn}
