"""Weights from candidate to candidate, and trainings cut into rungs, with the real trainer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from nastk.gan.config import TrainerConfig
from nastk.gan.objectives import Hinge
from nastk.gan.trainer import GanTrainer
from nastk.nn.spectral import SpectralNorm
from nastk.randomness import Randomness
from nastk.records import Budget
from nastk.search import begin
from nastk.trainer import Pair, Plan

SMALL, LARGE = {"conv": "small"}, {"conv": "large"}


def make(toy: SimpleNamespace, *passes: Any, **settings: Any) -> GanTrainer:
    config = TrainerConfig(**{"batch_size": 8, "health_every": 4, **settings})
    return GanTrainer(config, dataset=toy.Data(), objective=Hinge(), passes=passes)


def pair(toy: SimpleNamespace, trainer: GanTrainer, choices: Any, seed: int) -> Pair:
    space, streams = toy.Space("latent", dropout=0.5), Randomness(seed)
    generator = trainer.build(space, "generator", choices, streams)
    return Pair(generator, trainer.build(space, "discriminator", choices, streams), space)


@pytest.mark.parametrize("passes", [(), (SpectralNorm(),)])
def test_shared_modules_come_from_the_parent_and_the_others_stay_fresh(
    toy: SimpleNamespace, passes: Any
) -> None:
    trainer = make(toy, *passes)
    parent, child = pair(toy, trainer, SMALL, 1), pair(toy, trainer, LARGE, 2)
    training = trainer.begin(parent, Plan(), Randomness(3))
    training.advance(Budget(3))
    bequest = trainer.bequest(training)
    drawn = child.generator.state_dict()["body.conv.weight"].clone()
    before = torch.random.get_rng_state()
    share = trainer.inherit(child, bequest)
    assert torch.equal(torch.random.get_rng_state(), before)
    mine, theirs = child.generator.state_dict(), parent.generator.state_dict()
    alike = {name for name in mine if torch.equal(mine[name], theirs.get(name, torch.empty(0)))}
    assert {name for name in mine if "conv" not in name} == alike
    assert torch.equal(mine["body.conv.weight"], drawn)
    d_child, d_parent = child.discriminator.state_dict(), parent.discriminator.state_dict()
    assert all(torch.equal(d_child[name], d_parent[name]) for name in d_child)
    new = 4 * 4 * 9 + 4
    total = sum(p.numel() for n in (child.generator, child.discriminator) for p in n.parameters())
    assert share == pytest.approx(1 - new / total)


def test_bequest_does_not_change_while_its_training_goes_on(toy: SimpleNamespace) -> None:
    trainer = make(toy)
    training = trainer.begin(pair(toy, trainer, SMALL, 1), Plan(), Randomness(3))
    bequest = trainer.bequest(training)
    kept = {name: w.clone() for name, w in bequest["generator"]["weights"].items()}
    training.advance(Budget(2))
    assert toy.difference(bequest["generator"]["weights"], kept) == []


@pytest.mark.parametrize("settings", [{}, {"lr_decay": "linear", "sampling": "epoch"}])
def test_training_cut_into_rungs_ends_as_one_that_was_not(
    toy: SimpleNamespace, settings: dict[str, Any]
) -> None:
    space, plan = toy.Space("latent", dropout=0.5), Plan(horizon=18)

    def fresh() -> Any:
        trainer = make(toy, SpectralNorm(), **settings)
        architecture = space.architecture(SMALL)
        return begin(trainer, space, architecture, plan, Randomness(5).child("candidate/0"))

    whole = fresh()
    whole.advance(Budget(18))
    state: Any = None
    for steps in (2, 4, 12):
        part = fresh()
        if state is not None:
            part.load_state_dict(state)
        part.advance(Budget(steps))
        state = part.state_dict()
    mine = {k: v for k, v in state.items() if k != "watch"}
    theirs = {k: v for k, v in whole.state_dict().items() if k != "watch"}
    assert toy.difference(mine, theirs) == []
