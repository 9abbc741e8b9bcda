"""A trainer that lets one of Optuna's pruners end a training early."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from nastk.errors import TrialError
from nastk.records import Budget
from nastk.search import measure
from nastk.trainer import Pair, Plan, Progress, Trainer, Training

if TYPE_CHECKING:
    from torch import nn

    from nastk.nn.choice import Network
    from nastk.randomness import Randomness
    from nastk.records import Architecture, Choices, Role
    from nastk.search import Search
    from nastk.space import SearchSpace

Look = Callable[[int, float], bool]
"""Told the steps done and the first objective so far; returns whether training is to end."""


class RungTrainer(Trainer):
    """Trains like another trainer, and looks at the candidate between equal parts of a training.

    Args:
        search: whose trainer and evaluator are used.
        metric: what the pruner is told.
        rungs: parts of a training.

    Attributes:
        look: asks the pruner; set before each candidate.
        architecture: the candidate.
    """

    look: Look
    architecture: Architecture

    def __init__(self, search: Search, metric: str, rungs: int) -> None:
        self.inner = search.trainer
        self.name = self.inner.name
        self.device = self.inner.device
        self.search = search
        self.metric = metric
        self.rungs = rungs

    def build(
        self,
        space: SearchSpace,
        role: Role,
        choices: Choices,
        randomness: Randomness,
        blocks: int | None = None,
    ) -> Network:
        """Return the other trainer's network."""
        return self.inner.build(space, role, choices, randomness, blocks)

    def begin(self, pair: Pair, plan: Plan, randomness: Randomness) -> RungTraining:
        """Return a training that may end early."""
        return RungTraining(self.inner.begin(pair, plan, randomness), self)

    def disinherits(self, space: SearchSpace) -> str:
        """Return what the other trainer says."""
        return self.inner.disinherits(space)

    def bequest(self, training: Training) -> Any:
        """Return the other trainer's copy of the weights."""
        return self.inner.bequest(training)

    def inherit(self, pair: Pair, bequest: Any) -> float:
        """Do as the other trainer."""
        return self.inner.inherit(pair, bequest)

    def value(self, training: Training) -> float | None:
        """Return the first objective of a training as it stands; nothing advances."""
        found = measure(
            self.search.evaluator,
            training,
            self.architecture,
            "validation",
            self.search.randomness,
        )
        return found.value(self.metric)


class RungTraining(Training):
    """A training in rungs; its state is the inner training's."""

    def __init__(self, inner: Training, trainer: RungTrainer) -> None:
        self._inner = inner
        self._trainer = trainer
        self.pair = inner.pair
        self.averaged = inner.averaged

    @property
    def cost(self) -> Any:  # type: ignore[override]
        """Everything spent so far."""
        return self._inner.cost

    def advance(self, budget: Budget) -> Progress:
        """Train for ``budget`` more, in parts, with a look of the pruner after each but the last.

        Raises:
            TrialError: the pruner ended it (status ``pruned``), or the training failed.
        """
        before, parts = self._inner.cost, _parts(int(budget.amount), self._trainer.rungs)
        progress = self._inner.advance(Budget(parts[0], budget.unit))
        done = parts[0]
        for part in parts[1:]:
            self._look(done)
            progress = self._inner.advance(Budget(part, budget.unit))
            done += part
        return Progress(self._inner.cost - before, progress.losses, progress.health)

    def _look(self, done: int) -> None:
        value = self._trainer.value(self._inner)
        if value is not None and self._trainer.look(done, value):
            name = self._trainer.metric
            raise TrialError(f"ended after {done} steps at {name} {value:.6g}", status="pruned")

    def eval_generator(self, ema: bool = True) -> nn.Module:
        """Return the inner training's generator."""
        return self._inner.eval_generator(ema)

    def pictures(self, count: int = 64) -> Any:
        """Return the inner training's pictures."""
        return self._inner.pictures(count)

    def state_dict(self) -> dict[str, Any]:
        """Return the inner training's state."""
        return self._inner.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the inner training's state."""
        self._inner.load_state_dict(state)


def _parts(steps: int, rungs: int) -> list[int]:
    """Return at most ``rungs`` positive parts of ``steps``, the first ones not the larger."""
    ends = [steps * k // rungs for k in range(rungs + 1)]
    return [b - a for a, b in pairwise(ends) if b > a]
