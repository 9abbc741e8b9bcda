"""Pictures of a training: fixed inputs, and nothing advances."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from nastk.records import Budget


@pytest.mark.parametrize("kind", ["latent", "image"])
def test_pictures_show_the_same_inputs_and_leave_the_training_as_it_was(
    toy: SimpleNamespace, kind: str
) -> None:
    training = toy.start(kind)
    training.advance(Budget(2))
    before = training.state_dict()
    first, second = training.pictures(9), training.pictures(9)
    assert first.shape[0] == 9
    assert first.ndim == 4
    assert torch.equal(first, second)
    assert not first.requires_grad
    assert toy.difference(before, training.state_dict()) == []
    training.advance(Budget(2))
    assert not torch.equal(first, training.pictures(9))


@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_training_says_whether_its_generator_is_averaged(
    toy: SimpleNamespace, decay: float
) -> None:
    assert toy.start("latent", ema_decay=decay).averaged is (decay > 0)
