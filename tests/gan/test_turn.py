"""Halved batches and the callbacks before updates and passes."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from nastk.errors import ConfigError
from nastk.gan.objectives import Hinge
from nastk.objective import Exchange
from nastk.records import Budget, Role
from nastk.trainer import Plan, Turn


class Spy(Hinge):
    """Keeps every exchange; shared by the copies that trainings make."""

    def __init__(self) -> None:
        self.log: list[tuple[str, Exchange]] = []

    def __deepcopy__(self, memo: Any) -> Spy:
        return self

    def discriminator_terms(self, exchange: Exchange) -> Any:
        self.log.append(("d", exchange))
        return super().discriminator_terms(exchange)

    def generator_terms(self, exchange: Exchange) -> Any:
        self.log.append(("g", exchange))
        return super().generator_terms(exchange)


def ids(exchange: Exchange) -> set[int]:
    """Numbers of the real images, which their first pixels tell."""
    assert exchange.real_images is not None
    return {round((float(x) + 1) * 127.5) for x in exchange.real_images[:, 0, 0, 0]}


def asks(role: Role) -> Callable[[Turn], None]:
    def callback(turn: Turn) -> None:
        turn.loss(role)

    return callback


def test_weights_and_callbacks_see_disjoint_halves_of_each_batch(toy: SimpleNamespace) -> None:
    spy = Spy()
    plan = Plan(before_discriminator=asks("discriminator"))
    toy.start(objective=spy, plan=plan, batch_size=9, n_critic=2).advance(Budget(1))
    held, shown = spy.log[0][1], spy.log[1][1]
    assert [who for who, _ in spy.log] == ["d", "d", "d", "d", "g"]
    assert (len(ids(held)), len(ids(shown))) == (5, 4)
    assert not ids(held) & ids(shown)
    assert not torch.equal(held.condition[:4], shown.condition)
    assert held.labels is not None
    assert len(held.labels) == 5


def test_a_loss_is_taken_on_the_same_inputs_within_a_turn(toy: SimpleNamespace) -> None:
    spy, seen = Spy(), list[torch.Tensor]()

    def callback(turn: Turn) -> None:
        for held_out in (True, True, False):
            seen.append(turn.loss("generator", held_out))

    toy.start(objective=spy, plan=Plan(before_generator=callback), g_batch_size=6).advance(
        Budget(1)
    )
    first, again, weights = [e for who, e in spy.log if who == "g"][:3]
    assert torch.equal(first.condition, again.condition)
    assert not torch.equal(first.condition, weights.condition)
    assert len(first.condition) == 6
    assert all(loss.requires_grad and loss.dim() == 0 for loss in seen)


def test_masked_halves_keep_images_and_masks_together(toy: SimpleNamespace) -> None:
    spy = Spy()
    plan = Plan(before_generator=asks("generator"))
    toy.start("image", objective=spy, plan=plan).advance(Budget(1))
    held, shown = (e for who, e in spy.log if who == "g")
    for exchange in (held, shown):
        hidden = exchange.mask.expand_as(exchange.condition) == 1
        assert torch.equal(exchange.condition[~hidden], exchange.real_images[~hidden])
    assert not ids(held) & ids(shown)


def test_losses_of_callbacks_are_paid_for_and_leave_no_gradients(toy: SimpleNamespace) -> None:
    plain = toy.start(plan=Plan(before_generator=lambda turn: None))
    asking = toy.start(plan=Plan(before_generator=lambda turn: turn.loss("generator").backward()))
    for training in (plain, asking):
        training.advance(Budget(1))
    assert asking.cost.macs > plain.cost.macs
    assert asking.cost.images == plain.cost.images == 8
    assert all(p.grad is None for p in asking.pair.generator.parameters())


def test_every_pass_is_announced_with_its_role(toy: SimpleNamespace) -> None:
    roles: list[str] = []
    plan = Plan(before_pass=roles.append)
    toy.start(plan=plan, health_every=1000).advance(Budget(1))
    g, d = "generator", "discriminator"
    assert roles == [g, d, d, g, d]


def test_a_batch_of_one_cannot_be_halved(toy: SimpleNamespace) -> None:
    with pytest.raises(ConfigError, match="expected at least 2"):
        toy.start(plan=Plan(before_generator=lambda turn: None), batch_size=1)
