"""25 + 25 steps are 50 steps, bit for bit, through a new process's worth of fresh objects."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from nastk.gan.config import SemiSupervisedConfig
from nastk.gan.health import HealthPolicy, Observation
from nastk.gan.objectives import (
    Hinge,
    LeastSquares,
    NonSaturating,
    SemiSupervised,
    WassersteinGP,
)
from nastk.randomness import Randomness
from nastk.records import Budget
from nastk.state import load_state, save_state
from nastk.trainer import Plan


def fifty_is_twice_twenty_five(
    toy: SimpleNamespace, tmp_path: Path, make: Any, steps: int = 25
) -> None:
    whole = make()
    progress = whole.advance(Budget(2 * steps))
    first = make()
    first.advance(Budget(steps))
    save_state(tmp_path, "training", first.state_dict())
    second = make(seed=9)
    second.load_state_dict(load_state(tmp_path, "training"))
    assert toy.difference(first.state_dict(), second.state_dict()) == []
    again = second.advance(Budget(steps))
    assert toy.difference(whole.state_dict(), second.state_dict()) == []
    assert again.health == progress.health
    whole.advance(Budget(3))
    second.advance(Budget(3))
    assert toy.difference(whole.state_dict(), second.state_dict()) == []


OBJECTIVES = [Hinge(), LeastSquares(), NonSaturating(), WassersteinGP(), SemiSupervised()]


@pytest.mark.parametrize("kind", ["latent", "image"])
@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda o: o.name)
def test_resumed_training_equals_the_uninterrupted_one(
    toy: SimpleNamespace, tmp_path: Path, kind: str, objective: Any
) -> None:
    fifty_is_twice_twenty_five(
        toy, tmp_path, lambda **kw: toy.start(kind, objective=objective, **kw)
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"d_update": "separate", "fakes_for_d": "eval", "sampling": "replacement", "flips": True},
        {"n_critic": 2, "g_batch_size": 12, "lr_decay": "linear", "health_every": 20},
        {"ema_decay": 0.0, "beta1": 0.5, "health": "off"},
        {"memory_format": "contiguous", "forms": "plain"},
        {"memory_format": "channels_last", "forms": "plain"},
        {"memory_format": "channels_last", "forms": "auto"},
    ],
)
def test_resume_holds_for_every_way_of_training(
    toy: SimpleNamespace, tmp_path: Path, settings: dict[str, Any]
) -> None:
    plan = Plan(horizon=60)
    fifty_is_twice_twenty_five(toy, tmp_path, lambda **kw: toy.start(plan=plan, **settings, **kw))


def test_restored_state_lies_in_memory_as_it_did(toy: SimpleNamespace, tmp_path: Path) -> None:
    """Fused Adam goes through a parameter, its gradient and its moments side by side."""
    first = toy.start(memory_format="channels_last", beta1=0.5)
    first.advance(Budget(3))
    save_state(tmp_path, "training", first.state_dict())
    second = toy.start(memory_format="channels_last", beta1=0.5, seed=9)
    second.load_state_dict(load_state(tmp_path, "training"))
    told = []
    for training in (first, second):
        kernel = training.pair.discriminator.body.conv.weight
        held = [kernel, *(training._d_adam.state[kernel][k] for k in ("exp_avg", "exp_avg_sq"))]
        told.append([t.stride() for t in held])
        assert all(t.is_contiguous(memory_format=torch.channels_last) for t in held)
    assert told[0] == told[1]


def test_resume_holds_with_dropout_paths_and_frozen_parameters(
    toy: SimpleNamespace, tmp_path: Path
) -> None:
    def make(seed: int = 0) -> Any:
        training = toy.start(choices={}, space=toy.Space("latent", dropout=0.3), seed=seed)
        draws = Randomness(seed)

        def path(step: int) -> None:
            option = ("small", "large")[int(torch.randint(2, (1,), generator=draws.torch("p")))]
            training.pair.generator.activate({"conv": option})

        plan = Plan(path=path, trainable=lambda name: "last" in name or "options.1" in name)
        again = toy.start(choices={}, space=toy.Space("latent", dropout=0.3), seed=seed, plan=plan)
        training.pair = again.pair
        again.draws = draws
        return again

    whole, first, second = make(), make(), make(seed=9)
    whole.advance(Budget(50))
    first.advance(Budget(25))
    save_state(tmp_path, "training", first.state_dict())
    second.draws.load_state_dict(first.draws.state_dict())
    second.load_state_dict(load_state(tmp_path, "training"))
    second.advance(Budget(25))
    assert toy.difference(whole.state_dict(), second.state_dict()) == []
    assert set(whole.state_dict()["g_adam"]) < {
        n for n, _ in whole.pair.generator.named_parameters()
    }


def test_dropout_draws_from_the_training_and_not_from_the_outside(toy: SimpleNamespace) -> None:
    def run(seed: int) -> Any:
        torch.manual_seed(seed)
        training = toy.start(space=toy.Space("latent", dropout=0.5))
        training.advance(Budget(5))
        return training.state_dict()

    assert toy.difference(run(1), run(2)) == []
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    toy.start(space=toy.Space("latent", dropout=0.5)).advance(Budget(2))
    assert torch.equal(torch.rand(1), expected)


def test_state_is_a_copy_that_later_steps_do_not_change(toy: SimpleNamespace) -> None:
    training = toy.start()
    training.advance(Budget(5))
    state = training.state_dict()
    twin = toy.start(seed=4)
    twin.load_state_dict(state)
    twin.advance(Budget(5))
    training.advance(Budget(5))
    fresh = toy.start(seed=5)
    fresh.load_state_dict(state)
    fresh.advance(Budget(5))
    assert toy.difference(fresh.state_dict(), training.state_dict()) == []


class Adding(HealthPolicy):
    """Adds up every loss that it is shown."""

    def __init__(self) -> None:
        self.total = 0.0

    def observe(self, observation: Observation) -> dict[str, float]:
        self.total += sum(observation.losses["g"]) + observation.values["spread"]
        return {"total": self.total}

    def state_dict(self) -> dict[str, Any]:
        return {"total": self.total}

    def load_state_dict(self, state: Any) -> None:
        self.total = state["total"]


def test_health_policy_sees_the_same_through_a_resume(toy: SimpleNamespace, tmp_path: Path) -> None:
    fifty_is_twice_twenty_five(toy, tmp_path, lambda **kw: toy.start(policy=Adding(), **kw))


class Counting(Hinge):
    def __init__(self) -> None:
        self.calls = 0

    def generator_terms(self, exchange: Any) -> Any:
        self.calls += 1
        return super().generator_terms(exchange)

    def state_dict(self) -> dict[str, Any]:
        return {"calls": self.calls}

    def load_state_dict(self, state: Any) -> None:
        self.calls = state["calls"]


def test_objective_state_belongs_to_one_training(toy: SimpleNamespace, tmp_path: Path) -> None:
    shared = Counting()
    fifty_is_twice_twenty_five(toy, tmp_path, lambda **kw: toy.start(objective=shared, **kw), 4)
    assert shared.calls == 0


def test_semi_supervised_options_resume_too(toy: SimpleNamespace, tmp_path: Path) -> None:
    config = SemiSupervisedConfig(reconstruction=1.0, generator_class_weight=0.5)
    fifty_is_twice_twenty_five(
        toy, tmp_path, lambda **kw: toy.start("image", objective=SemiSupervised(config), **kw), 8
    )


def test_a_resumed_training_takes_the_forms_that_were_timed_before(
    toy: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begin(times: dict[str, float]) -> Any:
        monkeypatch.setattr("nastk.nn.measured.seconds", lambda form, *_: times[form])
        training = toy.start("image", forms="measure", choices={})
        training.pair.generator.mix({"conv": torch.tensor([0.5, 0.5])})
        return training

    forms = ("merged", "single", "ring", "frequency")
    first = begin(dict(zip(forms, (1.0, 2.0, 3.0, 4.0), strict=True)))
    first.advance(Budget(2))
    save_state(tmp_path, "training", first.state_dict())
    chosen = first.state_dict()["forms"]
    assert set(chosen.values()) == {"merged"}
    second = begin(dict(zip(forms, (4.0, 3.0, 2.0, 1.0), strict=True)))
    second.load_state_dict(load_state(tmp_path, "training"))
    for training in (first, second):
        training.advance(Budget(2))
    assert second.state_dict()["forms"] == chosen
    assert toy.difference(first.state_dict(), second.state_dict()) == []
