"""A trainer that trains nothing and an evaluator that measures nothing: both read the table.

Strategies that only propose and observe run on them as they do live, at the live price: the
ledger is charged the steps, images, MACs and seconds that the table's training took. Weights there
are none, so nothing that trains a supernet, grows a network or inherits weights can work here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from attrs import evolve, field, frozen

from nastk.errors import ConfigError, PairError, TrialError
from nastk.evaluator import Candidate, Evaluator
from nastk.fixed import FixedStrategy, SampledStrategy
from nastk.randomness import Randomness, derive_seed
from nastk.records import (
    Architecture,
    Budget,
    Choices,
    Cost,
    Direction,
    Evaluation,
    Metric,
    MetricCard,
    Role,
)
from nastk.strategy import AskTellStrategy
from nastk.trainer import Pair, Plan, Progress, Trainer, Training
from nastk_bench.config import TableConfig
from nastk_bench.files import shipped
from nastk_bench.table import Table

if TYPE_CHECKING:
    import torch

    from nastk.dataset import Dataset, SplitName
    from nastk.objective import Objective
    from nastk.passes import NetworkPass
    from nastk.space import SearchSpace
    from nastk.strategy import Strategy

RETRAIN = "retrain"
"""Phase of the final training, whose outcomes no search has seen."""
LIVE = "--trainer gan --evaluator standard searches it live"

METRICS: dict[str, Direction] = {
    "rating": "minimise",
    "log_fd": "minimise",
    "extractor_fd": "minimise",
    "extractor_kid": "minimise",
    "precision": "maximise",
    "recall": "maximise",
    "parameters": "minimise",
    "macs": "minimise",
}


@frozen
class Tabulated:
    """Stands where a network would: an architecture, and how far its training is.

    Attributes:
        table: where the outcomes are.
        row: of the member; -1 before the training has begun.
        seed: of the training.
        steps: generator updates so far.
        role: of the network.
        choices: of the architecture.
    """

    table: Table
    row: int = -1
    seed: int = 0
    steps: int = 0
    role: Role = "generator"
    choices: Choices = field(factory=dict)

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: a table has no weights."""
        return {}


class TabulatedTraining(Training):
    """Goes through a training that took place when the table was built.

    Args:
        pair: of two :class:`Tabulated`.
        tabulated: the member and the seed.
    """

    averaged = True
    recorded = True

    def __init__(self, pair: Pair, tabulated: Tabulated) -> None:
        self.pair = pair
        self._at = tabulated
        self.cost = Cost()

    def advance(self, budget: Budget) -> Progress:
        """Go on by ``budget``, at the recorded cost.

        Raises:
            ConfigError: the recorded training was shorter.
            TrialError: it failed on the way.
        """
        table, before = self._at.table, self.cost
        steps = self._at.steps + self._steps_of(budget)
        if steps > table.protocol.steps:
            raise ConfigError(
                f"benchmark '{table.protocol.name}': got a training of {steps} steps, the recorded "
                f"ones end at {table.protocol.steps}",
                f"set strategy.steps and final.steps to at most {table.protocol.steps}",
            )
        failure = table.failed_at(self._at.row, self._at.seed)
        if failure is not None and steps >= failure[0]:
            self._go(failure[0])
            raise TrialError(
                f"step {failure[0]}: {failure[1]} when the table was built", failure[1]
            )
        self._go(steps)
        return Progress(self.cost - before)

    def _go(self, steps: int) -> None:
        self._at = evolve(self._at, steps=steps)
        self.cost = self._at.table.cost(self._at.row, self._at.seed, steps)

    def _steps_of(self, budget: Budget) -> int:
        if budget.unit == "steps":
            return round(budget.amount)
        step = self._at.table.cost(self._at.row, self._at.seed, 1)
        return math.ceil(budget.amount / float(getattr(step, budget.unit)))

    def eval_generator(self, ema: bool = True) -> Any:
        """Return what the evaluator looks the outcome up by."""
        return self._at

    def state_dict(self) -> dict[str, Any]:
        """Return seed and steps."""
        return {"seed": self._at.seed, "steps": self._at.steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self._at = evolve(self._at, seed=int(state["seed"]))
        self._go(int(state["steps"]))


class TabulatedTrainer(Trainer):
    """Hands out recorded trainings of the members of the space ``nano``.

    The search draws from the first seeds of the table, the final training from the last ones, so
    that no search has seen the training that its winner is judged by. Which seed a training gets
    is decided by its random streams, as its initial weights would be.

    Args:
        config: which table.
        dataset: must be the one that the table was built with.
        objective: must be that of the table.
        passes: must be none.
        device: named in reports; nothing is computed.

    Raises:
        DataError: the table cannot be read.
        PairError: data, objective or passes are not those of the table.
    """

    name = "tabulated"

    def __init__(
        self,
        config: TableConfig,
        *,
        dataset: Dataset,
        objective: Objective,
        passes: Sequence[NetworkPass] = (),
        device: str = "cpu",
    ) -> None:
        self.device = device
        self.table = shipped(config.table)
        protocol = self.table.protocol
        side = int(protocol.dataset["image_size"])
        got = (dataset.name, tuple(dataset.shape), objective.name, len(passes))
        expected = ("digits", (1, side, side), protocol.objective, 0)
        if got != expected:
            raise PairError(
                f"trainer 'tabulated': got data set, image, objective and passes {got}, the table "
                f"was built with {expected}",
                LIVE,
            )

    def unsupported(self, strategy: Strategy) -> str:
        """Return why ``strategy`` needs weights, which a table has not, else empty."""
        if isinstance(strategy, AskTellStrategy | FixedStrategy | SampledStrategy):
            return ""
        return f"it trains networks of its own, and a table has no weights: {LIVE}"

    def build(
        self,
        space: SearchSpace,
        role: Role,
        choices: Choices,
        randomness: Randomness,
        blocks: int | None = None,
    ) -> Any:
        """Return a stand-in; draws nothing.

        Raises:
            PairError: the space is not the table's, or the network is no whole member of it.
        """
        protocol = self.table.protocol
        if space.name != "nano" or dict(space.settings) != _settings(self.table):
            raise PairError(
                f"trainer 'tabulated': got space '{space.name}' with {dict(space.settings)}, "
                f"expected space 'nano' with {_settings(self.table)}"
            )
        if blocks is not None or not choices:
            raise PairError(
                f"benchmark '{protocol.name}' has outcomes of whole architectures only", LIVE
            )
        return Tabulated(self.table, role=role, choices=choices)

    def begin(self, pair: Pair, plan: Plan, randomness: Randomness) -> TabulatedTraining:
        """Return the recorded training that ``randomness`` decides on."""
        generator = cast("Tabulated", pair.generator)
        row = self.table.row(Architecture(pair.space.name, generator.choices))
        seeds = searched_seeds(self.table.seeds)
        drawn = derive_seed(randomness.seed, "tabulated")
        if plan.phase == RETRAIN and seeds < self.table.seeds:
            seed = seeds + drawn % (self.table.seeds - seeds)
        else:
            seed = drawn % seeds
        return TabulatedTraining(pair, evolve(generator, row=row, seed=seed))


def searched_seeds(seeds: int) -> int:
    """Return how many of the seeds searches see; the others are for final trainings."""
    return max(1, seeds - seeds // 2)


def _settings(table: Table) -> dict[str, Any]:
    return dict(table.space.settings)


class TableEvaluator(Evaluator):
    """Reads what the networks of a recorded training were measured at.

    Only the fidelities at which the table's trainings were measured have an answer, and the test
    split only the last: nothing is interpolated.

    Args:
        config: which table; must be the trainer's.
        dataset: looked at by the trainer.
        device: nothing is computed.
    """

    name = "nano"
    metrics: Mapping[str, Direction] = METRICS

    def __init__(
        self, config: TableConfig, *, dataset: Dataset, device: torch.device | str = "cpu"
    ) -> None:
        self.table = shipped(config.table)
        self._cards = {split: _cards(self.table, split) for split in self.table.cards}

    def evaluate(
        self, candidates: Sequence[Candidate], split: SplitName, randomness: Randomness
    ) -> list[Evaluation]:
        """Return the recorded metrics.

        Raises:
            PairError: a candidate was not trained by the trainer ``tabulated``.
            ConfigError: nothing was measured on this split after so many steps.
            TrialError: the training failed.
        """
        return [self._evaluation(candidate.generator, split) for candidate in candidates]

    def _evaluation(self, network: Any, split: str) -> Evaluation:
        if not isinstance(network, Tabulated) or network.table is not self.table:
            raise PairError(
                "evaluator 'nano' reads the table that trainer 'tabulated' reads, got networks of "
                "another trainer",
                "--preset tabulated picks both",
            )
        answer = self.table.at(network.row, network.seed, self.table.fidelity(network.steps), split)
        if answer.status != "ok":
            raise TrialError(f"{answer.status} when the table was built", answer.status)
        values = dict(answer.metrics)
        score = values["log_fd"]
        values["rating"] = score
        values["extractor_fd"] = None if score is None else math.exp(score)
        cards = self._cards[split]
        return Evaluation({n: Metric(n, values[n], d, cards[n]) for n, d in METRICS.items()})


def _cards(table: Table, split: str) -> dict[str, MetricCard]:
    """Return the cards of the build, which name the table too."""
    recorded = {"extractor_fd": table.cards[split]["log_fd"], **table.cards[split]}
    source = f"{table.protocol.name}/{table.hash}"
    return {
        name: evolve(recorded[name], extra={**recorded[name].extra, "table": source})
        for name in METRICS
    }
