"""The autogan space: published figures, closed forms, fingerprints, and the laws of choices."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nastk.errors import SpaceError
from nastk.nn.choice import build, build_derived
from nastk.nn.complexity import parameters
from nastk.nn.fingerprint import deterministic_input, fingerprint, set_deterministic
from nastk.nn.inspect import cost, inspect_architecture
from nastk.nn.spectral import SpectralNorm
from nastk.nn.transfer import transfer
from nastk.objective import Scores
from nastk.randomness import Randomness
from nastk.records import Task
from nastk.testing.contracts import SpaceContract
from nastk_autogan import register_components
from nastk_autogan.config import SpaceConfig
from nastk_autogan.space import AutoganSpace, skips_from

PUBLISHED = next(c for c in register_components() if c.kind == "space").architectures
A, B, C = (PUBLISHED[name] for name in "ABC")

PUBLISHED_COSTS = [  # side, codes, width, parameters, MACs
    (32, A, 256, 4_405_251, 1_765_015_552),
    (32, B, 256, 4_471_043, 1_832_124_416),
    (32, C, 256, 4_406_275, 1_765_015_552),
    (48, A, 256, 5_065_731, 3_971_284_992),
    (48, B, 256, 5_131_523, 4_122_279_936),
    (48, C, 256, 5_066_755, 3_971_284_992),
    (32, A, 128, 1_235_971, 443_154_432),
    (32, B, 128, 1_252_483, 459_931_648),
    (32, C, 128, 1_236_483, 443_154_432),
]
FINGERPRINTS = [  # codes, width, mean, std, first, mid, last
    (A, 32, 0.777149, 0.443056, 0.996919, 0.999081, -0.755532),
    (B, 32, 0.744696, 0.551295, 0.997209, 0.999981, -0.914856),
    (C, 32, 0.765068, 0.416938, 0.996873, 0.992825, -0.425936),
    (A, 256, 0.150355, 0.841977, 0.998152, 0.992774, -0.135087),
    (B, 256, 0.095794, 0.921813, 0.999419, 0.963574, 0.666408),
    (C, 256, 0.120833, 0.809425, 0.996802, 0.996685, -0.056908),
]
BARE_SKIPS = (0.647102, 0.540905, 0.998203, 0.998216, -0.623299)
"""A at width 32 if later cells skipped from what was there before skips were added."""
VECTORS = [  # codes, parameters, MACs, mean, std, first, mid, last; width 32
    ("0 1 2 1 0 2 1 0 1 0 1 0 0 0", 133091, 26181632,
     0.010586, 0.053872, 0.009589, -0.065465, 0.012956),
    ("1 1 2 0 0 0 2 0 0 1 0 1 0 3", 132963, 28147712,
     0.166109, 0.322129, 0.259254, 0.346206, -0.100063),
    ("1 0 0 1 1 0 1 1 1 1 1 2 0 1", 135075, 29458432,
     0.319950, 0.384165, 0.807840, 0.682657, -0.224152),
    ("1 0 0 0 1 1 1 0 1 1 2 2 1 1", 138147, 31227904,
     0.269591, 0.364145, 0.453623, 0.572369, -0.318307),
    ("1 0 2 0 0 1 0 1 1 0 0 1 1 3", 132003, 29458432,
     0.238436, 0.639059, 0.654712, -0.482158, -0.548646),
    ("0 1 0 0 1 2 2 0 1 1 2 1 0 3", 134019, 28606464,
     0.203445, 0.332726, 0.796972, 0.902597, 0.104091),
    ("0 0 2 0 1 2 2 0 1 1 1 2 0 2", 149475, 29982720,
     0.067172, 0.129816, 0.067649, 0.107209, -0.009415),
    ("1 1 0 1 1 2 1 1 0 1 1 0 0 3", 126947, 28147712,
     0.287816, 0.207695, 0.670662, 0.432035, -0.088446),
]  # fmt: skip


def published(width: int = 32, side: int = 32, d_width: int = 128, logits: int = 0) -> AutoganSpace:
    config = SpaceConfig(generator_width=width, discriminator_width=d_width)
    return AutoganSpace(config, task=Task((3, side, side), class_logits=logits))


def check(fingerprint: dict[str, float], expected: tuple[float, ...]) -> None:
    values = [fingerprint[k] for k in ("mean", "std", "first", "mid", "last")]
    assert values == pytest.approx(expected, abs=1e-3)


def closed_form(space: AutoganSpace, choices: dict[str, str]) -> tuple[int, int]:
    """Parameters and MACs by the specification's formulae, without building anything."""
    b, c, latent = space.bottom_width, space.config.generator_width, space.config.latent_dim
    n = (latent + 1) * b * b * c + 29 * c + 3
    macs = latent * b * b * c + 27 * c * (8 * b) ** 2
    point, transposed = c * c + c, 4 * c * c + c
    for s in range(3):
        a = c * c * (b * 2 ** (s + 1)) ** 2
        n, macs = n + 2 * (9 * c * c + c), macs + 18 * a
        n += 4 * c if choices[f"cell{s}.norm"] == "bn" else 0
        deconv = choices[f"cell{s}.up"] == "deconv"
        n, macs = n + deconv * transposed, macs + deconv * a
        if choices[f"cell{s}.shortcut"] == "yes":
            n, macs = n + point + deconv * transposed, macs + a + deconv * a
        for source in skips_from(choices.get(f"cell{s}.skips", "0"), s):
            back = s - source
            n += point + deconv * back * transposed
            macs += a + deconv * (a if back == 1 else a * 5 // 4)
    return n, macs


def test_space_has_the_published_size_and_code_order():
    space = published()
    assert space.size() == 373_248
    sizes = [np.prod([len(d.options) for d in space.block(i)]) for i in range(3)]
    assert sizes == [36, 72, 144]
    a = space.parse(A)
    assert dict(a.choices) == {
        "cell0.style": "pre", "cell0.norm": "none", "cell0.up": "nearest", "cell0.shortcut": "yes",
        "cell1.style": "pre", "cell1.norm": "none", "cell1.up": "bilinear",
        "cell1.shortcut": "yes", "cell1.skips": "1",
        "cell2.style": "pre", "cell2.norm": "none", "cell2.up": "nearest",
        "cell2.shortcut": "no", "cell2.skips": "3",
    }  # fmt: skip
    assert space.encode(a) == A
    assert space.parse("1 0 1 1 1 0 0 1 1 1 0 1 0 3") == a
    assert space.architecture(space.reference()) == a


def test_skip_masks_hold_cell_0_in_their_most_significant_bit():
    assert [skips_from(mask, 2) for mask in "0123"] == [(), (1,), (0,), (0, 1)]
    assert [skips_from(mask, 1) for mask in "01"] == [(), (0,)]


@pytest.mark.parametrize(("side", "codes", "width", "n", "macs"), PUBLISHED_COSTS)
def test_published_architectures_have_the_published_costs(side, codes, width, n, macs):
    space = published(width, side)
    result = inspect_architecture(space, space.parse(codes).choices)["generator"]
    assert (result["parameters"], result["macs"]) == (n, macs)
    assert result["output_shape"] == [1, 3, side, side]


@pytest.mark.parametrize(
    ("codes", "width", "expected"), [(r[0], r[1], r[2:]) for r in FINGERPRINTS]
)
def test_published_architectures_have_the_specified_fingerprints(codes, width, expected):
    space = published(width)
    result = inspect_architecture(space, space.parse(codes).choices, fingerprints=True)
    check(result["generator"]["fingerprint"], expected)


def test_skips_are_taken_after_earlier_skips_were_added():
    """Q1: the official in-place sum, which the fingerprint of the bare output tells apart."""
    space = published()
    network = build_derived(space, "generator", space.parse(A).choices).eval()
    set_deterministic(network)
    with torch.no_grad():
        mine = fingerprint(network(deterministic_input(space.input)))
        h, skips = network.body.stem(deterministic_input(space.input)), []
        for cell in network.body.cells:
            bare = cell.first(h)
            _, h = cell(h, skips)
            skips.append(bare)
        wrong = fingerprint(network.body.out(h))
    check(wrong, BARE_SKIPS)
    assert abs(mine["mean"] - wrong["mean"]) > 0.1


@pytest.mark.parametrize("row", VECTORS, ids=[row[0] for row in VECTORS])
def test_random_vectors_have_the_specified_costs_and_fingerprints(row):
    codes, n, macs, *expected = row
    space = published()
    result = inspect_architecture(space, space.parse(codes).choices, fingerprints=True)
    g = result["generator"]
    assert (g["parameters"], g["macs"]) == (n, macs)
    check(g["fingerprint"], tuple(expected))


@pytest.mark.parametrize(
    ("codes", "blocks", "n", "macs", "expected"),
    [
        ("1 0 1 1", 1, 86_531, 1_366_016, (0.274829, 0.580619, 0.964793, 0.680096, -0.550422)),
        (
            "1 0 1 1 1 0 0 1 1", 2, 107_139, 6_774_784,
            (0.601357, 0.525037, 0.999988, 0.999979, -0.708685),
        ),
    ],
)  # fmt: skip
def test_prefixes_are_the_smaller_networks_of_the_specification(codes, blocks, n, macs, expected):
    space = published()
    choices = space.prefix(space.parse(A).choices, blocks)
    assert len(choices) == len(codes.split())
    g = inspect_architecture(space, choices, blocks=blocks, fingerprints=True)["generator"]
    assert (g["parameters"], g["macs"]) == (n, macs)
    assert g["output_shape"] == [1, *space.prefix_task(blocks).image]
    check(g["fingerprint"], expected)


@pytest.mark.parametrize("side", [16, 32, 48])
def test_costs_follow_the_closed_forms_on_random_vectors(side):
    rng = np.random.default_rng(side)
    space = AutoganSpace(SpaceConfig(generator_width=6, latent_dim=10), task=Task((3, side, side)))
    for _ in range(25):
        choices = dict(space.sample(rng).choices)
        assert cost(space, choices) == closed_form(space, choices)


def test_extremes_of_the_space_are_those_of_the_specification():
    for width, least, most in (
        (32, (122_467, 25_722_880), (170_467, 34_832_384)),
        (256, (4_076_291, 1_593_049_088), (7_098_115, 2_176_057_344)),
    ):
        space = published(width)
        cheapest = space.cheapest_completion({}, 0)
        dearest = {d.name: d.options[int(np.argmax(d.costs))] for d in space.decisions}
        assert cost(space, cheapest) == least
        assert cost(space, dearest) == most


def test_supernet_holds_the_official_shared_weights_without_those_that_never_run():
    """Q16: the official module allocates eleven transposed convolutions that no path uses.

    Two per cell in the second blocks, three skip upsamplings in cell 0, two in cell 1.
    """
    unused = 11 * (4 * 128**2 + 128)
    assert parameters(build(published(128), "generator", {})) == 3_716_995 - unused == 2_994_691
    used: set[str] = set()
    network = build(published(4), "generator", {}).double()
    rng = np.random.default_rng(0)
    for _ in range(80):
        network.zero_grad(set_to_none=True)
        network.activate(published(4).sample(rng).choices)
        network(torch.randn(2, 128, dtype=torch.float64)).sum().backward()
        used |= {name for name, p in network.named_parameters() if p.grad is not None}
    assert used == {name for name, _ in network.named_parameters()}


def test_post_activation_cells_with_skips_and_shortcuts_give_gradients():
    """Q2: sums are out of place, so that a backward pass through a ReLU's output works."""
    space = published(4)
    network = build_derived(space, "generator", space.parse("0 1 1 1 0 1 1 1 1 0 1 1 1 3").choices)
    network(torch.randn(2, 128)).square().sum().backward()
    assert all(p.grad is not None for p in network.parameters())


@pytest.mark.parametrize(
    ("width", "blocks", "n", "macs"),
    [
        (64, 1, 112_896, 3_652_672), (64, 2, 190_912, 16_052_288), (64, 3, 264_768, 68_927_552),
        (128, 1, 446_976, None), (128, 2, 758_656, None), (128, 3, 1_053_824, 272_072_832),
    ],
)  # fmt: skip
def test_discriminator_grows_with_the_stages_of_the_specification(width, blocks, n, macs):
    space = published(32, d_width=width)
    choices = space.prefix(space.parse(A).choices, blocks)
    d = inspect_architecture(space, choices, blocks=blocks)["discriminator"]
    assert d["parameters"] == n
    assert macs in (None, d["macs"])
    assert d["output_shape"] == [1, 1]


def test_discriminator_of_48_pixels_has_the_published_cost():
    space = published(32, side=48)
    d = inspect_architecture(space, space.parse(A).choices)["discriminator"]
    assert (d["parameters"], d["macs"]) == (1_053_824, 612_163_712)


@pytest.mark.parametrize(
    ("blocks", "logits"),
    [(1, (14.814916, 14.862613)), (2, (-2.196745, 1.976251)), (3, (-172.1917, -178.5054))],
)
def test_discriminator_sums_features_as_the_specified_logits_show(blocks, logits):
    """Q14: a sum over positions; a mean would give logits 16 or 64 times smaller."""
    space = published(32, d_width=32)
    choices = space.prefix(space.parse(A).choices, blocks)
    d = inspect_architecture(space, choices, blocks=blocks, fingerprints=True)["discriminator"]
    assert d["values"] == pytest.approx(logits, abs=1e-3)


def test_discriminator_has_a_class_head_only_where_the_task_wants_one():
    x = torch.zeros(2, 3, 32, 32)
    without = build_derived(published(4, d_width=4), "discriminator", {})(x)
    with_head = build_derived(published(4, d_width=4, logits=11), "discriminator", {})(x)
    assert isinstance(without, Scores)
    assert without.classes is None
    assert with_head.classes.shape == (2, 11)
    assert with_head.validity.shape == (2, 1)


def test_bottom_width_follows_the_image_or_is_refused():
    assert published(4, side=16).bottom_width == 2
    assert published(4, side=48).bottom_width == 6
    for config, side in (
        (SpaceConfig(bottom_width=6), 32),
        (SpaceConfig(), 20),
        (SpaceConfig(), 8),
    ):
        with pytest.raises(SpaceError, match="side 8 \\* bottom_width"):
            AutoganSpace(config, task=Task((3, side, side)))


@pytest.mark.parametrize("role", ["generator", "discriminator"])
@pytest.mark.parametrize("normalised", [False, True])
def test_growth_by_a_cell_takes_all_weights_of_the_smaller_networks(role, normalised):
    """The cells and the discriminator's blocks keep their names, spectral norm or not."""
    space = published(4, d_width=4)
    change = SpectralNorm().apply if normalised else lambda network, _: network
    for blocks in (1, 2):
        small, large = (
            change(build(space, role, {}, b), Randomness(b)) for b in (blocks, blocks + 1)
        )
        transfer(small, large)
        grown = large.state_dict()
        assert set(small.state_dict()) < set(grown)
        assert all(torch.equal(tensor, grown[name]) for name, tensor in small.state_dict().items())


class TestContract(SpaceContract):
    settings = {"generator_width": 3, "discriminator_width": 2, "latent_dim": 5}  # noqa: RUF012
    refused = ({"generator_width": 0}, {"bottom_width": -1})

    @pytest.fixture
    def component(self):
        return next(c for c in register_components() if c.kind == "space")
