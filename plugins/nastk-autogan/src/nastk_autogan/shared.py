"""The shared networks: a supernet per stage, trained along the paths that the controller draws."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nastk.nn.choice import Network
from nastk.nn.transfer import transfer
from nastk.records import Budget, Choices
from nastk.search import Search
from nastk.trainer import Pair, Plan, Progress, Training
from nastk_autogan.config import StrategyConfig
from nastk_autogan.reset import DynamicReset


class Shared:
    """Generator with all options open, discriminator of the stage, and their training.

    Growing keeps the weights; Adam's moments, which forget within about ten steps, start afresh.

    Args:
        search: whose trainer builds and trains.
        config: reset policy.
        path: returns the choices of the next real batch; the generator's update runs the last of
            a step.

    Attributes:
        blocks: of the networks at hand, 0 before the first build.
        builds: pairs of networks built so far.
    """

    def __init__(self, search: Search, config: StrategyConfig, path: Callable[[], Choices]) -> None:
        self._search = search
        self._config = config
        self._path = path
        self._fixed = discriminator_choices(search)
        self._training: Training | None = None
        self._policy: DynamicReset | None = None
        self.blocks = 0
        self.builds = 0

    @property
    def generator(self) -> Network:
        """The shared generator."""
        assert self._training is not None
        return self._training.pair.generator

    @property
    def discriminator_choices(self) -> Choices:
        """The decisions of D, which are drawn once and not searched."""
        return self._fixed

    def build(self, blocks: int) -> None:
        """Start anew with fresh networks of ``blocks`` blocks."""
        self._training, self._policy = None, None
        self._begin(blocks, None, None)

    def grow(self) -> None:
        """Add a block; what was trained stays."""
        assert self._training is not None
        windows = None if self._config.clear_windows else self._policy
        self._begin(self.blocks + 1, self._training.pair, windows)

    def advance(self, steps: int) -> Progress:
        """Train for ``steps`` generator updates and enter the cost, failed or not.

        Raises:
            TrialError: the networks have collapsed or diverged.
        """
        assert self._training is not None
        before = self._training.cost
        try:
            return self._training.advance(Budget(steps))
        finally:
            spent = self._training.cost - before
            self._search.spend(f"shared{self.blocks}", spent)

    def pictures(self, choices: Choices) -> Any:
        """Return images of one path, or None before the first build."""
        if self._training is None:
            return None
        activate(self.generator, choices)
        return self._training.pictures()

    def _begin(self, blocks: int, old: Pair | None, windows: DynamicReset | None) -> Training:
        search, trainer = self._search, self._search.trainer
        randomness = search.randomness.child(f"autogan/shared{self.builds}")
        generator = trainer.build(search.space, "generator", {}, randomness, blocks)
        discriminator = trainer.build(
            search.space, "discriminator", self._fixed, randomness, blocks
        )
        if old is not None:
            transfer(old.generator, generator)
            transfer(old.discriminator, discriminator)
        self._policy = DynamicReset(self._config.reset_threshold, self._config.reset_window)
        if windows is not None:
            self._policy.load_state_dict(windows.state_dict())
        plan = Plan(
            phase=f"shared{blocks}",
            turn=lambda step: activate(generator, self._path()),
            ema=False,
            health=self._policy,
        )
        pair = Pair(generator, discriminator, search.space, blocks)
        self._training = trainer.begin(pair, plan, randomness)
        self.blocks = blocks
        self.builds += 1
        return self._training

    def state_dict(self) -> dict[str, Any]:
        """Return the training under way."""
        training = None if self._training is None else self._training.state_dict()
        return {"blocks": self.blocks, "builds": self.builds, "training": training}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self._training, self._policy = None, None
        self.blocks, self.builds = int(state["blocks"]), int(state["builds"])
        if state["training"] is not None:
            self.builds -= 1  # the same streams as the build that is restored
            self._begin(self.blocks, None, None).load_state_dict(state["training"])


def activate(generator: Network, choices: Choices) -> None:
    """Run one path; decisions without a choice, which are inactive, take their first option.

    So what runs depends on ``choices`` alone, and not on what ran before.
    """
    first = {name: options[0] for name, options in generator.selection.options.items()}
    generator.activate({**first, **choices})


def discriminator_choices(search: Search) -> dict[str, str]:
    """Return choices for the decisions of D: drawn once, from the seed alone."""
    rng = search.randomness.child("autogan/discriminator").numpy("sample")
    if all(d.role == "generator" for d in search.space.decisions):
        return {}
    drawn = search.space.sample(rng).choices
    return {n: o for n, o in drawn.items() if search.space.decision(n).role == "discriminator"}
