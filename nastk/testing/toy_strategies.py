"""Toy strategies: a random search and one that trains one network all along; NumPy only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from nastk.records import Architecture, Budget, Leader, Role
from nastk.strategy import AskTellStrategy, StepReport, Strategy
from nastk.trainer import Pair, Plan

if TYPE_CHECKING:
    from nastk.search import Search

ROLES: tuple[Role, Role] = ("generator", "discriminator")


@frozen
class RandomConfig:
    """Settings of the toy random search."""

    candidates: int = field(default=8, metadata={"help": "architectures to try"})
    batch: int = field(default=2, metadata={"help": "architectures of one step"})
    steps: int = field(default=5, metadata={"help": "training of each"})


class ToyRandom(AskTellStrategy):
    """Random search."""

    name = "toy-random"

    def __init__(self, config: RandomConfig) -> None:
        objectives = {"rating": "minimise"}
        super().__init__(
            candidates=config.candidates, budget=Budget(config.steps), objectives=objectives
        )
        self.batch = config.batch

    def ask(self) -> list[Architecture]:
        """Draw a batch."""
        return [self.propose(0) for _ in range(self.batch)]

    def propose(self, number: int) -> Architecture:
        """Draw one."""
        return self.search.space.sample(self.search.randomness.numpy("propose"))


@frozen
class GrowingConfig:
    """Settings of the toy that grows."""

    chunk: int = field(default=4, metadata={"help": "training between two blocks"})
    complain: str = field(default="", metadata={"help": "why the pair cannot work"})


class ToyGrowing(Strategy):
    """Trains one network all along and decides one block at a time."""

    name = "toy-growing"

    def __init__(self, config: GrowingConfig) -> None:
        self.config = config
        self.choices: dict[str, str] = {}

    def unsupported(self, search: Search) -> str:
        """Return what the settings say."""
        return self.config.complain

    def start(self, search: Search) -> None:
        """Build the network and begin its training."""
        super().start(search)
        child = search.randomness.child("supernet")
        networks = [search.trainer.build(search.space, role, {}, child) for role in ROLES]
        pair = Pair(networks[0], networks[1], search.space)
        self.training = search.trainer.begin(pair, Plan(phase="supernet"), child)

    def step(self) -> StepReport:
        """Train a little, then decide the next decision."""
        decisions = self.search.space.decisions
        before = self.training.cost
        self.training.advance(Budget(self.config.chunk))
        self.search.spend("supernet", self.training.cost - before)
        decision = decisions[len(self.choices)]
        drawn = int(self.search.randomness.numpy("grow").integers(len(decision.options) - 1))
        self.choices[decision.name] = decision.options[drawn]
        done = len(self.choices) == len(decisions)
        share = len(self.choices) / len(decisions)
        return StepReport(f"decided {decision.name}", done, share, {"drawn": drawn}, milestone=True)

    def leaders(self) -> list[Leader]:
        """Return the one architecture when it is complete."""
        if len(self.choices) < len(self.search.space.decisions):
            return []
        return [Leader(self.search.space.architecture(self.choices), 0.0)]

    def state_dict(self) -> dict[str, Any]:
        """Return choices and training."""
        return {"choices": dict(self.choices), "training": self.training.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore choices and training."""
        self.choices = dict(state["choices"])
        self.training.load_state_dict(state["training"])

    def pictures(self) -> Any:
        """Return a picture of the network."""
        return self.training.pictures()
