from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from nastk.errors import TrialError
from nastk.gan.config import TrainerConfig
from nastk.gan.health import (
    HealthPolicy,
    Observation,
    StandardHealth,
    bank_values,
    spread,
)
from nastk.gan.loop import GanTraining
from nastk.records import Budget
from nastk.trainer import Plan

HEALTHY = {"spread": 0.8, "duplicates": 0.0}


def observe(policy: HealthPolicy, times: int, **what: object) -> None:
    for i in range(times):
        policy.observe(Observation(1000 + i, what.get("losses", {}), what.get("values", HEALTHY)))


@pytest.mark.parametrize("values", [{"spread": 0.001}, {"spread": 0.5, "duplicates": 0.99}])
def test_collapse_is_given_up_after_a_window_of_bad_looks(values: dict[str, float]) -> None:
    policy = StandardHealth(TrainerConfig(health_window=3))
    observe(policy, 2, values=values)
    observe(policy, 1)
    observe(policy, 2, values=values)
    with pytest.raises(TrialError, match="collapsed") as caught:
        observe(policy, 1, values=values)
    assert caught.value.status == "collapsed"


def test_discriminator_that_has_won_is_given_up() -> None:
    policy = StandardHealth(TrainerConfig(health_window=2))
    won = {"d": [1e-5, 2e-5], "g": [1.0, 1.1]}
    observe(policy, 1, losses=won)
    with pytest.raises(TrialError, match="discriminator has won") as caught:
        observe(policy, 1, losses=won)
    assert caught.value.status == "collapsed"


@pytest.mark.parametrize(
    "losses", [{"d": [1e-5], "g": [0.1]}, {"d": [0.1], "g": [5.0]}, {"d": [-3.0], "g": [5.0]}, {}]
)
def test_one_sided_signs_alone_are_no_victory(losses: dict[str, list[float]]) -> None:
    observe(StandardHealth(TrainerConfig(health_window=1)), 5, losses=losses)


def test_nothing_is_called_collapsed_before_the_warm_up_or_when_off() -> None:
    young = StandardHealth(TrainerConfig(health_window=1, health_warmup=2000))
    observe(young, 5, values={"spread": 0.0})
    observe(StandardHealth(TrainerConfig(health_window=1, health="off")), 5, values={"spread": 0.0})


@pytest.mark.parametrize("health", ["on", "off"])
def test_numbers_that_are_not_finite_always_end_a_training(health: str) -> None:
    policy = StandardHealth(TrainerConfig(health=health))  # type: ignore[arg-type]
    with pytest.raises(TrialError, match=r"'g\.adversarial' is not finite") as caught:
        policy.observe(Observation(1, {"g.adversarial": [1.0, float("inf")]}))
    assert caught.value.status == "diverged"
    with pytest.raises(TrialError, match="weights or images"):
        policy.observe(Observation(1, {}, {}, finite=False))


def test_bank_values_tell_equal_images_from_different_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    different = torch.rand(16, 1, 8, 8, generator=generator) * 2 - 1
    some = different.clone()
    some[:4] = some[0] + 1e-4
    none = different[:1].expand(16, -1, -1, -1)
    real = spread(different)
    assert bank_values(different, real).tolist() == pytest.approx([1.0, 0.0, 1.0])
    assert float(bank_values(some, real)[1]) == 0.25
    assert bank_values(none, real).tolist() == pytest.approx([0.0, 1.0, 1.0], abs=1e-3)
    assert float(bank_values(different * torch.inf, real)[2]) == 0.0


def test_state_of_the_policy_is_restored() -> None:
    policy = StandardHealth(TrainerConfig(health_window=3))
    observe(policy, 2, values={"spread": 0.0})
    other = StandardHealth(TrainerConfig(health_window=3))
    other.load_state_dict(policy.state_dict())
    with pytest.raises(TrialError):
        observe(other, 1, values={"spread": 0.0})


# -- inside a training -------------------------------------------------------------------------


def test_healthy_short_training_is_left_alone(toy: SimpleNamespace) -> None:
    for kind in ("latent", "image"):
        training = toy.start(kind, health_every=10, health_warmup=0, health_window=2)
        progress = training.advance(Budget(120))
        assert progress.health["spread"] > 0.05
        assert progress.health["bad_collapsed"] == progress.health["bad_d_wins"] == 0


def test_collapsed_generator_is_given_up_and_its_cost_entered(toy: SimpleNamespace) -> None:
    training: GanTraining = toy.start(g_lr=1e-12, health_every=5, health_warmup=0, health_window=2)
    with torch.no_grad():
        training.pair.generator.body.last.weight.zero_()
    with pytest.raises(TrialError, match="collapsed"):
        training.advance(Budget(100))
    assert training.cost.steps == 10
    assert training.cost.seconds > 0


@pytest.mark.parametrize("part", ["generator", "discriminator"])
def test_weights_that_are_not_finite_end_a_training_as_diverged(
    toy: SimpleNamespace, part: str
) -> None:
    training: GanTraining = toy.start(health_every=50)
    with torch.no_grad():
        next(getattr(training.pair, part).parameters()).fill_(torch.nan)
    with pytest.raises(TrialError, match="not finite") as caught:
        training.advance(Budget(3))
    assert caught.value.status == "diverged"


class Recording(HealthPolicy):
    def __init__(self) -> None:
        self.seen: list[Observation] = []

    def observe(self, observation: Observation) -> dict[str, float]:
        self.seen.append(observation)
        return {"looks": float(len(self.seen))}


def test_a_policy_sees_every_loss_of_its_interval_across_calls(toy: SimpleNamespace) -> None:
    policy = Recording()
    training: GanTraining = toy.start(policy=policy, health_every=10, n_critic=2)
    for _ in range(5):
        progress = training.advance(Budget(5))
    assert [o.steps for o in policy.seen] == [10, 20]
    assert [len(o.losses["g"]) for o in policy.seen] == [10, 10]
    assert [len(o.losses["d.real"]) for o in policy.seen] == [20, 20]
    assert all(o.values["g_gradient"] > 0 and o.values["d_gradient"] > 0 for o in policy.seen)
    assert progress.health == {"looks": 2.0}


def test_images_are_not_judged_while_the_generator_is_not_trained(toy: SimpleNamespace) -> None:
    policy = Recording()
    training = toy.start(policy=policy, plan=Plan(train_generator=False), health_every=2)
    training.advance(Budget(2))
    assert "spread" not in policy.seen[0].values
