"""Faults of strategies: each breaks the law that it is for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from attrs import field, frozen

from nastk.records import Architecture, Budget, Leader
from nastk.strategy import AskTellStrategy, StepReport
from nastk.testing.contracts import StrategyContract
from nastk.testing.tiny import TinySpace
from nastk.trainer import Plan
from tests.testing.contracts.conftest import cases, caught, component, law


class Coin(AskTellStrategy):
    name = "planted"

    def __init__(self, config: None = None) -> None:
        super().__init__(candidates=6, budget=Budget(1), objectives={"rating": "minimise"})

    def ask(self) -> Sequence[Architecture]:
        return [self.search.space.sample(self.search.randomness.numpy("coin"))]


class GlobalDraws(Coin):
    def ask(self) -> Sequence[Architecture]:
        seed = int(np.random.randint(1000))  # noqa: NPY002 - the fault
        return [self.search.space.sample(np.random.default_rng(seed))]


class ClockDraws(Coin):
    made = 0

    def ask(self) -> Sequence[Architecture]:
        ClockDraws.made += 1
        return [self.search.space.sample(np.random.default_rng(ClockDraws.made))]


class DrawsAtStart(Coin):
    def start(self, search: Any) -> None:
        super().start(search)
        search.randomness.numpy("coin").integers(3)


class Forgets(Coin):
    asked = 0

    def ask(self) -> Sequence[Architecture]:
        self.asked += 1
        return [self.search.space.sample(np.random.default_rng(self.asked))]


class StateOfSets(Coin):
    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "seen": {1, 2}}


class LosesState(Coin):
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.trials = []


class LeadersDraw(Coin):
    def leaders(self) -> list[Leader]:
        self.search.randomness.numpy("coin").integers(3)
        return super().leaders()


class InvalidLeaders(Coin):
    def leaders(self) -> list[Leader]:
        return [Leader(Architecture("tiny", {"cell0.op": "conv"}), 0.0)]


class TwiceLed(Coin):
    def leaders(self) -> list[Leader]:
        return super().leaders() * 2


class Leaderless(Coin):
    def leaders(self) -> list[Leader]:
        return []


class FailuresLead(Coin):
    def leaders(self) -> list[Leader]:
        return [Leader(t.architecture, 0.0) for t in self.trials]


class FailuresCrash(Coin):
    def tell(self, trials: Any) -> None:
        for trial in trials:
            assert trial.evaluation is not None


class HiddenTraining(Coin):
    def ask(self) -> Sequence[Architecture]:
        found = super().ask()
        from nastk.attempts import begin

        search = self.search
        child = search.randomness.child(f"secret/{len(self.trials)}")
        training = begin(search.trainer, search.space, found[0], Plan(), child)
        training.advance(Budget(1))
        return found


class ReadsTheScore(Coin):
    def ask(self) -> Sequence[Architecture]:
        best = self.order(self.trials)
        score = int(abs(self._score(best[0])) * 100) if best else 0
        return [self.search.space.sample(np.random.default_rng([score, len(self.trials)]))]


class Thaws(Coin):
    def ask(self) -> Sequence[Architecture]:
        space = self.search.space
        wide = TinySpace(task=space.task)
        return [wide.sample(self.search.randomness.numpy("coin"))]


class Homesick(Coin):
    def tell(self, trials: Any) -> None:
        noise = torch.ones(2, device=self.search.device)
        self.sum = noise + torch.ones(2)


class Endless(Coin):
    def step(self) -> StepReport:
        return StepReport("again")


@cases(
    ("same_seed_gives_the_same_search", GlobalDraws),
    ("same_seed_gives_the_same_search", ClockDraws),
    ("same_seed_gives_the_same_search", Endless),
    ("starting_draws_and_spends_nothing", DrawsAtStart),
    ("state_survives_the_disk", StateOfSets),
    ("state_survives_the_disk", LosesState),
    ("two_halves_of_a_search_equal_the_whole", Forgets),
    ("two_halves_of_a_search_equal_the_whole", LosesState),
    ("looking_at_a_search_changes_nothing", LeadersDraw),
    ("leaders_are_complete_valid_and_json", InvalidLeaders),
    ("leaders_are_complete_valid_and_json", TwiceLed),
    ("leaders_are_complete_valid_and_json", Leaderless),
    ("failed_candidates_are_borne_and_never_lead", FailuresLead),
    ("failed_candidates_are_borne_and_never_lead", FailuresCrash),
    ("ledger_holds_what_the_trainings_cost", HiddenTraining),
    ("a_constant_score_teaches_nothing", ReadsTheScore),
    ("frozen_decisions_stay_frozen", Thaws),
    ("a_search_runs_on_the_device", Homesick),
)
def test_faults_of_strategies_are_caught(name: str, factory: type) -> None:
    caught(StrategyContract, name, component("strategy", factory))


@frozen
class Scored:
    metric: str = field(default="rating", metadata={"help": "what is to be improved"})


class Aimless(Coin):
    def __init__(self, config: Scored) -> None:
        super().__init__()
        self.objectives = {config.metric: "minimise"}


class Aimed(Aimless):
    def unsupported(self, search: Any) -> str:
        known, name = search.evaluator.metrics, next(iter(self.objectives))
        self.objectives = {name: known.get(name, "minimise")}
        return "" if name in known else f"nothing measures {name}"


class MaximisesNothing(Aimed):
    def unsupported(self, search: Any) -> str:
        problem = super().unsupported(search)
        self.objectives = dict.fromkeys(self.objectives, "minimise")
        return problem


@cases(
    ("a_setting_metric_may_name_one_to_be_maximised", Aimless),
    ("a_setting_metric_may_name_one_to_be_maximised", MaximisesNothing),
)
def test_strategies_that_take_a_metric_wrongly_are_caught(name: str, factory: type) -> None:
    law(StrategyContract, name, component("strategy", Aimed, Scored))
    caught(StrategyContract, name, component("strategy", factory, Scored))
