"""Neighbours evaluated as one give what they give one by one, and nothing else changes."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.utils.flop_counter import FlopCounterMode

from nastk.nn import fused
from nastk.nn.choice import Mixed, Selection
from nastk.nn.complexity import count
from nastk.nn.discriminators import growing_discriminator
from nastk.nn.forms import plain_forms
from nastk.nn.fused import Chained, fuse

EXACT = 1e-10


def seeded(seed=0):
    torch.manual_seed(seed)


def both(network, x, steps=2):
    """Outputs and all gradients of the network as defined and fused, over successive steps.

    In training mode every step moves the vectors of a spectral norm.
    """
    results = []
    for quick in (False, True):
        twin = copy.deepcopy(network)
        if quick:
            fuse(twin)
        found = []
        for step in range(steps):
            given_x = (x + step).detach().requires_grad_(True)
            twin.zero_grad(set_to_none=True)
            out = twin(given_x)
            out = getattr(out, "validity", out)
            weights = torch.arange(out.numel(), dtype=out.dtype).cos().view(out.shape)
            (out * weights).sum().backward()
            found += [out, given_x.grad, *(p.grad.clone() for p in twin.parameters())]
        found += [b.clone() for b in twin.buffers()]
        results.append(found)
    return results


def differ(network, x):
    """The largest difference, relative to the largest value."""
    plain, quick = both(network, x)
    assert len(plain) == len(quick)
    return max(
        (a - b).abs().max().item() / max(1.0, a.abs().max().item())
        for a, b in zip(plain, quick, strict=True)
    )


def calls(network, x):
    """Products of a forward pass as it runs now."""
    with FlopCounterMode(display=False) as counter:
        network(x)
    return counter.get_total_flops()


@settings(max_examples=60, deadline=None)
@given(
    kernel=st.integers(1, 6),
    padding=st.integers(0, 3),
    pool=st.integers(2, 3),
    side=st.tuples(st.integers(6, 11), st.integers(6, 11)),
    widths=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    bias=st.booleans(),
    norm=st.booleans(),
    last=st.booleans(),
)
def test_convolution_and_mean_are_one_convolution(
    kernel, padding, pool, side, widths, bias, norm, last
):
    seeded()
    assume(min(side) + 2 * padding - kernel + 1 >= pool)
    conv = nn.Conv2d(*widths, kernel, padding=padding, bias=bias)
    network = nn.Sequential(spectral_norm(conv) if norm else conv, nn.AvgPool2d(pool)).double()
    memory = torch.channels_last if last else torch.contiguous_format
    x = torch.randn(2, widths[0], *side, dtype=torch.float64).contiguous(memory_format=memory)
    assert differ(network, x) <= EXACT


@settings(max_examples=40, deadline=None)
@given(
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    widths=st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4)),
    biases=st.tuples(st.booleans(), st.booleans()),
    norm=st.booleans(),
)
def test_transposed_and_point_convolution_are_one(kernel, stride, widths, biases, norm):
    seeded()
    source, inner, out = widths
    first = nn.ConvTranspose2d(source, inner, kernel, stride, bias=biases[0])
    second = nn.Conv2d(inner, out, 1, bias=biases[1])
    layers = [spectral_norm(m) if norm else m for m in (first, second)]
    network = nn.Sequential(*layers).double()
    assert differ(network, torch.randn(2, source, 5, 4, dtype=torch.float64)) <= EXACT


@pytest.mark.parametrize(("stage", "norm"), [*itertools.product((0, 1, 2), (False, True))])
def test_the_growing_discriminator_computes_the_same_with_fewer_products(stage, norm):
    seeded()
    network = growing_discriminator(3, 5, stage).double()
    if norm:
        for module in list(network.modules()):
            if isinstance(module, nn.Conv2d | nn.Linear):
                spectral_norm(module)
    side = (8, 16, 32)[stage]
    x = torch.randn(2, 3, side, side, dtype=torch.float64)
    assert differ(network, x) <= EXACT
    defined = calls(network, x)
    fuse(network)
    assert calls(network, x) < 0.85 * defined


def pair(**pool):
    return nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.AvgPool2d(**{"kernel_size": 2, **pool}))


UNLIKE = {
    "strided": nn.Sequential(nn.Conv2d(2, 3, 3, 2, 1), nn.AvgPool2d(2)),
    "dilated": nn.Sequential(nn.Conv2d(2, 3, 3, 1, 2, 2), nn.AvgPool2d(2)),
    "grouped": nn.Sequential(nn.Conv2d(2, 4, 3, 1, 1, groups=2), nn.AvgPool2d(2)),
    "mirrored": nn.Sequential(nn.Conv2d(2, 3, 3, 1, 1, padding_mode="reflect"), nn.AvgPool2d(2)),
    "named": nn.Sequential(nn.Conv2d(2, 3, 3, padding="same"), nn.AvgPool2d(2)),
    "overlapping": pair(stride=1),
    "padded": pair(padding=1),
    "ceiled": pair(ceil_mode=True),
    "summed": pair(divisor_override=1),
    "oblong": pair(kernel_size=(2, 1)),
    "maximum": nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.MaxPool2d(2)),
    "activated": nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2)),
    "depthwise": nn.Sequential(nn.ConvTranspose2d(2, 2, 3, 2, groups=2), nn.Conv2d(2, 3, 1)),
    "padded point": nn.Sequential(nn.ConvTranspose2d(2, 2, 2, 2), nn.Conv2d(2, 3, 1, padding=1)),
    "not a point": nn.Sequential(nn.ConvTranspose2d(2, 2, 2, 2), nn.Conv2d(2, 3, 3, padding=1)),
}


@pytest.mark.parametrize("name", UNLIKE)
def test_what_only_looks_like_a_pair_is_computed_as_it_is(name):
    seeded()
    x = torch.randn(3, 2, 7, 7, dtype=torch.float64)
    network = copy.deepcopy(UNLIKE[name]).double()
    assert differ(network, x) <= EXACT


class Shifted(nn.Conv2d):
    """A convolution with a forward pass of its own."""

    def forward(self, x):
        return super().forward(x) + 1.0


def test_a_layer_with_its_own_forward_pass_is_called():
    seeded()
    network = nn.Sequential(Shifted(2, 3, 3, padding=1), nn.AvgPool2d(2)).double()
    assert differ(network, torch.randn(2, 2, 6, 6, dtype=torch.float64)) <= EXACT


@pytest.mark.parametrize("place", [0, 1])
def test_a_layer_that_is_watched_is_called(place):
    seeded()
    network, seen = pair(), []
    network[place].register_forward_hook(lambda *_: seen.append(place))
    fuse(network)
    network(torch.randn(1, 2, 4, 4))
    assert seen == [place]


def test_neighbours_are_found_through_sequences_identities_and_decided_choices():
    seeded()
    selection = Selection()
    selection.open("up", ("deconv", "none"))
    up = Mixed(
        "up",
        {
            ("deconv",): nn.Sequential(nn.ConvTranspose2d(2, 2, 2, 2), nn.Identity()),
            ("none",): nn.Identity(),
        },
        selection,
    )
    network = nn.Sequential(up, nn.Sequential(nn.Conv2d(2, 3, 1))).double()
    x = torch.randn(2, 2, 5, 5, dtype=torch.float64)
    assert network(x).shape == (2, 3, 10, 10)
    defined, expected = calls(network, x), network(x)
    fuse(network)
    assert calls(network, x) < defined
    assert torch.allclose(network(x), expected, atol=EXACT)
    selection.activate({"up": "none"})
    assert network(x).shape == (2, 3, 5, 5)
    selection.mix({"up": torch.tensor([1.0, 0.0], dtype=torch.float64)}, {"up": ["deconv"]})
    assert torch.allclose(network(x), expected, atol=EXACT)


def test_under_plain_forms_and_for_the_bill_everything_runs_as_defined():
    seeded()
    network, x = growing_discriminator(3, 4, 2), torch.randn(1, 3, 32, 32)
    defined, cost = calls(network, x), count(network, (3, 32, 32))
    fuse(network)
    assert calls(network, x) < defined
    with plain_forms():
        assert calls(network, x) == defined
    assert count(network, (3, 32, 32)) == cost


def test_modules_names_and_states_stay_and_copies_run_likewise():
    seeded()
    network, x = growing_discriminator(3, 4, 2), torch.randn(1, 3, 32, 32)
    names, modules = list(network.state_dict()), [n for n, _ in network.named_modules()]
    parameters = dict(network.named_parameters())
    fuse(network)
    assert list(network.state_dict()) == names
    assert [n for n, _ in network.named_modules()] == modules
    assert all(p is parameters[n] for n, p in network.named_parameters())
    twin = copy.deepcopy(network)
    assert torch.equal(twin(x).validity, network(x).validity)
    assert calls(twin, x) == calls(network, x)
    other = growing_discriminator(3, 4, 2)
    other.load_state_dict(network.state_dict())
    assert torch.allclose(other(x).validity, network(x).validity, rtol=1e-4, atol=1e-5)


def test_a_chain_runs_one_by_one_until_its_network_is_fused():
    class Halved(Chained):
        def __init__(self):
            super().__init__()
            self.conv, self.halve = nn.Conv2d(2, 2, 3, padding=1), nn.AvgPool2d(2)

        def forward(self, x):
            return self.chain(x, self.conv, self.halve)

    seeded()
    network, other, x = Halved(), Halved(), torch.randn(1, 2, 8, 8)
    defined = calls(network, x)
    fuse(network)
    assert calls(network, x) < defined == calls(other, x)


FAULTS = {
    "is_mean": (lambda module: isinstance(module, nn.AvgPool2d), ("padded", "summed", "ceiled")),
    "_is_point": (lambda conv: True, ("not a point",)),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_careless_recognition_is_caught(monkeypatch, name):
    careless, caught = FAULTS[name]
    monkeypatch.setattr(fused, name, careless)
    for case in caught:
        with pytest.raises((AssertionError, RuntimeError, TypeError)):
            test_what_only_looks_like_a_pair_is_computed_as_it_is(case)


def test_a_gradient_of_a_gradient_goes_through():
    seeded()
    results = []
    network = pair().double()
    for quick in (False, True):
        if quick:
            fuse(network)
        x = torch.ones(1, 2, 6, 6, dtype=torch.float64, requires_grad=True)
        (slope,) = torch.autograd.grad(network(x).square().sum(), x, create_graph=True)
        results.append(torch.autograd.grad(slope.square().sum(), network[0].weight)[0])
    assert torch.allclose(*results, atol=EXACT)
