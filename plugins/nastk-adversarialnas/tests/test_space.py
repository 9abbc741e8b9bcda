"""The adversarialnas space: published figures, closed forms, rules, and the laws of choices."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from nastk.errors import SpaceError
from nastk.nn.choice import build, build_derived
from nastk.nn.complexity import count, parameters
from nastk.nn.fingerprint import deterministic_input, fingerprint, formula, set_deterministic
from nastk.nn.inspect import inspect_architecture
from nastk.nn.transfer import transfer
from nastk.records import InputSpec, Task
from nastk.testing.contracts import SpaceContract
from nastk_adversarialnas import register_components
from nastk_adversarialnas.config import SpaceConfig
from nastk_adversarialnas.figures import generator_figures, live_parts
from nastk_adversarialnas.networks import UpCell
from nastk_adversarialnas.space import DOWNS, FIRST, NORMALS, UPS, AdversarialSpace

LATEST = "1 1 1 0 3 3 1 / 1 1 0 1 3 3 3 / 0 1 0 3 3 0 3"
DERIVED_D = [
    (
        "1 1 0 3 3 0 0/3 3 1 1 3 0 1/3 1 1 0 3 2 0/2 1 3 4 0 0 4",
        121_120,
        29_757_472,
        (-9.582883, -3.921591),
    ),
    (
        "4 0 3 5 1 1 2/1 2 6 3 0 5 0/5 1 0 6 3 4 1/3 3 3 1 1 1 0",
        164_672,
        29_458_464,
        (-78.574936, -67.608688),
    ),
]

# (codes, parameters, reached, MACs, live MACs, mean, std, first, mid, last) at width 32
VECTORS = [
    ("2 0 6 5 5 0 3/0 2 2 4 3 0 5/0 1 3 2 1 5 1", 569891, 569891, 41314816, 41314816,
     0.673682, 0.646008, 0.992413, 0.896390, 0.998753),
    ("2 1 1 6 1 1 3/2 1 1 2 2 2 5/0 2 2 4 1 1 2", 527075, 527075, 40208896, 40208896,
     0.455343, 0.828139, 0.459643, -0.685161, 0.999747),
    ("1 0 0 1 0 2 5/2 0 1 5 1 3 1/1 2 5 3 4 5 2", 535011, 533955, 67467264, 67401728,
     0.632812, 0.698906, 0.999921, 0.999117, 0.990620),
    ("0 1 6 6 3 6 5/0 2 5 6 1 2 5/2 2 6 6 1 0 5", 653123, 653123, 86087680, 86087680,
     0.556623, 0.731423, -0.531094, 0.905025, -0.789181),
    ("2 0 6 3 5 5 4/2 1 4 5 5 1 5/2 2 2 3 0 6 4", 646243, 646243, 88189440, 88189440,
     0.546503, 0.730305, 0.992990, -0.672929, 0.977695),
    ("1 1 3 4 3 6 1/1 1 3 3 4 4 4/2 0 5 1 6 5 0", 660803, 649443, 80424960, 68890624,
     0.697024, 0.639352, 0.942682, 0.993947, 0.609967),
    ("2 1 1 4 5 2 5/2 2 1 0 0 2 0/0 2 2 6 5 5 1", 543715, 543715, 55824896, 55824896,
     0.587956, 0.634182, 0.992862, 0.507068, 0.784683),
    ("0 0 0 2 6 0 4/1 1 6 3 2 5 5/0 0 4 3 0 2 3", 603203, 603203, 69799936, 69799936,
     0.728802, 0.589495, 0.965501, 0.926643, 0.912944),
]  # fmt: skip


def published(side: int = 32, channels: int = 3, **settings: object) -> AdversarialSpace:
    config = SpaceConfig(**settings)  # type: ignore[arg-type]
    return AdversarialSpace(config, task=Task((channels, side, side)))


def check(values: dict[str, float], *expected: float) -> None:
    keys = ("mean", "std", "first", "mid", "last")
    assert [values[k] for k in keys] == pytest.approx(expected, abs=1e-3)


def formula_weights(space: AdversarialSpace, role: str) -> dict[str, torch.Tensor]:
    """Softmax of the deterministic logits; a shorter edge takes the first of the full softmax."""
    decisions = [d for d in space.decisions if d.role == role]
    normal = [d for d in decisions if d.kind == "op"]
    other = [d for d in decisions if d.kind != "op"]
    weights = {}
    for group, shape in ((normal, (len(normal), 7)), (other, (len(other), len(other[0].options)))):
        soft = torch.softmax(4 * formula(shape) - 2, -1).float()
        weights |= {d.name: row[: len(d.options)] for d, row in zip(group, soft, strict=True)}
    return weights


def test_operation_lists_have_the_published_codes():
    assert UPS == ("nearest", "bilinear", "ConvTranspose")
    assert NORMALS.index("none") == 0
    assert NORMALS.index("dil_conv_5x5") == 6
    assert DOWNS[:2] == ("avg_pool", "max_pool")
    assert DOWNS[2:] == FIRST[1:]
    assert FIRST[0] == "conv_1x1"


def test_published_generator_has_the_published_size():
    space = published()
    result = inspect_architecture(space, space.parse(LATEST).choices)
    g, d = result["generator"], result["discriminator"]
    assert (g["parameters"], g["macs"]) == (8_846_851, 2_678_095_872)
    assert g["output_shape"] == [1, 3, 32, 32]
    assert (d["parameters"], d["macs"]) == (1_053_824, 272_072_832)
    assert generator_figures(space, space.parse(LATEST).choices).reached == 8_846_851


def test_published_transfer_to_48_pixels_has_the_published_size():
    space = published(48, generator_width=270)
    assert (space.bottom_width, space.parts) == (6, 2)
    result = inspect_architecture(space, space.parse(LATEST).choices)
    g, d = result["generator"], result["discriminator"]
    assert (g["parameters"], g["macs"]) == (8_881_923, 6_696_185_760)
    assert g["output_shape"] == [1, 3, 48, 48]
    assert (d["parameters"], d["macs"]) == (1_053_824, 612_163_712)


def test_the_third_party_genotype_has_its_size():
    space = published()
    (component,) = [c for c in register_components() if c.kind == "space"]
    choices = space.parse(component.architectures["mmd"]).choices
    figures = generator_figures(space, choices)
    assert (figures.parameters, figures.macs) == (20_185_859, 8_877_277_184)
    assert space.parse(component.architectures["latest_G"]) == space.parse(LATEST)


@pytest.mark.parametrize(
    ("role", "settings", "expected", "macs"),
    [
        ("generator", {"generator_width": 160}, 29_265_566 - 123, 12_143_170_560),
        ("generator", {"generator_width": 32}, 1_527_838 - 123, 486_933_504),
        ("discriminator", {"discriminator_width": 80}, 11_049_308 - 188, 1_993_093_200),
        ("discriminator", {"discriminator_width": 32}, 1_782_524 - 188, 331_104_288),
    ],
)
def test_supernets_have_the_published_size(role, settings, expected, macs):
    space = published(discriminator="searched", **settings)
    with torch.device("meta"):
        network = build(space, role, {})
    assert parameters(network) == expected
    network.mix({d: torch.ones(len(o)) for d, o in network.selection.options.items()})
    shape = space.input.shape if role == "generator" else space.task.image
    assert count(network.to_empty(device="cpu"), shape).macs == macs


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (32, (0.661740, 0.696886, 0.999915, 0.999722, -0.886106)),
        (256, (-0.025551, 0.911035, 0.993548, 0.999979, -0.909688)),
    ],
)
def test_published_generator_has_its_fingerprint(width, expected):
    space = published(generator_width=width)
    result = inspect_architecture(space, space.parse(LATEST).choices, fingerprints=True)
    check(result["generator"]["fingerprint"], *expected)


def test_skips_left_out_of_the_skip_output_would_be_seen(monkeypatch):
    whole = UpCell.forward

    def without(self, x, skips):
        _, out = whole(self, x, skips)
        return whole(self, x, [torch.zeros_like(s) for s in skips])[0] - sum(
            point.bias.view(1, -1, 1, 1) for point in self.skips
        ) if len(skips) else whole(self, x, skips)[0], out

    monkeypatch.setattr(UpCell, "forward", without)
    space = published(generator_width=32)
    result = inspect_architecture(space, space.parse(LATEST).choices, fingerprints=True)
    wrong = (0.618396, 0.737327, 0.999977, 0.999654, -0.925806)
    check(result["generator"]["fingerprint"], *wrong)


@pytest.mark.parametrize("row", VECTORS, ids=[row[0] for row in VECTORS])
def test_random_genotypes_have_the_specified_figures(row):
    codes, size, reached, macs, live, *expected = row
    space = published(generator_width=32)
    choices = space.parse(codes).choices
    result = inspect_architecture(space, choices, fingerprints=True)["generator"]
    assert (result["parameters"], result["macs"]) == (size, macs)
    check(result["fingerprint"], *expected)
    figures = generator_figures(space, choices)
    assert (figures.parameters, figures.reached) == (size, reached)
    assert (figures.macs, figures.live_macs) == (macs, live)


def test_supernet_generator_has_its_fingerprint():
    space = published(generator_width=32)
    network = build(space, "generator", {}).eval()
    set_deterministic(network)
    network.mix(formula_weights(space, "generator"))
    with torch.no_grad():
        output = network(deterministic_input(space.input))
    check(fingerprint(output), 0.732439, 0.355915, 0.258300, -0.170523, 0.654195)


def test_supernet_discriminator_has_its_logits():
    space = published(discriminator_width=32, discriminator="searched")
    network = build(space, "discriminator", {}).eval()
    set_deterministic(network)
    network.mix(formula_weights(space, "discriminator"))
    with torch.no_grad():
        scores = network(deterministic_input(InputSpec("image", (3, 32, 32))))
    assert scores.validity.flatten().tolist() == pytest.approx((2.082761, 2.076559), abs=1e-3)


@pytest.mark.parametrize("row", DERIVED_D, ids=["first", "second"])
def test_derived_discriminators_have_the_specified_figures(row):
    codes, size, macs, logits = row
    space = published(generator_width=4, discriminator_width=32, discriminator="searched")
    architecture = space.parse(f"{LATEST} | {codes}")
    assert space.encode(architecture) == f"{LATEST} | {codes.replace('/', ' / ')}"
    result = inspect_architecture(space, architecture.choices, fingerprints=True)["discriminator"]
    assert (result["parameters"], result["macs"]) == (size, macs)
    assert result["values"] == pytest.approx(logits, abs=1e-3)


def test_closed_forms_and_reached_parameters_hold_for_random_genotypes_and_prefixes():
    space = published(16, 1, generator_width=6, latent_dim=12)
    rng = np.random.default_rng(3)
    for _ in range(12):
        choices = space.sample(rng).choices
        for blocks in (1, 2, 3):
            figures = generator_figures(space, choices, blocks)
            prefix = space.prefix(choices, blocks)
            network = build_derived(space, "generator", prefix, blocks)
            counted = count(network, space.input.shape)
            assert (figures.parameters, figures.macs) == (counted.parameters, counted.macs)
            assert counted.output_shape == (1, *space.prefix_task(blocks).image)
            network(torch.randn(2, 12)).sum().backward()
            grads = [p for p in network.parameters() if p.grad is not None]
            assert figures.reached == sum(p.numel() for p in grads)


def test_dead_parts_are_those_that_no_image_depends_on():
    space = published(generator_width=32)
    alive = live_parts(space.parse("1 0 0 1 0 2 5/2 0 1 5 1 3 1/1 2 5 3 4 5 2").choices)
    assert "cell0.u0" not in alive
    alive = live_parts(space.parse("1 1 3 4 3 6 1/1 1 3 3 4 4 4/2 0 5 1 6 5 0").choices)
    assert not alive & {"cell2.c0", "cell2.c1", "cell2.skips", "cell2.c4"}
    assert {"cell2.u0", "cell2.u1", "cell1.skips"} <= alive


def test_sizes_are_the_published_counts():
    assert published().size() == 151_263**3
    assert published(discriminator="searched").size() == 151_263**3 * 220_500 * 605_052**3
    assert math.log10(published(discriminator="searched").size()) == pytest.approx(38.2, abs=0.1)


@pytest.mark.parametrize(
    ("codes", "where"),
    [
        ("0 0 0 0 1 1 1 / 0 0 1 1 1 1 1 / 0 0 1 1 1 1 1", "cell 0: edges c0, c1"),
        ("0 0 1 1 1 1 1 / 0 0 1 1 0 0 0 / 0 0 1 1 1 1 1", "cell 1: edges c2, c3, c4"),
    ],
)
def test_a_node_without_input_is_refused_and_repaired(codes, where):
    space = published()
    with pytest.raises(SpaceError, match=where):
        space.parse(codes)
    rows = [int(c) for c in codes.replace("/", " ").split()]
    choices = {d.name: d.options[c] for d, c in zip(space.decisions, rows, strict=True)}
    fixed = space.repair(choices)
    assert space.problems(fixed) == []
    assert sum(fixed[n] != choices[n] for n in choices) == 1
    broken = {n: o for n, o in choices.items() if n.startswith(("cell0", "cell1"))}
    assert space.problems(broken)
    assert space.problems(space.repair(broken)) == []


def test_repair_only_uses_open_options():
    space = published().restrict({"cell0.c0": ("none",), "cell0.c1": ("none", "conv_5x5")})
    choices = {d.name: d.allowed[0] for d in space.decisions} | {"cell0.c2": "conv_1x1"}
    assert space.repair(choices)["cell0.c1"] == "conv_5x5"


def test_a_discriminator_that_cannot_see_the_image_is_refused_and_repaired():
    space = published(discriminator="searched")
    blind = "0 0 0 0 0 0 0 / 0 0 0 3 3 0 0 / 1 1 1 1 1 0 0 / 1 1 1 1 1 0 0"
    with pytest.raises(SpaceError, match="down cell 1"):
        space.parse(f"{LATEST} | {blind}")
    odd = space.parse(f"{LATEST} | 0 0 0 0 0 0 0 / 0 1 0 3 0 0 0 / 1 0 0 1 0 0 0 / 1 1 1 1 1 0 0")
    choices = {**odd.choices, "dcell1.e1": "none"}
    assert space.problems(space.repair(choices)) == []


def test_cheapest_completion_is_valid():
    space = published()
    choices = space.cheapest_completion({}, 0)
    assert space.problems(choices) == []
    figures = generator_figures(space, choices)
    rng = np.random.default_rng(0)
    others = [generator_figures(space, space.sample(rng).choices) for _ in range(50)]
    assert all(figures.parameters <= o.parameters for o in others)


def test_prefix_networks_make_smaller_images_that_their_discriminators_take():
    for discriminator in ("fixed", "searched"):
        for side in (16, 32, 48):
            space = published(
                side, 1, generator_width=4, discriminator_width=4, discriminator=discriminator
            )
            choices = space.sample(np.random.default_rng(1)).choices
            for blocks in (1, 2, 3):
                image = space.prefix_task(blocks).image
                assert image[1] == side // 2 ** (3 - blocks)
                prefix = space.prefix(choices, blocks)
                g = build_derived(space, "generator", prefix, blocks)(torch.zeros(2, 120))
                assert g.shape == (2, *image)
                d = build_derived(space, "discriminator", choices, blocks)(g)
                assert d.validity.shape == (2, 1)


def test_growing_keeps_all_weights_of_the_prefix():
    space = published(16, generator_width=4, discriminator_width=4, discriminator="searched")
    choices = space.sample(np.random.default_rng(1)).choices
    for role in ("generator", "discriminator"):
        small = build_derived(space, role, choices, 1)
        large = build_derived(space, role, choices, 2)
        report = transfer(small, large)
        assert not [name for name in report.fresh if name.startswith(("out", "cells.0", "head"))]
        assert [name for name in report.fresh if name.startswith("cells")]


def test_class_logits_are_made_where_the_task_wants_them():
    for discriminator in ("fixed", "searched"):
        config = SpaceConfig(discriminator_width=4, discriminator=discriminator)
        space = AdversarialSpace(config, task=Task((1, 16, 16), 10, 11))
        choices = space.sample(np.random.default_rng(0)).choices
        scores = build_derived(space, "discriminator", choices)(torch.zeros(3, 1, 16, 16))
        assert scores.classes.shape == (3, 11)
        assert scores.features.shape == (3, 4)


@pytest.mark.parametrize(
    ("settings", "side", "message"),
    [
        ({"latent_dim": 128}, 32, "cannot be split into 3"),
        ({"bottom_width": 6}, 32, "square of side 8"),
        ({}, 28, "square of side 8"),
        ({"discriminator": "searched"}, 24, "multiple of 16"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, side, message):
    with pytest.raises(SpaceError, match=message):
        published(side, **settings)


class TestFixed(SpaceContract):
    settings = {"generator_width": 2, "discriminator_width": 2, "latent_dim": 6}  # noqa: RUF012
    refused = ({"generator_width": 0}, {"discriminator": "both"})
    task = Task((1, 16, 16))

    @pytest.fixture
    def component(self):
        return next(c for c in register_components() if c.kind == "space")


class TestSearched(SpaceContract):
    settings = {  # noqa: RUF012
        "generator_width": 2,
        "discriminator_width": 2,
        "latent_dim": 6,
        "discriminator": "searched",
    }

    @pytest.fixture
    def component(self):
        return next(c for c in register_components() if c.kind == "space")
