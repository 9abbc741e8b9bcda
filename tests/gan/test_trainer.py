from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from nastk.gan.config import TrainerConfig
from nastk.gan.objectives import Hinge
from nastk.gan.trainer import GanTrainer
from nastk.nn.spectral import SpectralNorm
from nastk.passes import NetworkPass
from nastk.randomness import Randomness
from nastk.records import Budget, Role


def make(toy: SimpleNamespace, **kw: Any) -> GanTrainer:
    config = TrainerConfig(**kw.pop("settings", {}))
    return GanTrainer(config, dataset=toy.Data(), objective=Hinge(), **kw)


def weights(network: nn.Module) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in network.state_dict().items()}


def test_same_seed_builds_the_same_network_and_moves_only_the_stream_init(
    toy: SimpleNamespace,
) -> None:
    trainer, space = make(toy), toy.Space("latent")
    before = torch.random.get_rng_state()
    randomness = Randomness(3)
    one = trainer.build(space, "generator", {}, randomness)
    two = trainer.build(space, "generator", {}, Randomness(3))
    other = trainer.build(space, "generator", {}, Randomness(4))
    assert toy.difference(weights(one), weights(two)) == []
    assert toy.difference(weights(one), weights(other)) != []
    assert torch.equal(torch.random.get_rng_state(), before)
    state = randomness.state_dict()
    assert {*state["torch"], *state["scopes"], *state["numpy"]} == {"init"}


class Noting(NetworkPass):
    def __init__(self, name: str, order: int, roles: tuple[Role, ...], log: list[Any]) -> None:
        self.name, self.order, self.roles, self.log = name, order, roles, log

    def apply(self, network: nn.Module, randomness: Randomness) -> nn.Module:
        self.log.append(self.name)
        return network

    def progress(self, network: nn.Module, progress: float) -> None:
        self.log.append((self.name, progress))


def test_passes_run_by_order_then_name_on_their_roles(toy: SimpleNamespace) -> None:
    log: list[Any] = []
    both: tuple[Role, ...] = ("generator", "discriminator")
    passes = [
        Noting("z", 1, both, log),
        Noting("b", 2, ("generator",), log),
        Noting("a", 2, both, log),
    ]
    trainer, space = make(toy, passes=passes), toy.Space("latent")
    trainer.build(space, "generator", {}, Randomness(0))
    assert log == ["z", "a", "b"]
    log.clear()
    trainer.build(space, "discriminator", {}, Randomness(0))
    assert log == ["z", "a"]


def test_passes_are_told_the_progress_at_every_health_interval(toy: SimpleNamespace) -> None:
    from nastk.trainer import Plan

    log: list[Any] = []
    change = Noting("a", 0, ("generator",), log)
    training = toy.start(passes=[change], plan=Plan(horizon=8), health_every=4)
    log.clear()
    training.advance(Budget(6))
    assert log == [("a", 0.0), ("a", 0.5)]


def test_spectral_norm_trains_and_resumes(toy: SimpleNamespace) -> None:
    whole = toy.start(passes=[SpectralNorm()])
    whole.advance(Budget(6))
    half, rest = toy.start(passes=[SpectralNorm()]), toy.start(passes=[SpectralNorm()], seed=2)
    half.advance(Budget(3))
    rest.load_state_dict(half.state_dict())
    rest.advance(Budget(3))
    assert toy.difference(whole.state_dict(), rest.state_dict()) == []


def test_scheme_decides_the_first_weights(toy: SimpleNamespace) -> None:
    space = toy.Space("latent")
    zero_bias = make(toy, settings={"init": "glorot"}).build(space, "generator", {}, Randomness(0))
    default = make(toy, settings={"init": "default"}).build(space, "generator", {}, Randomness(0))
    assert not zero_bias.body.last.bias.any()
    assert default.body.last.bias.any()


def test_training_split_is_loaded_once_for_all_trainings(
    toy: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nastk.trainer import Pair, Plan

    trainer, space, opened = make(toy), toy.Space("latent"), []
    split = trainer.dataset.split
    monkeypatch.setattr(trainer.dataset, "split", lambda *a: opened.append(a) or split(*a))
    for seed in range(3):
        generator = trainer.build(space, "generator", {}, Randomness(seed))
        discriminator = trainer.build(space, "discriminator", {}, Randomness(seed))
        for blocks in (None, 0):
            trainer.begin(Pair(generator, discriminator, space, blocks), Plan(), Randomness(seed))
    assert opened == [("train", "cpu")]
