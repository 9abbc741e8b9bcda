"""Training steps on a pretend CUDA device: every tensor must be where the networks are."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from nastk.gan.objectives import Hinge, SemiSupervised, WassersteinGP
from nastk.objective import Exchange
from nastk.records import Budget
from nastk.testing.pretend_cuda import pretend_cuda
from nastk.trainer import Plan

CASES: list[dict[str, Any]] = [
    {"objective": Hinge()},
    {"objective": WassersteinGP(), "n_critic": 2},
    {"objective": SemiSupervised(), "d_update": "separate", "fakes_for_d": "eval"},
    {"sampling": "replacement", "flips": True, "plan": Plan(trainable=lambda n: "last" in n)},
    {"plan": Plan(train_generator=False)},
    {"plan": Plan(train_discriminator=False), "blocks": 0},
]


@pytest.mark.parametrize("kind", ["latent", "image"])
@pytest.mark.parametrize(
    "case", CASES, ids=["joint", "penalty", "separate", "frozen", "no-g", "no-d"]
)
def test_training_and_resuming_run_on_the_device(
    toy: SimpleNamespace, kind: str, case: dict[str, Any]
) -> None:
    with pretend_cuda():
        training = toy.start(kind, device="cuda", health_every=2, **case)
        training.advance(Budget(3))
        state = training.state_dict()
        again = toy.start(kind, device="cuda", health_every=2, seed=1, **case)
        again.load_state_dict(state)
        again.advance(Budget(2))
        network = training.eval_generator()
        devices = {str(t.device) for t in network.state_dict().values()}
        assert devices == {"cuda:0"}
        assert {str(t.device) for t in state["discriminator"].values()} == {"cuda:0"}


def test_pretend_device_trains_to_the_same_numbers(toy: SimpleNamespace) -> None:
    here = toy.start()
    here.advance(Budget(8))
    with pretend_cuda():
        there = toy.start(device="cuda")
        there.advance(Budget(8))
        state = there.state_dict()["generator"]
        assert all(
            torch.equal(v.cpu(), here.state_dict()["generator"][k]) for k, v in state.items()
        )


class Forgetful(Hinge):
    def generator_terms(self, exchange: Exchange) -> Any:
        assert exchange.fake is not None
        return {"adversarial": (exchange.fake.validity * torch.ones(1, 1, 1, 4)).mean()}


def test_planted_cpu_tensor_is_caught(toy: SimpleNamespace) -> None:
    training = toy.start(objective=Forgetful())
    training.advance(Budget(1))
    with pretend_cuda():
        training = toy.start(objective=Forgetful(), device="cuda")
        with pytest.raises(RuntimeError, match="same device"):
            training.advance(Budget(1))


def test_weights_left_on_the_cpu_are_caught(toy: SimpleNamespace) -> None:
    with pretend_cuda():
        training = toy.start(device="cuda")
        training.pair.generator.body.last.to("cpu")
        with pytest.raises(RuntimeError, match="same device"):
            training.advance(Budget(1))
