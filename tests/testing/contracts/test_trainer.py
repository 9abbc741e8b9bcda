"""Faults of trainers: each breaks the law that it is for."""

from __future__ import annotations

import random
from typing import Any

import torch
from attrs import evolve

from nastk.gan.config import TrainerConfig
from nastk.gan.trainer import GanTrainer
from nastk.records import Budget
from nastk.testing.contracts import TrainerContract
from tests.testing.contracts.conftest import cases, caught, component


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
