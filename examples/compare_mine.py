# Does my strategy beat random search? On the tabulated space nano an answer takes seconds.
# A table that is not the shipped one: compare_mine.py TABLE
import sys

from attrs import field, frozen

import nastk


@frozen
class Settings:
    candidates: int = field(default=30, metadata={"help": "architectures to try"})
    steps: int = field(default=1200, metadata={"help": "training of each"})


class Climb(nastk.AskTellStrategy):
    """Changes one decision of the best architecture so far."""

    def __init__(self, settings: Settings):
        super().__init__(
            candidates=settings.candidates,
            budget=nastk.Budget(settings.steps),
            objectives={"rating": "minimise"},
        )

    def ask(self):
        rng, best = self.search.randomness.numpy("climb"), self.order(self.trials)
        if not best:
            return [self.search.space.sample(rng)]
        return [self.search.space.mutate(best[0].architecture, rng)]


table = {f"{kind}.table": sys.argv[1] for kind in ("trainer", "evaluator") if len(sys.argv) > 1}
contest = nastk.compare(
    [Climb, "tpe"], benchmark="nano", budget="6000 steps", seeds=3, settings=table, device="cpu"
)
print(contest.table)
print("the whole page:", contest.page)
