"""A hill climber with restarts."""

from __future__ import annotations

from collections.abc import Sequence

from nastk import Architecture, AskTellStrategy, Budget, Trial
from nastk_hillclimb.config import Config


class HillClimb(AskTellStrategy):
    """Changes one decision of the best architecture since it last began anew."""

    name = "hillclimb"

    def __init__(self, config: Config) -> None:
        super().__init__(
            candidates=config.candidates,
            budget=Budget(config.steps),
            objectives={"rating": "minimise"},
        )
        self._patience = config.patience

    def ask(self) -> list[Architecture]:
        """Return a neighbour of the best of this climb, or an architecture drawn at random."""
        rng, best = self.search.randomness.numpy("hillclimb"), self.order(self._climb())
        if not best:
            return [self.search.space.sample(rng)]
        return [self.search.space.mutate(best[0].architecture, rng)]

    def _climb(self) -> Sequence[Trial]:
        """Return the trials since the last fresh start; all of it follows from the trials."""
        begin = top = 0
        for i in range(1, len(self.trials) + 1):
            if i - top > self._patience:
                begin = top = i
            elif i < len(self.trials) and self._leads(i, begin):
                top = i
        return self.trials[begin:]

    def _leads(self, i: int, begin: int) -> bool:
        best = self.order(self.trials[begin : i + 1])
        return bool(best) and best[0] is self.trials[i]
