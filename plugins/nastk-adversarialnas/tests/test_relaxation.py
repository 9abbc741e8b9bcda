"""Temperatures, Gumbel mixtures and the mixer."""

from __future__ import annotations

import pytest
import torch

from nastk.nn.choice import build
from nastk.randomness import Randomness
from nastk.records import Task
from nastk_adversarialnas.config import SpaceConfig
from nastk_adversarialnas.relaxation import ChoiceWeights, Mixer, gumbel, relaxed, temperature
from nastk_adversarialnas.space import AdversarialSpace

TABLE = [
    5.0, 4.2757, 3.6564, 3.1268, 2.6738, 2.2865, 1.9553, 1.6721, 1.4299, 1.2228, 1.0456, 0.8942,
    0.7647, 0.6539, 0.5592, 0.4782, 0.4089, 0.3497, 0.2990, 0.2557, 0.2187, 0.1870, 0.1599, 0.1367,
    0.1169,
]  # fmt: skip


def stream(name: str = "test") -> torch.Generator:
    return Randomness(0).torch(name)


def test_temperatures_are_the_published_table():
    assert [temperature(e, 25) for e in range(25)] == pytest.approx(TABLE, abs=5e-5)


def test_temperature_has_a_floor_of_its_own():
    assert temperature(24, 25, smallest=0.001) == 0.1
    assert temperature(24, 25, smallest=0.001, floor=0.0) < 0.1


def test_noise_is_standard_gumbel():
    draws = gumbel(200_000, stream())
    assert float(draws.mean()) == pytest.approx(0.5772, abs=0.01)
    assert float(draws.var()) == pytest.approx(torch.pi**2 / 6, abs=0.03)
    assert torch.isfinite(draws).all()


@pytest.mark.parametrize("tau", [5.0, 0.5])
@pytest.mark.parametrize(("form", "share"), [("softmax", 0.287), ("raw", 0.9)])
def test_a_likely_option_wins_as_often_as_its_form_says(form, share, tau):
    p = torch.tensor([0.9] + [0.1 / 6] * 6)
    noise = gumbel(7 * 20_000, stream()).view(-1, 7)
    wins = sum(int(relaxed(p.log(), row, tau, form).argmax()) == 0 for row in noise)
    assert wins / len(noise) == pytest.approx(share, abs=0.01)


def test_without_noise_the_temperature_does_not_matter():
    logits = torch.tensor([1.0, 2.0, 3.0])
    assert torch.equal(relaxed(logits, None, 5.0), torch.softmax(logits, 0))


def test_entropy_is_one_when_uniform_and_zero_when_decided():
    weights = ChoiceWeights({"a": ("x", "y"), "b": ("x", "y", "z")}, stream())
    assert weights.entropy() == pytest.approx(1.0, abs=1e-4)
    with torch.no_grad():
        for p in weights.parameters():
            p[0] = 100.0
    assert weights.entropy() == pytest.approx(0.0, abs=1e-6)


def supernet():
    config = SpaceConfig(
        generator_width=2, discriminator_width=4, latent_dim=6, discriminator="searched"
    )
    with Randomness(1).scoped("init"):
        return build(AdversarialSpace(config, task=Task((1, 16, 16))), "discriminator", {})


def mixer(network, *, noisy=True, ops=0, wasted=None):
    weights = ChoiceWeights(network.selection.options, stream("init"), wasted)
    return Mixer(network, weights, noisy=noisy, form="raw", ops=ops)


def test_every_call_draws_another_mixture_unless_it_is_held():
    network = supernet()
    mix, noise = mixer(network), stream()
    mix(noise)
    first = dict(network.selection.weights)
    mix.held = True
    state = noise.get_state()
    mix(noise)
    assert all(torch.equal(first[n], w) for n, w in network.selection.weights.items())
    assert torch.equal(noise.get_state(), state)
    mix.held = False
    mix(noise)
    assert any(not torch.equal(first[n], w) for n, w in network.selection.weights.items())


def test_gradients_reach_the_choice_weights_only_when_differentiable():
    network = supernet()
    mix, noise = mixer(network), stream()
    x = torch.ones(2, 1, 16, 16)
    mix(noise)
    assert not any(w.requires_grad for w in network.selection.weights.values())
    mix.differentiable = True
    mix(noise)
    found = torch.autograd.grad(network(x).validity.sum(), mix.weights.parameters())
    assert sum(bool(g.any()) for g in found) > len(found) / 2


def test_wasted_weights_lower_the_sum_of_the_used_ones():
    network = supernet()
    mixer(network, noisy=False, wasted={"dcell0.e0": 2})(stream())
    weights = network.selection.weights
    assert float(weights["dcell0.e0"].detach().sum()) == pytest.approx(5 / 7, abs=1e-2)
    assert float(weights["dcell0.e1"].detach().sum()) == pytest.approx(1.0)


def test_sampled_options_are_the_only_ones_that_run():
    network = supernet()
    mixer(network, ops=2)(stream())
    weights = network.selection.weights["dcell1.e0"]
    kept = {
        o for o, w in zip(network.selection.options["dcell1.e0"], weights, strict=True) if w > 0
    }
    assert len(kept) == 2
    assert network.selection.running["dcell1.e0"] == kept
    ran = set()
    mixed = network.body.cells[1].e0
    for group, module in zip(mixed.groups, mixed.options, strict=True):
        module.register_forward_hook(lambda *_, group=group: ran.update(group))
    network(torch.ones(2, 1, 16, 16))
    assert ran == kept
