"""A strategy that proposes and observes nothing, and an objective."""

from nastk.objective import Objective
from nastk.records import Budget
from nastk.strategy import AskTellStrategy


class Coin(AskTellStrategy):
    name = "previous-coin"

    def __init__(self, config):
        super().__init__(
            candidates=config.candidates,
            budget=Budget(config.steps),
            objectives={"rating": "minimise"},
        )

    def ask(self):
        return [self.search.space.sample(self.search.randomness.numpy("coin"))]


class Squares(Objective):
    name = "previous-squares"

    def __init__(self, config=None):
        pass

    def discriminator_terms(self, exchange):
        terms = {}
        if exchange.real is not None:
            terms["real"] = (exchange.real.validity - 1).square().mean()
        if exchange.fake is not None:
            terms["fake"] = (exchange.fake.validity + 1).square().mean()
        return terms

    def generator_terms(self, exchange):
        return {"adversarial": (exchange.fake.validity - 1).square().mean()}
