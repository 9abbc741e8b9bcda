"""Two processes share the training of supernets; what they do stands in ``supernets.py``."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from nastk.errors import NastkError, PairError, TrialError
from nastk.gan.guided import Leading
from nastk.nn.choice import build
from nastk.rundir import RunFolder
from nastk.state import load_state
from nastk.trainer import Pair, Plan

NAMES = ("blockwise", "adversarialnas", "autogan")
ADVANCES = 2


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory, two_ranks: Any) -> Path:
    """Return the folder that two ranks have filled."""
    folder: Path = tmp_path_factory.mktemp("supernets")
    codes, said = two_ranks("supernets", folder)
    assert codes == [0, 0], said
    return folder


def states(out: Path, prefix: str, name: str) -> list[Any]:
    first = ADVANCES * NAMES.index(name)
    return [load_state(out, f"{prefix}{n}") for n in range(first, first + ADVANCES)]


def far(toy: SimpleNamespace, one: Any, two: Any) -> list[str]:
    """Return the tensors that are not equal to 1e-5 of the largest value."""
    found, expected = toy.numbers(two), toy.numbers(one)
    assert set(found) == set(expected)
    assert len(found) > 3
    largest = max(float(v.abs().max()) for v in expected.values() if v.numel())
    return [n for n, v in expected.items() if (found[n] - v).abs().max() > 1e-5 * largest]


@pytest.mark.parametrize("name", NAMES)
def test_two_ranks_train_supernets_as_one_does(out: Path, toy: SimpleNamespace, name: str) -> None:
    for one, two in zip(states(out, "alone", name), states(out, "leader", name), strict=True):
        for part in ("generator", "discriminator", "g_adam", "d_adam"):
            assert far(toy, one[part], two[part]) == [], part
        for part in ("batches", "cost", "macs"):
            assert toy.difference(one[part], two[part], part) == []


def test_two_ranks_learn_the_choice_weights_of_one(out: Path, toy: SimpleNamespace) -> None:
    one, two = (load_state(out, f"{prefix}-choices") for prefix in ("alone", "leader"))
    assert set(one) == {"generator", "discriminator"}
    assert far(toy, one, two) == []


@pytest.mark.parametrize("name", NAMES)
def test_the_other_rank_holds_the_same_bits(out: Path, toy: SimpleNamespace, name: str) -> None:
    pairs = zip(states(out, "leader", name), states(out, "follower", name), strict=True)
    for leader, follower in pairs:
        for state in (leader, follower):
            del state["randomness"], state["watch"]["policy"], state["seconds"]
        assert toy.difference(leader, follower) == []


def test_a_pair_that_rank_0_gives_up_is_given_up_by_all(out: Path) -> None:
    events = RunFolder.open(out / "leader-autogan").read("events")
    resets = [e["reason"] for e in events if e["type"] == "reset"]
    assert len(resets) == 1
    assert "the losses stand still" in resets[0]
    states(out, "follower", "autogan")  # it went on too


class Echo:
    """A team whose other rank has the same as this one."""

    size = 2
    leads = True

    def tell(self, message: bytes) -> None:
        pass

    def add_up(self, values: torch.Tensor) -> None:
        values *= 2


class Turn:
    """A turn whose loss is a weighted sum of parameters."""

    def __init__(self, plan: Plan, network: Any) -> None:
        self.plan, self.network = plan, network

    def loss(self, role: Any, held_out: bool = True) -> torch.Tensor:
        assert self.plan.before_pass is not None
        self.plan.before_pass(role)
        weights = torch.cat(list(self.network.selection.weights.values()))
        return (weights * torch.arange(1.0, len(weights) + 1)).sum() * self.network.scale


def guided(toy: SimpleNamespace, callback: Any) -> tuple[Plan, Any, torch.Tensor]:
    """Return a plan with the callback, a supernet that mixes, and the weights of the mixture."""
    network = build(toy.Space("latent"), "generator", {})
    network.scale = torch.nn.Parameter(torch.tensor(3.0))
    logits = torch.zeros(2, requires_grad=True)
    given = Plan(
        before_pass=lambda role: network.mix({"conv": 2 * logits}), before_generator=callback
    )
    pair = Pair(network, network, toy.Space("latent"))
    return Leading(Echo(), pair, given).plan, network, logits  # type: ignore[arg-type]


def test_a_turns_loss_has_the_gradient_of_the_mixture_weights(toy: SimpleNamespace) -> None:
    found: list[torch.Tensor] = []
    plan, network, logits = guided(
        toy, lambda turn: found.extend(torch.autograd.grad(turn.loss("generator"), logits))
    )
    assert plan.before_generator is not None
    plan.before_generator(Turn(plan, network))
    assert found[0].tolist() == [2 * 3.0 * 1, 2 * 3.0 * 2]


def test_gradients_of_parameters_in_a_turn_are_refused(toy: SimpleNamespace) -> None:
    plan, network, _ = guided(toy, lambda turn: turn.loss("generator").backward())
    assert plan.before_generator is not None
    with pytest.raises(PairError, match="gradients of a network's parameters, which 2 ranks do"):
        plan.before_generator(Turn(plan, network))


def test_mixtures_with_gradients_outside_of_a_turn_are_refused(toy: SimpleNamespace) -> None:
    plan, _, _ = guided(toy, lambda turn: None)
    assert plan.before_pass is not None
    with pytest.raises(PairError, match="ask for gradients outside of a turn's loss"):
        plan.before_pass("generator")


def test_a_callback_that_gives_up_ends_the_run(toy: SimpleNamespace) -> None:
    def give_up(step: int) -> None:
        raise TrialError("enough", "collapsed")

    pair = Pair(*[build(toy.Space("latent"), "generator", {})] * 2, toy.Space("latent"))
    plan = Leading(Echo(), pair, Plan(path=give_up)).plan  # type: ignore[arg-type]
    assert plan.path is not None
    with pytest.raises(NastkError, match="gave up what other ranks go on with: enough"):
        plan.path(0)
