"""The reinforce strategy: one controller for all decisions, every candidate trained by itself.

Where AutoGAN shares weights between candidates, this is the search that it made cheaper: an
architecture is drawn, trained and measured, and the measure is the reward.

Source: B. Zoph, Q. V. Le, ICLR 2017 (arXiv:1611.01578). Differs: the controller is AutoGAN's, and
learns after every batch of candidates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nastk.errors import nearest
from nastk.records import Architecture, Budget, Trial
from nastk.search import Search
from nastk.strategy import AskTellStrategy
from nastk_autogan.blocks import draw_valid
from nastk_autogan.config import ReinforceConfig
from nastk_autogan.controller import Controller, Draw
from nastk_autogan.reinforce import Reinforce


class ReinforceStrategy(AskTellStrategy):
    """Draws architectures from a controller and trains it by what they came to.

    Args:
        config: controller, rewards and the budget of a candidate.

    Attributes:
        drawn: of candidates that were asked for and not told yet.
    """

    name = "reinforce"

    def __init__(self, config: ReinforceConfig) -> None:
        super().__init__(
            candidates=config.candidates,
            budget=Budget(config.steps),
            objectives={config.metric: "minimise"},
        )
        self.config = config
        self.drawn: list[Draw] = []

    def unsupported(self, search: Search) -> str:
        """Return why the evaluator gives no reward, else empty."""
        known = search.evaluator.metrics
        if self.config.metric in known:
            return ""
        hint = nearest(self.config.metric, known)
        return (
            f"evaluator '{search.evaluator.name}' does not measure '{self.config.metric}'; {hint}"
        )

    def start(self, search: Search) -> None:
        """Take the search; make the controller."""
        super().start(search)
        metric = self.config.metric
        self.objectives = {metric: search.evaluator.metrics.get(metric, "minimise")}
        with search.randomness.child("reinforce").scoped("init"):
            self.controller = Controller(search.space.decisions, self.config.controller_width)
        self.learner = Reinforce(self.controller, self.config)

    def ask(self) -> Sequence[Architecture]:
        """Return a batch as the controller draws it."""
        space, rng = self.search.space, self.search.randomness.numpy("reinforce/policy")
        room = min(self.config.batch, self.candidates - len(self.trials))
        start = self.controller.start()
        found = [draw_valid(self.controller, space, {}, start, rng) for _ in range(room)]
        self.drawn = [draw for draw, _ in found]
        return [space.architecture(choices) for _, choices in found]

    def tell(self, trials: Sequence[Trial]) -> None:
        """Train the controller; failed candidates are rewarded like the worst that succeeded."""
        rewards = [self._reward(trial) for trial in trials]
        told = [(d, r) for d, r in zip(self.drawn, rewards, strict=True) if r is not None]
        if told:
            self.learner.update([draw for draw, _ in told], [reward for _, reward in told])
        self.drawn = []

    def _reward(self, trial: Trial) -> float | None:
        """Return the score, larger is better; None while nothing has succeeded yet."""
        sign = -self._sign()
        if self._is_scored(trial):
            return sign * self._score(trial)
        known = [sign * self._score(t) for t in self.trials if self._is_scored(t)]
        return min(known, default=None)

    def state_dict(self) -> dict[str, Any]:
        """Return trials, controller and learner."""
        controller = self.controller.state_dict().items()
        return {
            **super().state_dict(),
            "controller": {name: tensor.detach().clone() for name, tensor in controller},
            "learner": self.learner.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        super().load_state_dict(state)
        self.controller.load_state_dict(state["controller"])
        self.learner.load_state_dict(state["learner"])
