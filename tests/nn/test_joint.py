"""Spectral norms computed together give what each gives, and move only what a pass asked for."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from nastk.nn.choice import Network, Selection
from nastk.nn.forms import plain_forms
from nastk.nn.joint import JointWeight
from nastk.nn.quick import quicken


class Layers(nn.Module):
    """Runs the layers that it is told to, each on inputs of its own, as often as told."""

    def __init__(self, shapes, last):
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Linear(i, o) if k == 0 else nn.Conv2d(i, o, k, padding=k // 2) for o, i, k in shapes
        )
        self.told = range(len(self.layers))
        self.to(torch.float64, memory_format=torch.channels_last if last else torch.preserve_format)
        for layer in self.layers:
            spectral_norm(layer)

    def forward(self, x):
        """Return one number that depends on all the layers that run."""
        total = x.sum()
        for n, layer in enumerate(self.layers[i] for i in self.told):
            shape = (2, layer.in_features) if isinstance(layer, nn.Linear) else (
                2, layer.in_channels, 5, 4)  # fmt: skip
            given_x = torch.linspace(-1, 1 + n, shape[1], dtype=x.dtype)
            out = layer(given_x.view(1, -1, *[1] * (len(shape) - 2)).expand(shape) * x.sum())
            total = total + (out.sin() + out * out).sum()
        return total


def network(shapes, last=False):
    torch.manual_seed(0)
    return Network(Layers(shapes, last), "discriminator", Selection(), {})


def quick(of):
    twin = copy.deepcopy(of)
    quicken(twin)
    return twin


def passed(net, told=None, x=0.7):
    """A pass and all that it leaves behind."""
    if told is not None:
        net.body.told = told
    net.zero_grad(set_to_none=True)
    given_x = torch.full((1, 1), x, dtype=torch.float64, requires_grad=True)
    out = net(given_x)
    out.backward()
    grads = [p.grad for p in net.parameters() if p.grad is not None]
    return [out, given_x.grad, *grads, *net.buffers()]


def alike(one, other):
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


shape = st.tuples(st.integers(1, 5), st.integers(1, 5), st.sampled_from([0, 1, 3]))


@settings(max_examples=60, deadline=None)
@given(st.data(), st.lists(shape, min_size=1, max_size=5), st.booleans())
def test_norms_computed_together_are_those_of_each_layer_whatever_passes_ask_for(
    data, shapes, last
):
    plain = network(shapes, last)
    joint = quick(plain)
    runs = st.lists(st.sampled_from(range(len(shapes))), max_size=6)
    for _ in range(4):
        told = data.draw(st.one_of(st.just(range(len(shapes))), runs))
        alike(passed(plain, told), passed(joint, told))


def test_gradients_of_gradients_are_those_of_each_layer():
    plain = network([(3, 2, 3), (4, 3, 0)])
    joint = quick(plain)
    found = []
    for net in (plain, joint):
        for _ in range(2):
            out = net(torch.ones(1, 1, dtype=torch.float64))
        first = torch.autograd.grad(out, list(net.parameters()), create_graph=True)
        penalty = sum(g.square().sum() for g in first)
        found.append(torch.autograd.grad(penalty, list(net.parameters())))
    alike(*found)


def test_all_that_passes_have_in_common_is_computed_in_one_go(monkeypatch):
    from nastk.nn import joint as module

    sizes = []
    real = module.normalise
    monkeypatch.setattr(module, "normalise", lambda w: sizes.append(len(w)) or real(w))
    net = quick(network([(2, 2, 3)] * 3))
    for told in ([0, 1, 2], [0, 1, 2], [0, 2], [0, 1, 2]):
        passed(net, told)
    # The first pass shows what is asked for; the third does without a layer.
    assert sizes == [1, 1, 1, 3, 3, 2, 1]


def test_a_state_continues_with_the_same_bits_in_a_new_network():
    shapes = [(6, 5, 3), (7, 6, 1), (3, 7, 0)]
    net = quick(network(shapes))
    for _ in range(3):
        passed(net)
    again = quick(network(shapes))
    again.load_state_dict(net.state_dict())
    for a, b in zip(passed(net), passed(again), strict=True):
        assert torch.equal(a, b)


def test_vectors_stand_still_in_eval_mode_and_where_layers_are_frozen():
    plain = network([(3, 3, 3), (3, 3, 3)])
    joint = quick(plain)
    for net in (plain, joint):
        passed(net)
        net.body.layers[0].eval()
    alike(passed(plain), passed(joint))
    before = [b.clone() for b in joint.eval().buffers()]
    joint(torch.ones(1, 1, dtype=torch.float64))
    assert all(torch.equal(a, b) for a, b in zip(before, joint.buffers(), strict=True))


def test_plain_forms_leave_every_layer_to_itself():
    joint = quick(network([(3, 3, 3)]))
    with plain_forms():
        passed(joint)
        assert not joint.body.layers[0].parametrizations["weight"].asked


def test_layers_of_other_settings_are_left_to_themselves():
    net = network([(3, 3, 3), (3, 3, 3)])
    net.body.layers[1].parametrizations["weight"][0].eps = 1e-3
    twin = quick(net)
    kinds = [type(layer.parametrizations["weight"]) for layer in twin.body.layers]
    assert kinds[0] is JointWeight
    assert kinds[1] is not JointWeight
    for _ in range(2):
        alike(passed(net), passed(twin))


@pytest.mark.parametrize("shapes", [[(3, 3, 3)], [(2, 3, 3), (3, 2, 0)]])
def test_names_and_states_stay_what_they_are(shapes):
    net = network(shapes)
    twin = quick(net)
    assert list(net.state_dict()) == list(twin.state_dict())
    assert [n for n, _ in net.named_modules()] == [n for n, _ in twin.named_modules()]
