"""The second-order gradient against losses whose derivatives are known."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nastk_adversarialnas.amended import choice_gradients, unmoved


def losses(choice, weight):
    """Held out: a w + choice²; for weights: 3/2 w² + 5 choice w. So H = 3, mixed = 5."""
    return lambda held: (
        (2.0 * weight + choice**2).sum()
        if held
        else (1.5 * weight**2 + 5.0 * choice * weight).sum()
    )


def test_first_order_is_the_held_out_gradient():
    choice, weight = nn.Parameter(torch.tensor([3.0])), nn.Parameter(torch.tensor([1.0]))
    (found,) = choice_gradients(losses(choice, weight), [choice], [weight], 0.0)
    assert float(found) == 6.0
    assert choice.grad is None


def test_second_order_subtracts_the_mixed_derivative_along_the_curvature():
    choice = nn.Parameter(torch.tensor([3.0], dtype=torch.float64))
    weight = nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
    (found,) = choice_gradients(losses(choice, weight), [choice], [weight], 0.1)
    assert float(found) == pytest.approx(6.0 - 0.1 * 5.0 * (3.0 * 2.0))
    assert weight.item() == 1.0


def test_a_flat_direction_amends_nothing():
    choice, weight = nn.Parameter(torch.tensor([3.0])), nn.Parameter(torch.tensor([1.0]))
    (found,) = choice_gradients(
        lambda held: (choice**2 + 0.0 * weight).sum(), [choice], [weight], 0.1
    )
    assert float(found) == 6.0


def test_buffers_are_put_back():
    norm = nn.BatchNorm1d(2)
    with unmoved(norm):
        norm(torch.randn(4, 2))
    assert float(norm.running_mean.abs().sum()) == 0.0
    assert int(norm.num_batches_tracked) == 0
