"""The stasgan space: published figures, cost model, and the laws of choices."""

from __future__ import annotations

import pytest

from nastk.errors import SpaceError
from nastk.nn.inspect import inspect_architecture
from nastk.records import Task
from nastk.testing.contracts import SpaceContract
from nastk.testing.laws import GrowthLaw
from nastk_blockwise import register_components
from nastk_blockwise.config import SpaceConfig
from nastk_blockwise.space import StasganSpace

BASELINE = "2 / 0 1 / 1 1 0 0 0 / 2 1 1 0 0 / 3 1 3 0 0"

# (downs outer→inner, ups outer→inner, parameters, MACs, mean, std, first, mid, last)
STACKS = [
    ("128,3 256,4", "64,3,0", 677057, 74743808, 0.331288, 0.428987, 0.512602, -0.815825, 0.241126),
    (
        "256,5 128,3",
        "64,5,0.5",
        512065,
        78184448,
        -0.061388,
        0.494571,
        0.107854,
        0.577023,
        0.065083,
    ),
    (
        "128,3 32,4 64,3",
        "128,4,0 64,4,0.1",
        352353,
        63504384,
        -0.055885,
        0.408994,
        -0.401302,
        -0.134266,
        -0.174812,
    ),
    (
        "128,3 128,5 256,5 64,3",
        "64,4,0.1 32,5,0.1 32,4,0.5",
        1809345,
        100564992,
        0.316926,
        0.431558,
        0.505739,
        -0.813632,
        0.224680,
    ),
    (
        "128,5 64,4 256,5 128,4",
        "256,3,0 128,4,0 32,3,0.1",
        2146081,
        175734784,
        -0.196517,
        0.354083,
        -0.667251,
        -0.418824,
        0.078309,
    ),
    (
        "128,5 256,5 128,3 64,3",
        "256,3,0.5 256,4,0 128,4,0.5",
        3559873,
        435748864,
        -0.141972,
        0.361313,
        -0.631600,
        -0.307959,
        0.068279,
    ),
]


def published(channels: int = 1) -> StasganSpace:
    return StasganSpace(SpaceConfig(), task=Task((channels, 32, 32), classes=10))


def check(fingerprint: dict[str, float], *expected: float) -> None:
    values = [fingerprint[k] for k in ("mean", "std", "first", "mid", "last")]
    assert values == pytest.approx(expected, abs=1e-3)


def choices_of(downs: str, ups: str) -> dict[str, str]:
    choices = {"depth": str(len(downs.split()))}
    for i, down in enumerate(downs.split(), 1):
        choices[f"down{i}.filters"], choices[f"down{i}.kernel"] = down.split(",")
    for i, up in enumerate(ups.split(), 1):
        filters, kernel, dropout = up.split(",")
        choices |= {f"up{i}.filters": filters, f"up{i}.kernel": kernel, f"up{i}.dropout": dropout}
    return choices


def test_baseline_has_the_published_size_and_fingerprints():
    space = published()
    result = inspect_architecture(space, space.parse(BASELINE).choices, fingerprints=True)
    g, d = result["generator"], result["discriminator"]
    assert (g["parameters"], g["macs"]) == (1_539_969, 40_501_248)
    assert (d["parameters"], d["macs"]) == (706_000, 17_149_952)
    assert g["output_shape"] == [1, 1, 32, 32]
    assert d["output_shape"] == [1, 1, 4, 4]
    check(g["fingerprint"], -0.020544, 0.414109, 0.535039, 0.252313, -0.107117)
    check(d["fingerprint"], 0.069287, 1.063192, 0.563276, -0.993730, -0.229709)
    check(d["classes"], 0.237737, 1.379340, 1.047157, -0.763669, -0.704359)


def test_three_channels_have_the_published_size():
    space = published(3)
    result = inspect_architecture(space, space.parse(BASELINE).choices)
    assert (result["generator"]["parameters"], result["generator"]["macs"]) == (
        1_543_043,
        42_860_544,
    )
    assert (result["discriminator"]["parameters"], result["discriminator"]["macs"]) == (
        708_048,
        17_674_240,
    )


@pytest.mark.parametrize("row", STACKS, ids=[row[0] for row in STACKS])
def test_stacks_have_the_specified_size_and_fingerprint(row):
    downs, ups, parameters, macs, *expected = row
    space = published()
    result = inspect_architecture(
        space, space.architecture(choices_of(downs, ups)).choices, fingerprints=True
    )["generator"]
    assert (result["parameters"], result["macs"]) == (parameters, macs)
    check(result["fingerprint"], *expected)


def test_size_and_codes_follow_the_specification():
    space = published()
    assert space.size() == 969_703_488
    baseline = space.parse(BASELINE)
    assert space.encode(baseline) == BASELINE
    assert space.parse(BASELINE.replace("/", "")) == baseline
    assert space.architecture(space.reference()) == baseline
    assert "down3.filters" not in space.parse("0 / 0 1 / 1 1 0 0 0").choices


def test_depth_is_limited_by_the_image():
    space = StasganSpace(SpaceConfig(), task=Task((1, 16, 16), classes=10))
    assert space.decision("depth").allowed == ("2", "3")
    with pytest.raises(SpaceError, match="closed here"):
        space.parse(BASELINE)
    with pytest.raises(SpaceError, match="multiple of 8"):
        StasganSpace(SpaceConfig(), task=Task((1, 12, 12), classes=10))


def test_cheapest_completion_of_one_unit_is_the_narrowest_second_unit():
    space = published()
    choices = space.cheapest_completion({"down1.filters": "256", "down1.kernel": "5"}, 1)
    assert choices == {
        "depth": "2", "down1.filters": "256", "down1.kernel": "5", "down2.filters": "32",
        "down2.kernel": "3", "up1.filters": "32", "up1.kernel": "3", "up1.dropout": "0",
    }  # fmt: skip


def test_searched_discriminator_keeps_its_strides_at_eight():
    space = StasganSpace(SpaceConfig(discriminator="searched"), task=Task((1, 32, 32), 10))
    with pytest.raises(SpaceError, match="multiply to 4"):
        space.parse(BASELINE + " | 0 / 0 0 1 0 / 0 0 1 0 / 0 0 0 0")
    fine = space.parse(BASELINE + " | 0 / 0 0 1 0 / 0 0 1 0 / 0 0 1 0")
    assert space.encode(fine).endswith("| 0 / 0 0 1 0 / 0 0 1 0 / 0 0 1 0")
    shape = inspect_architecture(space, fine.choices)["discriminator"]["output_shape"]
    assert shape == [1, 1, 4, 4]


class TestContract(SpaceContract):
    settings = {"generator_width": 2, "discriminator_width": 2}  # noqa: RUF012
    refused = ({"generator_width": 0}, {"norm": "batch"})
    task = Task((1, 32, 32), 3)

    @pytest.fixture
    def component(self):
        return next(c for c in register_components() if c.kind == "space")


class TestGrowth(GrowthLaw):
    @pytest.fixture
    def space(self):
        return StasganSpace(SpaceConfig(generator_width=2), task=Task((1, 32, 32), 3))
