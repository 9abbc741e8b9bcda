"""Each law of a contract suite fails for a component with the fault that it is for."""

from __future__ import annotations

import inspect
import math
import random
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from attrs import evolve, field, frozen
from torch import nn

from nastk.data.memory import InMemoryDataset, Shares, Source
from nastk.dataset import Split
from nastk.executor import InProcess
from nastk.gan.config import TrainerConfig
from nastk.gan.objectives import Hinge
from nastk.gan.trainer import GanTrainer
from nastk.passes import NetworkPass
from nastk.records import Architecture, Budget, Cost, Decision, Leader
from nastk.registry import Component
from nastk.strategy import AskTellStrategy, StepReport
from nastk.testing.contracts import (
    ComponentContract,
    DatasetContract,
    EvaluatorContract,
    ExecutorContract,
    ObjectiveContract,
    PassContract,
    SpaceContract,
    StrategyContract,
    TrainerContract,
)
from nastk.testing.tiny import TinyEvaluator, TinySpace
from nastk.trainer import Plan


def component(kind: Any, factory: type, config: type | None = None, **more: Any) -> Component:
    """Register a class of this file."""
    path = f"{__name__}:{config.__name__}" if config else ""
    words: dict[str, Any] = {"name": "planted", "summary": "a planted fault", **more}
    return Component(kind=kind, factory=f"{__name__}:{factory.__name__}", config=path, **words)


def law(suite: type[Any], name: str, made: Component) -> None:
    """Call one law of a suite, with the fixtures that it asks for."""
    case = type("Planted", (suite,), {"settings": {}})()
    method = getattr(case, f"test_{name}")
    given: dict[str, Any] = {"component": made}
    if "space" in inspect.signature(method).parameters:
        given = {"space": made.load_factory()(None, task=suite.task)}
    method(**given)


def caught(
    suite: type[Any], name: str, made: Component, accidents: Any = (NameError, AttributeError)
) -> None:
    """Fail unless the law is broken, and by no accident of this file."""
    try:
        law(suite, name, made)
    except accidents:
        raise
    except (Exception, pytest.fail.Exception):
        return
    raise AssertionError(f"the law '{name}' lets {made.factory} through")


def cases(*pairs: tuple[str, type]) -> Any:
    return pytest.mark.parametrize(
        ("name", "factory"), [pytest.param(n, f, id=f"{n}-{f.__name__}") for n, f in pairs]
    )


# -- every component ---------------------------------------------------------------------------


@frozen
class Silent:
    depth: int = 3


@frozen
class Wrong:
    depth: int = field(default="three", metadata={"help": "how deep"})  # type: ignore[assignment]


@frozen
class Good:
    depth: int = field(default=3, metadata={"help": "how deep"})


@pytest.mark.parametrize(
    ("name", "config", "words"),
    [
        ("component_has_a_name_and_a_summary", None, {"name": "Planted One"}),
        ("component_has_a_name_and_a_summary", None, {"summary": ""}),
        ("component_has_a_name_and_a_summary", None, {"summary": "two\nlines"}),
        ("every_setting_is_described_and_has_a_valid_default", Silent, {}),
        ("every_setting_is_described_and_has_a_valid_default", Wrong, {}),
        ("module_of_the_settings_imports_nothing_heavy", Good, {"config": "scipy:Config"}),
    ],
)
def test_faults_of_any_component_are_caught(name: str, config: Any, words: dict[str, str]) -> None:
    made = component("executor", InProcess, config)
    made = evolve(made, **words)
    caught(ComponentContract, name, made)


def test_settings_that_should_be_refused_and_are_not_are_caught() -> None:
    class Lenient(ComponentContract):
        refused = ({"depth": 4},)

    with pytest.raises(BaseException, match="DID NOT RAISE"):
        Lenient().test_settings_of_a_wrong_type_are_refused_in_one_line(
            component("executor", InProcess, Good)
        )


# -- strategies --------------------------------------------------------------------------------


class Coin(AskTellStrategy):
    name = "planted"

    def __init__(self, config: None = None) -> None:
        super().__init__(candidates=6, budget=Budget(1), objectives={"rating": "minimise"})

    def ask(self) -> Sequence[Architecture]:
        return [self.search.space.sample(self.search.randomness.numpy("coin"))]


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


def test_a_metric_setting_that_is_not_followed_is_caught() -> None:
    name = "a_setting_metric_may_name_one_to_be_maximised"
    law(StrategyContract, name, component("strategy", Aimed, Scored))
    for faulty in (Aimless, MaximisesNothing):
        caught(StrategyContract, name, component("strategy", faulty, Scored))


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


# -- objectives --------------------------------------------------------------------------------


class Overflows(Hinge):
    def on_real(self, scores: Any, exchange: Any) -> Any:
        return -torch.sigmoid(100 * scores.validity).log().mean()


class PerImage(Hinge):
    def on_real(self, scores: Any, exchange: Any) -> Any:
        return -scores.validity.flatten(1).mean(1)


class NotSeparable(Hinge):
    def discriminator_terms(self, exchange: Any) -> Any:
        sides = [s for s in (exchange.real, exchange.fake) if s is not None]
        return {"all": torch.stack([s.validity.mean() for s in sides]).sum()}


class Detached(Hinge):
    def generator_terms(self, exchange: Any) -> Any:
        weight = torch.ones((), requires_grad=True)
        return {"adversarial": exchange.fake.validity.detach().mean() * weight}


class NeedsReal(Hinge):
    def generator_terms(self, exchange: Any) -> Any:
        return {"gap": exchange.real.validity.mean() - exchange.fake.validity.mean()}


class Sums(Hinge):
    def on_fake(self, scores: Any, exchange: Any) -> Any:
        return scores.validity.sum()


class InPlace(Hinge):
    def on_fake(self, scores: Any, exchange: Any) -> Any:
        scores.validity.detach().clamp_(-0.1, 0.1)
        return super().on_fake(scores, exchange)


class Averages(Hinge):
    mean = 0.0

    def on_real(self, scores: Any, exchange: Any) -> Any:
        self.mean = 0.9 * self.mean + 0.1 * float(scores.validity.detach().mean())
        return (scores.validity.float() - self.mean).square().mean()


class LeftBehind(Hinge):
    def generator_terms(self, exchange: Any) -> Any:
        return {"adversarial": (exchange.fake.validity * torch.ones(1, 1)).mean()}


@cases(
    ("gradients_are_finite", Overflows),
    ("gradients_are_finite", PerImage),
    ("terms_are_named_scalars", PerImage),
    ("separable_terms_are_those_of_their_side", NotSeparable),
    ("generator_trains_through_the_generated_images", Detached),
    ("generator_trains_through_the_generated_images", NeedsReal),
    ("split_batches_have_the_same_mean", Sums),
    ("what_it_is_shown_stays_as_it_is", InPlace),
    ("state_survives_the_disk", Averages),
    ("it_trains_and_resumes_in_a_trainer", Averages),
    ("it_runs_on_the_device", LeftBehind),
)
def test_faults_of_objectives_are_caught(name: str, factory: type) -> None:
    caught(ObjectiveContract, name, component("objective", factory), NameError)


# -- evaluators --------------------------------------------------------------------------------


class Advancing(TinyEvaluator):
    def _brightness(self, candidate: Any, randomness: Any) -> float:
        return super()._brightness(candidate, randomness) + randomness.numpy("eval").normal()


class Counting(TinyEvaluator):
    calls = 0

    def _brightness(self, candidate: Any, randomness: Any) -> float:
        Counting.calls += 1
        return float(Counting.calls)


class Undeclared(TinyEvaluator):
    metrics: Mapping[str, Any] = {"rating": "minimise"}

    def _evaluate(self, candidate: Any, split: Any, randomness: Any) -> Any:
        found = super()._evaluate(candidate, split, randomness)
        metric = evolve(found.metrics["rating"], name="beauty")
        return evolve(found, metrics={**found.metrics, "beauty": metric})


class NotANumber(TinyEvaluator):
    def _brightness(self, candidate: Any, randomness: Any) -> float:
        return math.nan


class Cardless(TinyEvaluator):
    def _evaluate(self, candidate: Any, split: Any, randomness: Any) -> Any:
        return super()._evaluate(candidate, "train", randomness)


class Backwards(TinyEvaluator):
    def evaluate(self, candidates: Any, split: Any, randomness: Any) -> Any:
        return super().evaluate(candidates, split, randomness)[::-1]


class Misses(TinyEvaluator):
    def evaluate(self, candidates: Any, split: Any, randomness: Any) -> Any:
        return super().evaluate(candidates[:1], split, randomness)


class Tensors(TinyEvaluator):
    def _evaluate(self, candidate: Any, split: Any, randomness: Any) -> Any:
        found = super()._evaluate(candidate, split, randomness)
        return evolve(found, arrays={"probe": torch.ones(4)})


class LeavesTraining(TinyEvaluator):
    def _brightness(self, candidate: Any, randomness: Any) -> float:
        value = super()._brightness(candidate, randomness)
        candidate.generator.train()
        return value


class Greedy(TinyEvaluator):
    def __init__(self, config: Any = None, *, dataset: Any, device: str) -> None:
        super().__init__(config, dataset=dataset, device=device)
        self.dataset = dataset

    def _evaluate(self, candidate: Any, split: Any, randomness: Any) -> Any:
        self.dataset.split(split)
        return super()._evaluate(candidate, split, randomness)


class Host(TinyEvaluator):
    def _brightness(self, candidate: Any, randomness: Any) -> float:
        with torch.no_grad():
            return float(candidate.generator(torch.zeros(2, *candidate.space.input.shape)).mean())


@cases(
    ("measuring_twice_gives_the_same_and_advances_nothing", Advancing),
    ("measuring_twice_gives_the_same_and_advances_nothing", Counting),
    ("every_metric_is_declared_with_its_direction", Undeclared),
    ("every_metric_is_declared_with_its_direction", NotANumber),
    ("every_number_carries_its_protocol", Cardless),
    ("a_batch_is_answered_in_order", Backwards),
    ("a_batch_is_answered_in_order", Misses),
    ("evaluations_survive_json", Tensors),
    ("networks_stay_as_they_are", LeavesTraining),
    ("images_that_are_not_finite_are_a_failed_candidate", NotANumber),
    ("the_test_split_serves_a_whole_batch", Greedy),
    ("it_measures_on_the_device", Host),
)
def test_faults_of_evaluators_are_caught(name: str, factory: type) -> None:
    caught(EvaluatorContract, name, component("evaluator", factory))


# -- data sets ---------------------------------------------------------------------------------


@frozen
class DataConfig:
    labels: float = field(default=1.0, metadata={"help": "share of visible labels"})


class Numbers(InMemoryDataset):
    def __init__(self, config: DataConfig, *, seed: int, device: str) -> None:
        images = np.random.default_rng(0).integers(0, 256, (60, 1, 4, 4), dtype=np.uint8)
        source = Source(images, np.arange(60) % 3, ("a", "b", "c"))
        shares = Shares(labels=config.labels)
        super().__init__("planted", source, shares=shares, seed=seed, device=device)


def altered(split: Split, **changes: Any) -> Split:
    parts = {n: getattr(split, n) for n in ("name", "images", "labels", "content")}
    return Split(**{**parts, **changes})


class Floats(Numbers):
    def split(self, name: Any, device: Any = None) -> Split:
        found = super().split(name, device)
        return altered(found, images=found.images.float())


class OtherClasses(Numbers):
    def split(self, name: Any, device: Any = None) -> Split:
        found = super().split(name, device)
        return altered(found, labels=found.labels + 1)


class Overlapping(Numbers):
    def split(self, name: Any, device: Any = None) -> Split:
        return altered(super().split("train", device), name=name, content=f"{len(name):012x}")


class Unseeded(Numbers):
    def __init__(self, config: DataConfig, *, seed: int, device: str) -> None:
        super().__init__(config, seed=random.SystemRandom().randrange(10**6), device=device)


class SeedBlind(Numbers):
    def __init__(self, config: DataConfig, *, seed: int, device: str) -> None:
        super().__init__(config, seed=0, device=device)


class OneHash(Numbers):
    def split(self, name: Any, device: Any = None) -> Split:
        return altered(super().split(name, device), content="0" * 12)


class Reopens(Numbers):
    def split(self, name: Any, device: Any = None) -> Split:
        self._held = getattr(self, "_held", {})
        if name not in self._held:
            self._held[name] = super().split(name, device)
        return self._held[name]


class BudgetBlind(Numbers):
    def __init__(self, config: DataConfig, *, seed: int, device: str) -> None:
        super().__init__(DataConfig(), seed=seed, device=device)


class BudgetHidesAll(Numbers):
    def __init__(self, config: DataConfig, *, seed: int, device: str) -> None:
        super().__init__(config, seed=seed, device=device)
        self._few = config.labels < 1

    def split(self, name: Any, device: Any = None) -> Split:
        found = super().split(name, device)
        return altered(found, labels=found.labels.clone().fill_(-1)) if self._few else found


class Stays(Numbers):
    def split(self, name: Any, device: Any = None) -> Split:
        return super().split(name, "cpu")


@cases(
    ("images_are_uint8_of_the_stated_shape", Floats),
    ("images_are_uint8_of_the_stated_shape", OtherClasses),
    ("splits_share_no_image", Overlapping),
    ("same_seed_gives_the_same_splits", Unseeded),
    ("same_seed_gives_the_same_splits", SeedBlind),
    ("content_hashes_are_of_the_content", OneHash),
    ("the_test_split_opens_once", Reopens),
    ("a_label_budget_hides_training_labels_only", BudgetBlind),
    ("a_label_budget_hides_training_labels_only", BudgetHidesAll),
    ("splits_come_to_the_device", Stays),
)
def test_faults_of_data_sets_are_caught(name: str, factory: type) -> None:
    caught(DatasetContract, name, component("dataset", factory, DataConfig))


# -- trainers ----------------------------------------------------------------------------------


def wrapped(training: Any, **methods: Any) -> Any:
    for name, method in methods.items():
        setattr(training, name, method)
    return training


class Planted(GanTrainer):
    def __init__(self, config: Any = None, **parts: Any) -> None:
        super().__init__(TrainerConfig(batch_size=8, health="off"), **parts)


class UnseededTraining(Planted):
    def begin(self, pair: Any, plan: Any, randomness: Any) -> Any:
        torch.manual_seed(random.SystemRandom().randrange(10**6))
        return super().begin(pair, plan, randomness)


class DrawsElsewhere(Planted):
    def build(self, *parts: Any) -> Any:
        parts[3].numpy("build").normal()
        return super().build(*parts)


class Prepaid(Planted):
    def begin(self, pair: Any, plan: Any, randomness: Any) -> Any:
        training = super().begin(pair, plan, randomness)
        training.advance(Budget(1))
        return training


class ForgetsOptimisers(Planted):
    def begin(self, pair: Any, plan: Any, randomness: Any) -> Any:
        training = super().begin(pair, plan, randomness)
        fresh, load = training.state_dict(), training.load_state_dict
        keep = {k: v for k, v in fresh.items() if "optim" in k or "adam" in k}
        assert keep, list(fresh)
        return wrapped(training, load_state_dict=lambda state: load({**state, **keep}))


class SharesMemory(Planted):
    def begin(self, pair: Any, plan: Any, randomness: Any) -> Any:
        training = super().begin(pair, plan, randomness)
        save = training.state_dict
        live = lambda: {**save(), "generator": pair.generator.state_dict()}  # noqa: E731
        return wrapped(training, state_dict=live)


class Generous(Planted):
    def begin(self, pair: Any, plan: Any, randomness: Any) -> Any:
        training = super().begin(pair, plan, randomness)
        advance = training.advance
        more = lambda budget: advance(evolve(budget, amount=budget.amount + 1))  # noqa: E731
        return wrapped(training, advance=more)


class TrainsAll(Planted):
    def begin(self, pair: Any, plan: Any, randomness: Any) -> Any:
        plan = evolve(plan, train_generator=True, train_discriminator=True)
        return super().begin(pair, plan, randomness)


class EvaluatesInTraining(Planted):
    def begin(self, pair: Any, plan: Any, randomness: Any) -> Any:
        training = super().begin(pair, plan, randomness)
        return wrapped(training, eval_generator=lambda ema=True: pair.generator.train())


class ForgetsObjectives(Planted):
    def begin(self, pair: Any, plan: Any, randomness: Any) -> Any:
        training = super().begin(pair, plan, randomness)
        if plan.objective is not None:
            plan.objective.load_state_dict = lambda state: None
            terms = plan.objective.discriminator_terms
            calls = vars(plan.objective).setdefault("calls", 0)
            del calls
            plan.objective.discriminator_terms = lambda exchange: {
                n: t * (1 + getattr(plan.objective, "calls", 0)) for n, t in terms(exchange).items()
            }
        return training


class OnTheHost(Planted):
    def build(self, *parts: Any) -> Any:
        return super().build(*parts).to("cpu")


@cases(
    ("same_seed_gives_the_same_training", UnseededTraining),
    ("building_advances_the_stream_init_only", DrawsElsewhere),
    ("beginning_spends_nothing", Prepaid),
    ("twenty_five_and_twenty_five_steps_are_fifty", ForgetsOptimisers),
    ("a_snapshot_is_a_copy_and_restores_bit_for_bit", SharesMemory),
    ("costs_are_those_of_the_budget", Generous),
    ("frozen_networks_do_not_move", TrainsAll),
    ("evaluated_generator_makes_images", EvaluatesInTraining),
    ("objectives_that_couple_real_and_fake_train_and_resume", ForgetsObjectives),
    ("it_trains_on_the_device", OnTheHost),
)
def test_faults_of_trainers_are_caught(name: str, factory: type) -> None:
    caught(TrainerContract, name, component("trainer", factory))


# -- executors ---------------------------------------------------------------------------------


class Reversed(InProcess):
    def __init__(self, config: None = None) -> None:
        pass

    def map(self, function: Any, tasks: Any) -> Any:
        return iter([function(t) for t in reversed(list(tasks))])


class Swallows(Reversed):
    def map(self, function: Any, tasks: Any) -> Any:
        for task in tasks:
            try:
                yield function(task)
            except ValueError:
                yield None


class Repeats(Reversed):
    def close(self) -> None:
        pass


class RunsTwice(Reversed):
    def map(self, function: Any, tasks: Any) -> Any:
        for task in tasks:
            found = function(task)
            cost = getattr(getattr(found, "trial", None), "cost", None)
            if isinstance(cost, Cost):
                found = evolve(found, trial=evolve(found.trial, cost=cost + cost))
            yield found


@cases(
    ("results_come_in_the_order_of_the_tasks", Reversed),
    ("every_submitted_task_is_collected_once", Repeats),
    ("what_a_task_raises_reaches_the_caller", Swallows),
    ("candidates_come_out_as_in_this_process", RunsTwice),
)
def test_faults_of_executors_are_caught(name: str, factory: type) -> None:
    caught(ExecutorContract, name, component("executor", factory))


# -- passes ------------------------------------------------------------------------------------


class Idle(NetworkPass):
    name = "planted"
    roles = ("discriminator",)

    def __init__(self, config: None = None) -> None:
        pass

    def apply(self, network: Any, randomness: Any) -> Any:
        return network


class Roleless(Idle):
    roles = ()


class Jitters(Idle):
    def apply(self, network: Any, randomness: Any) -> Any:
        network.register_buffer("jitter", torch.rand(2))
        return network


class Reshapes(Idle):
    roles = ("generator",)

    def apply(self, network: Any, randomness: Any) -> Any:
        network.register_forward_hook(lambda m, i, o: o[..., ::2])
        return network


class HidesState(Idle):
    made = 0

    def apply(self, network: Any, randomness: Any) -> Any:
        HidesState.made += 1
        network.register_buffer(f"extra{HidesState.made}", torch.zeros(1))
        return network


class Unwraps(Idle):
    def apply(self, network: Any, randomness: Any) -> Any:
        return nn.Sequential(network)


class Impure(Idle):
    def apply(self, network: Any, randomness: Any) -> Any:
        network.turns = 0

        def shift(module: Any, inputs: Any, output: Any) -> Any:
            if module.training:
                module.turns += 1
            return output._replace(validity=output.validity * (1 + module.turns))

        network.register_forward_hook(shift)
        return network


class OnCpu(Idle):
    def apply(self, network: Any, randomness: Any) -> Any:
        shift = torch.ones(1, 1)
        network.register_forward_hook(
            lambda m, i, o: o._replace(validity=o.validity + shift.expand(2, 1).sum(0))
        )
        return network


class OnlyOnce(Idle):
    made = 0

    def apply(self, network: Any, randomness: Any) -> Any:
        OnlyOnce.made += 1
        if OnlyOnce.made == 1:
            network.register_parameter("more", nn.Parameter(torch.zeros(5)))
        return network


@cases(
    ("complexity_is_that_of_the_transformed_network", OnlyOnce),
    ("it_says_which_networks_it_changes", Roleless),
    ("same_streams_give_the_same_network", Jitters),
    ("same_streams_give_the_same_network", Unwraps),
    ("shapes_stay_and_gradients_are_finite", Reshapes),
    ("state_passes_into_another_build", HidesState),
    ("training_with_it_resumes_bit_for_bit", Impure),
    ("it_runs_on_the_device", OnCpu),
)
def test_faults_of_passes_are_caught(name: str, factory: type) -> None:
    caught(PassContract, name, component("pass", factory))


# -- spaces ------------------------------------------------------------------------------------


class Disordered(TinySpace):
    def __init__(self, config: None = None, *, task: Any) -> None:
        super().__init__(config, task=task)
        self.decisions = self.decisions[::-1]


class NamedTwice(TinySpace):
    def __init__(self, config: None = None, *, task: Any) -> None:
        super().__init__(config, task=task)
        self.decisions = (*self.decisions[:3], Decision("cell0.op", ("conv", "thin")))


class Unreadable(TinySpace):
    def encode(self, architecture: Architecture) -> str:
        return super().encode(architecture).replace("1", "0").replace("2", "0")


class Meddles(TinySpace):
    def repair(self, choices: Any) -> dict[str, str]:
        return {**choices, "cell0.op": "conv" if choices["cell0.op"] != "conv" else "thin"}


class Lucky(TinySpace):
    def sample(self, rng: Any) -> Architecture:
        return super().sample(np.random.default_rng())


class Restless(TinySpace):
    def mutate(self, architecture: Architecture, rng: Any, n: int = 1) -> Architecture:
        return architecture


class Narrows(TinySpace):
    def restrict(self, options: Any) -> Any:
        narrowed = super().restrict(options)
        self.decisions = narrowed.decisions
        return narrowed


class Bright(TinySpace):
    def generator(self, pick: Any, blocks: Any = None) -> Any:
        return nn.Sequential(super().generator(pick, blocks), nn.Hardtanh(2, 3))


class Classless(TinySpace):
    def discriminator(self, pick: Any, blocks: Any = None) -> Any:
        made: Any = super().discriminator(pick, blocks)
        made[-1].classes = None
        return made


class PrefixesOfOneSize(TinySpace):
    def prefix_task(self, blocks: int) -> Any:
        return self.task


class Frozen(TinySpace):
    def generator(self, pick: Any, blocks: Any = None) -> Any:
        made = super().generator(pick, blocks)
        return made.requires_grad_(False)


class Scatters(TinySpace):
    def generator(self, pick: Any, blocks: Any = None) -> Any:
        made = super().generator(pick, blocks)
        fresh = torch.Generator()
        fresh.seed()
        for parameter in made.parameters():
            nn.init.normal_(parameter, generator=fresh)
        return made


class _Adds(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.shift = torch.ones(1, 1, 1, 8)  # no buffer: the fault

    def forward(self, x: Any) -> Any:
        return x + 0 * self.shift[..., : x.shape[-1]]


class HostConstant(TinySpace):
    def discriminator(self, pick: Any, blocks: Any = None) -> Any:
        return nn.Sequential(_Adds(), super().discriminator(pick, blocks))


class _Drifts(nn.Module):
    calls = 0

    def forward(self, x: Any) -> Any:
        _Drifts.calls += 1
        return x * _Drifts.calls


class Drifting(TinySpace):
    def discriminator(self, pick: Any, blocks: Any = None) -> Any:
        return nn.Sequential(_Drifts(), super().discriminator(pick, blocks))


class TwoWeights(TinySpace):
    def generator(self, pick: Any, blocks: Any = None) -> Any:
        made: Any = super().generator(pick, blocks)
        open_ = pick.decided("cell0.op") is None
        return nn.Sequential(made, nn.Tanh()) if open_ else nn.Sequential(made, nn.Identity())


@cases(
    ("decisions_are_named_once_generator_first", Disordered),
    ("decisions_are_named_once_generator_first", NamedTwice),
    ("architectures_survive_codes_and_json", Unreadable),
    ("canonical_form_is_its_own_and_valid_ones_need_no_repair", Meddles),
    ("same_draws_give_the_same_architectures", Lucky),
    ("same_draws_give_the_same_architectures", Restless),
    ("a_narrowed_space_is_a_space", Narrows),
    ("networks_have_the_shapes_of_the_task", Bright),
    ("networks_have_the_shapes_of_the_task", Classless),
    ("every_prefix_of_blocks_makes_images", PrefixesOfOneSize),
    ("gradients_reach_both_networks", Frozen),
    ("networks_draw_from_the_scope_they_are_built_in", Scatters),
    ("networks_run_on_the_device", HostConstant),
    ("mixtures_are_the_same_in_faster_forms", Drifting),
    ("one_hot_supernet_equals_the_derived_network", TwoWeights),
    ("transfer_preserves_outputs_in_both_directions", TwoWeights),
)
def test_faults_of_spaces_are_caught(name: str, factory: type) -> None:
    caught(SpaceContract, name, component("space", factory))


def test_every_law_has_a_fault_that_it_catches() -> None:
    named = set(re.findall(r'\(\s*"(\w+)",', Path(__file__).read_text("utf-8")))
    named.add("settings_of_a_wrong_type_are_refused_in_one_line")
    suites = (
        DatasetContract, EvaluatorContract, ExecutorContract, ObjectiveContract, PassContract,
        SpaceContract, StrategyContract, TrainerContract,
    )  # fmt: skip
    laws = {n.removeprefix("test_") for s in suites for n in dir(s) if n.startswith("test_")}
    assert laws - named == set()
