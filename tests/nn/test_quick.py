"""The quick forms of derived networks and single paths equal what every installed space defines."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from nastk.config import resolve_component
from nastk.nn.choice import Network, build, build_derived
from nastk.nn.forms import plain_forms
from nastk.nn.quick import quicken
from nastk.nn.spectral import SpectralNorm
from nastk.objective import Scores
from nastk.plugins import load
from nastk.randomness import Randomness
from nastk.records import Role, Task
from nastk.space import SearchSpace

PLUGINS = load()
SPACES = ("stasgan", "autogan", "adversarialnas")


def space_of(name: str, width: int, image: tuple[int, int, int]) -> SearchSpace:
    flags = {f"space.{side}_width": width for side in ("generator", "discriminator")}
    config = resolve_component(PLUGINS, "space", name, flags=flags)
    make = PLUGINS.get("space", name).component.load_factory()
    space: SearchSpace = make(config, task=Task(image, classes=3, class_logits=4))
    return space


def outputs(network: Network, x: Tensor) -> list[Tensor]:
    torch.manual_seed(0)  # of dropout
    found = network(x)
    tensors = [found.validity, found.classes] if isinstance(found, Scores) else [found]
    return [t for t in tensors if t is not None]


def gradients(network: nn.Module, found: list[Tensor], x: Tensor) -> dict[str, Tensor]:
    torch.manual_seed(1)
    loss = torch.stack([(t * torch.randn_like(t)).sum() for t in found]).sum()
    named = {"x": x, **dict(network.named_parameters())}
    values = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    return {n: v for n, v in zip(named, values, strict=True) if v is not None}


def assert_same(network: Network, shape: tuple[int, ...]) -> None:
    x = torch.randn(3, *shape, dtype=torch.float64, requires_grad=True)
    state = {k: v.clone() for k, v in network.state_dict().items()}
    with plain_forms():
        expected = outputs(network, x)
        slow = gradients(network, expected, x)
    network.load_state_dict(state)  # batch statistics, power iterations
    found = outputs(network, x)
    quick = gradients(network, found, x)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
    assert quick.keys() == slow.keys()
    for name, value in slow.items():
        torch.testing.assert_close(quick[name], value, rtol=1e-9, atol=1e-10, msg=name)


def made(build_it: Callable[[], Network], role: Role, seed: int, *, normed: bool) -> Network:
    torch.manual_seed(seed)
    network = build_it()
    if role == "discriminator" and normed:
        SpectralNorm().apply(network, Randomness(seed))
    quicken(network)
    return network.double()


@settings(max_examples=12, deadline=None)
@given(
    name=st.sampled_from(SPACES),
    role=st.sampled_from(["generator", "discriminator"]),
    width=st.integers(1, 5),
    side=st.sampled_from([16, 32]),
    colours=st.sampled_from([1, 3]),
    seed=st.integers(0, 2**31),
    normed=st.booleans(),
)
def test_derived_networks_compute_the_same_in_quick_forms(
    name: str, role: Role, width: int, side: int, colours: int, seed: int, normed: bool
) -> None:
    space = space_of(name, width, (colours, side, side))
    choices = space.sample(np.random.default_rng(seed)).choices
    network = made(lambda: build_derived(space, role, choices), role, seed, normed=normed)
    shape = space.input.shape if role == "generator" else space.task.image
    assert_same(network, shape)
    assert_same(network.eval(), shape)


@settings(max_examples=6, deadline=None)
@given(name=st.sampled_from(SPACES), width=st.integers(1, 4), seed=st.integers(0, 2**31))
def test_single_paths_of_a_supernet_compute_the_same_in_quick_forms(
    name: str, width: int, seed: int
) -> None:
    space = space_of(name, width, (1, 16, 16))
    network = made(lambda: build(space, "generator", {}), "generator", seed, normed=False)
    network.activate(space.sample(np.random.default_rng(seed)).choices)
    assert_same(network, space.input.shape)


@pytest.mark.parametrize("name", SPACES)
def test_quick_forms_leave_names_and_values_of_weights_alone(name: str) -> None:
    space = space_of(name, 2, (1, 16, 16))
    network = build(space, "generator", {})
    before = {k: v.clone() for k, v in network.state_dict().items()}
    modules = [n for n, _ in network.named_modules()]
    quicken(network)
    assert [n for n, _ in network.named_modules()] == modules
    after = network.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[k], v) for k, v in before.items())
