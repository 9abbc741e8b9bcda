"""The nano space: laws, prefixes, and equal fingerprints exactly where networks are equal."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch

from nastk.errors import SpaceError
from nastk.nn.choice import build_derived
from nastk.objective import as_scores
from nastk.records import Role, Task
from nastk.registry import Component
from nastk.testing.contracts import SpaceContract
from nastk.testing.laws import ChoiceLaws
from nastk_bench import register_components
from nastk_bench.config import SpaceConfig
from nastk_bench.protocol import nano_space
from nastk_bench.space import NanoSpace

GENOTYPES, MEMBERS = 1728, 453
ROLES: tuple[Role, ...] = ("generator", "discriminator")


def _space() -> NanoSpace:
    return NanoSpace(
        SpaceConfig(generator_width=4, discriminator_width=4), task=Task((1, 8, 8), classes=10)
    )


class TestNanoSpace(SpaceContract):
    draws = 12
    task = Task((1, 8, 8), 10)
    settings: Mapping[str, Any] = {"generator_width": 4, "discriminator_width": 4}
    refused = ({"generator_width": 0},)

    @pytest.fixture
    def component(self) -> Component:
        return next(c for c in register_components() if c.kind == "space")


class TestCutNetworks(ChoiceLaws):
    """The laws where nothing leads to the image."""

    draws = 2

    @pytest.fixture
    def space(self) -> NanoSpace:
        return _space().freeze({"block1.path": "none", "block1.bypass": "none"})


def _function(space: NanoSpace, role: Role, choices: Mapping[str, str], *, named: bool) -> bytes:
    """Return what the network makes of a fixed batch, with weights drawn by name or in order.

    By name, dead modules leave the others' weights alone; in order, equal structures get equal
    weights whatever their modules are called.
    """
    network = build_derived(space, role, choices).double().eval()
    drawn = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if named:
                drawn.manual_seed(zlib.crc32(name.encode()))
            if tensor.is_floating_point():
                noise = torch.randn(tensor.shape, generator=drawn, dtype=torch.float64)
                tensor.copy_(noise.abs() + 0.5 if tensor.dim() == 1 else noise * 0.3)
        shape = space.input.shape if role == "generator" else space.task.image
        x = torch.randn(2, *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        found = [o for o in as_scores(network(x)) if o is not None]
    return b"".join(np.round(o.numpy(), 9).tobytes() for o in found)


def _of(space: NanoSpace, role: Role, choices: Mapping[str, str]) -> dict[str, str]:
    return {
        d.name: choices[d.name] for d in space.decisions if d.role == role and d.name in choices
    }


@pytest.mark.parametrize("role", ROLES)
def test_every_genotype_is_the_network_of_its_canonical_form(role: Role) -> None:
    space = _space()
    seen: dict[tuple[str, ...], bytes] = {}
    for choices in space.genotypes():
        mine = _of(space, role, choices)
        if tuple(mine.values()) not in seen:
            canonical = _of(space, role, space.architecture(choices).choices)
            expected = _function(space, role, canonical, named=True)
            seen[tuple(mine.values())] = found = _function(space, role, mine, named=True)
            assert found == expected, mine
    assert len(seen) == {"generator": 432, "discriminator": 4}[role]


@pytest.mark.parametrize(("role", "networks"), [("generator", 151), ("discriminator", 3)])
@pytest.mark.parametrize("named", [False, True])
def test_unlike_fingerprints_are_unlike_networks(role: Role, networks: int, named: bool) -> None:
    space = _space()
    members = {tuple(_of(space, role, a.choices).items()) for a in space.members()}
    functions = {_function(space, role, dict(m), named=named) for m in members}
    assert len(functions) == len(members) == networks


def test_genotypes_and_distinct_networks_are_as_many_as_the_docs_say(space: NanoSpace) -> None:
    assert sum(1 for _ in space.genotypes()) == GENOTYPES
    members = space.members()
    assert len(members) == len({m.fingerprint for m in members}) == MEMBERS


def test_codes_lead_back_to_every_member(space: NanoSpace) -> None:
    for member in space.members():
        assert space.parse(space.encode(member)) == member


def test_canonical_form_is_its_own_canonical_form(space: NanoSpace) -> None:
    for member in space.members():
        assert space.canonical(member.choices) == dict(member.choices)


def test_a_narrowed_space_keeps_its_members_although_equal_ones_are_closed(
    space: NanoSpace,
) -> None:
    narrow = space.freeze({"block1.path": "conv3", "norm": "bn"})
    rng = np.random.default_rng(0)
    for _ in range(60):
        found = narrow.sample(rng)
        assert found.choices["block1.path"] == "conv3"
        assert found.choices["norm"] == "bn"


def test_prefix_of_one_block_makes_images_of_half_the_side(space: NanoSpace) -> None:
    for member in space.members()[::29]:
        prefix = space.prefix(member.choices, 1)
        network = build_derived(space, "generator", prefix, 1).eval()
        assert network(torch.zeros(2, *space.input.shape)).shape == (2, 1, 4, 4)
        judge = {n: o for n, o in member.choices.items() if n.startswith("judge")}
        scores = build_derived(space, "discriminator", judge, 1).eval()(torch.zeros(2, 1, 4, 4))
        assert as_scores(scores).validity.shape == (2, 1)


def test_a_prefix_is_completed_as_cheaply_as_can_be(space: NanoSpace) -> None:
    member = space.parse("1 2 1 / 2 1 2 1 | 1 1")
    for blocks, expected in ((1, "1 2 1 / 0 0 1 | 0"), (2, "1 2 1 / 2 1 2 1 | 0")):
        whole = space.cheapest_completion(space.prefix(member.choices, blocks), blocks)
        assert space.architecture(whole) == space.parse(expected)


def test_a_network_without_any_path_makes_one_image_of_all_latents(space: NanoSpace) -> None:
    cut = space.architecture({d.name: d.options[0] for d in space.decisions})
    network = build_derived(space, "generator", cut.choices).eval()
    images = network(torch.randn(3, *space.input.shape))
    assert torch.equal(images[0], images[1])
    assert {n.split(".")[1] for n, _ in network.named_parameters()} == {"out"}


def test_images_that_do_not_halve_twice_are_refused() -> None:
    with pytest.raises(SpaceError, match=r"image_size=8"):
        NanoSpace(SpaceConfig(), task=Task((1, 10, 10)))


def test_the_space_of_the_table_is_the_default_one() -> None:
    assert nano_space().settings == _settings()


def _settings() -> dict[str, int]:
    return {"generator_width": 12, "discriminator_width": 12, "latent_dim": 8}
