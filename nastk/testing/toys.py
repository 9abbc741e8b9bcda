"""Toy components: every noun in miniature, NumPy only, so that a whole run takes a moment.

They obey the same contracts as the real ones (all state in the open, all draws from named
streams), which makes them good for tests of strategies, engines and command lines::

    from nastk import engine
    from nastk.testing import toys

    engine.run(toys.config("toy-random"), toys.registry(), Path("run"))
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import field, frozen

from nastk.config import Config, resolve
from nastk.dataset import Dataset, Split, SplitName
from nastk.errors import DataError, TrialError
from nastk.evaluator import Candidate, Evaluator
from nastk.executor import Executor
from nastk.objective import Exchange, Objective
from nastk.randomness import Randomness
from nastk.records import (
    Budget,
    Choices,
    Cost,
    Decision,
    Evaluation,
    InputSpec,
    Metric,
    MetricCard,
    Role,
    Task,
)
from nastk.registry import Component, Entry, Registry
from nastk.space import Pick, SearchSpace
from nastk.trainer import Pair, Plan, Progress, Trainer, Training

if TYPE_CHECKING:
    from torch import nn


OPTIONS = ("plain", "twice", "noisy", "explode")
"""Options of every cell; a network with ``explode`` in its first cell diverges."""

IMAGES_PER_STEP = 8
MACS_PER_STEP = 1000


@frozen
class SpaceConfig:
    """Settings of the toy space."""

    blocks: int = field(default=3, metadata={"help": "cells of the generator"})


class ToySpace(SearchSpace):
    """A chain of cells with four options each, and one decision in the discriminator."""

    def __init__(self, config: SpaceConfig, *, task: Task) -> None:
        self.name = "toy"
        self.task = task
        self.input = InputSpec("latent", (4,))
        self.settings = {"blocks": config.blocks}
        cells = [Decision(f"cell{i}.op", OPTIONS, block=i) for i in range(config.blocks)]
        width = Decision("d.width", ("narrow", "wide"), role="discriminator", kind="width")
        self.decisions = (*cells, width)

    def generator(self, pick: Pick, blocks: int | None = None) -> nn.Module:
        """Refuse: toy networks are arrays that :class:`ToyTrainer` makes."""
        raise NotImplementedError

    def discriminator(self, pick: Pick, blocks: int | None = None) -> nn.Module:
        """Refuse: toy networks are arrays that :class:`ToyTrainer` makes."""
        raise NotImplementedError


class ToyDataset(Dataset):
    """No images at all, two classes; the test split opens once."""

    name = "toy"
    shape = (1, 4, 4)
    classes = 2

    def __init__(self) -> None:
        self.test_opened = False

    def split(self, name: SplitName, device: Any = "cpu") -> Split:
        """Return an empty split."""
        if name == "test" and self.test_opened:
            raise DataError("data set 'toy': the test split was opened before")
        self.test_opened = self.test_opened or name == "test"
        empty: Any = np.zeros((0, *self.shape), np.uint8)
        labels: Any = np.zeros(0, np.int64)
        return Split(name, empty, labels, self.content)

    @property
    def content(self) -> str:
        """A constant."""
        return "toy000000000"


class ToyObjective(Objective):
    """Asks for no class outputs and gives no losses."""

    name = "toy"

    def discriminator_terms(self, exchange: Exchange) -> Mapping[str, Any]:
        """Return nothing."""
        return {}

    def generator_terms(self, exchange: Exchange) -> Mapping[str, Any]:
        """Return nothing."""
        return {}


class ToyNetwork:
    """Some weights, and the choices that they were made for."""

    def __init__(self, choices: Choices, weights: np.ndarray[Any, Any]) -> None:
        self.choices = dict(choices)
        self.weights = weights

    def state_dict(self) -> dict[str, np.ndarray[Any, Any]]:
        """Return the weights ``(8,)`` by value."""
        return {"weights": self.weights.copy()}


@frozen
class TrainerConfig:
    """Settings of the toy trainer."""

    pause: float = field(default=0.0, metadata={"help": "seconds of sleep per step"})
    bequeaths: bool = field(default=True, metadata={"help": "whether weights may be inherited"})


class ToyTrainer(Trainer):
    """Trains toy networks by a noisy walk towards zero."""

    name = "toy"

    def __init__(self, config: TrainerConfig, *, dataset: Dataset, objective: Objective,
                 passes: Sequence[Any], device: str) -> None:  # fmt: skip
        self.config = config
        self.device = device

    def build(
        self,
        space: SearchSpace,
        role: Role,
        choices: Choices,
        randomness: Randomness,
        blocks: int | None = None,
    ) -> Any:
        """Return a toy network with drawn weights."""
        mine = {d.name for d in space.decisions if d.role == role}
        own = {name: option for name, option in choices.items() if name in mine}
        return ToyNetwork(own, randomness.numpy("init").normal(size=8))

    def begin(self, pair: Pair, plan: Plan, randomness: Randomness) -> ToyTraining:
        """Return the training of a pair of toy networks."""
        return ToyTraining(pair, plan, randomness, self.config.pause)

    def disinherits(self, space: SearchSpace) -> str:
        """Return why weights stay where they are, if the settings say so."""
        return "" if self.config.bequeaths else super().disinherits(space)

    def bequest(self, training: Training) -> Any:
        """Return the weights of both networks."""
        networks: tuple[Any, Any] = (training.pair.generator, training.pair.discriminator)
        return [n.weights.copy() for n in networks]

    def inherit(self, pair: Pair, bequest: Any) -> float:
        """Take over all weights."""
        networks: tuple[Any, Any] = (pair.generator, pair.discriminator)
        for network, weights in zip(networks, bequest, strict=True):
            network.weights = weights.copy()
        return 1.0


class ToyTraining(Training):
    """A noisy walk; diverges in its third step where the first cell explodes."""

    def __init__(self, pair: Pair, plan: Plan, randomness: Randomness, pause: float) -> None:
        self.pair = pair
        self.plan = plan
        self.randomness = randomness
        self.pause = pause
        self.cost = Cost()

    def advance(self, budget: Budget) -> Progress:
        """Take the steps; units other than steps are read as steps too."""
        before = self.cost
        time.sleep(self.pause * int(budget.amount))
        for _ in range(int(budget.amount)):
            self._step()
        return Progress(self.cost - before, {"g": float(np.abs(self._weights).mean())})

    def eval_generator(self, ema: bool = True) -> Any:
        """Return the generator."""
        return self.pair.generator

    def pictures(self, count: int = 64) -> Any:
        """Return one picture of the weights."""
        return np.tanh(np.tile(self._weights, 2)).reshape(1, 1, 4, 4)

    def state_dict(self) -> dict[str, Any]:
        """Return weights, streams and counters."""
        networks: tuple[Any, Any] = (self.pair.generator, self.pair.discriminator)
        return {
            "networks": [n.weights.copy() for n in networks],
            "randomness": self.randomness.state_dict(),
            "cost": [self.cost.steps, self.cost.images, self.cost.macs],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore weights, streams and counters."""
        networks: tuple[Any, Any] = (self.pair.generator, self.pair.discriminator)
        for network, weights in zip(networks, state["networks"], strict=True):
            network.weights = weights.copy()
        self.randomness.load_state_dict(state["randomness"])
        self.cost = Cost(*state["cost"])

    @property
    def _weights(self) -> np.ndarray[Any, Any]:
        generator: Any = self.pair.generator
        weights: np.ndarray[Any, Any] = generator.weights
        return weights

    def _step(self) -> None:
        generator: Any = self.pair.generator
        noise = self.randomness.numpy("data").normal(size=8)
        generator.weights = 0.99 * generator.weights + 0.01 * noise
        self.cost = self.cost + Cost(1, IMAGES_PER_STEP, MACS_PER_STEP)
        if generator.choices.get("cell0.op") == "explode" and self.cost.steps >= 3:
            raise TrialError("the first cell exploded", status="diverged")


class ToyEvaluator(Evaluator):
    """Rates by the weights and a score per option; small is good."""

    name = "toy"

    def __init__(self, config: None = None, *, dataset: Dataset, device: str) -> None:
        self.metrics = {"rating": "minimise", "size": "minimise"}
        self.dataset = dataset

    def evaluate(
        self, candidates: Sequence[Candidate], split: SplitName, randomness: Randomness
    ) -> list[Evaluation]:
        """Return rating and size of each."""
        self.dataset.split(split)
        return [self._evaluate(candidate, split) for candidate in candidates]

    def _evaluate(self, candidate: Candidate, split: SplitName) -> Evaluation:
        generator: Any = candidate.generator
        size = float(sum(OPTIONS.index(o) for o in generator.choices.values()))
        rating = size + float(np.abs(generator.weights).mean())
        card = MetricCard(split=split)
        return Evaluation({
            "rating": Metric("rating", rating, "minimise", card),
            "size": Metric("size", size, "minimise", card),
        })  # fmt: skip


class ToyExecutor(Executor):
    """Runs the last task first and gives the results in order, as a cluster might."""

    name = "toy"

    def map(self, function: Any, tasks: Sequence[Any]) -> Iterator[Any]:
        """Yield the results in the order of the tasks."""
        results = [function(task) for task in reversed(tasks)]
        yield from reversed(results)


def dataset(config: None, *, seed: int, device: str) -> ToyDataset:
    """Return the toy data set."""
    return ToyDataset()


def objective(config: None) -> ToyObjective:
    """Return the toy objective."""
    return ToyObjective()


def executor(config: None) -> ToyExecutor:
    """Return the toy executor."""
    return ToyExecutor()


FLAGS: Mapping[str, Any] = {
    "run.strategy": "toy-random",
    **{f"run.{kind}": "toy" for kind in (
        "space", "dataset", "objective", "trainer", "evaluator", "executor")},
    "run.device": "cpu",
    "final.steps": 250,
    "engine.commit_every": 2,
}  # fmt: skip
"""Settings that pick the toys."""

_HERE = "nastk.testing.toys"
_STRATEGIES = "nastk.testing.toy_strategies"
_COMPONENTS = (
    ("space", "toy", f"{_HERE}:ToySpace", f"{_HERE}:SpaceConfig"),
    ("dataset", "toy", f"{_HERE}:dataset", ""),
    ("objective", "toy", f"{_HERE}:objective", ""),
    ("trainer", "toy", f"{_HERE}:ToyTrainer", f"{_HERE}:TrainerConfig"),
    ("evaluator", "toy", f"{_HERE}:ToyEvaluator", ""),
    ("executor", "toy", f"{_HERE}:executor", ""),
    ("strategy", "toy-random", f"{_STRATEGIES}:ToyRandom", f"{_STRATEGIES}:RandomConfig"),
    ("strategy", "toy-growing", f"{_STRATEGIES}:ToyGrowing", f"{_STRATEGIES}:GrowingConfig"),
)


def registry(version: str = "1.0") -> Registry:
    """Return a registry that holds the toys and nothing else, from distribution ``nastk-toys``."""
    result = Registry()
    for kind, name, factory, settings in _COMPONENTS:
        component = Component(
            kind=kind,  # type: ignore[arg-type]
            name=name,
            factory=factory,
            summary="a toy",
            config=settings,
        )
        result.add(Entry(component, "nastk-toys", version))
    return result


def config(strategy: str = "toy-random", /, **flags: Any) -> Config:
    """Return the configuration of a toy run; ``flags`` are dotted keys (``**{"run.seed": 1}``)."""
    return resolve(registry(), flags={**FLAGS, "run.strategy": strategy, **flags}, env={})
