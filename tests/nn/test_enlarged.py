"""Enlarged images: every shortcut equals the long way, and anything else computes the image."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from nastk.nn.enlarged import Enlarged, convolve_enlarged
from nastk.nn.forms import plain_forms
from nastk.nn.layers import SlicedConv2d, Upsample
from nastk.nn.quick import quicken
from nastk.nn.thin import ThinConv2d, is_thin

MODES = st.sampled_from(["nearest", "bilinear"])
SIDES = st.integers(1, 6)


def image(channels: int, height: int, width: int) -> Tensor:
    torch.manual_seed(channels + 10 * height + 100 * width)
    return torch.randn(2, channels, height, width, dtype=torch.float64, requires_grad=True)


def enlarged_by_hand(x: Tensor, factor: int, mode: str) -> Tensor:
    return F.interpolate(x, scale_factor=float(factor), mode=mode)


def assert_equal_with_gradients(one: Tensor, other: Tensor, inputs: list[Tensor]) -> None:
    assert one.shape == other.shape
    torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)
    shape = torch.randn_like(other)
    for a, b in zip(
        torch.autograd.grad(one, inputs, shape),
        torch.autograd.grad(other, inputs, shape),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@settings(deadline=None)
@given(SIDES, SIDES, st.integers(2, 4), MODES, st.integers(1, 7), st.integers(1, 6), st.data())
def test_a_convolution_of_an_enlarged_image_equals_the_long_way(
    height: int, width: int, factor: int, mode: str, out: int, k: int, data: st.DataObject
) -> None:
    x = image(3, height, width)
    # At least as many zeros as make the result non-empty.
    least = max(0, -(-(k - min(height, width) * factor) // 2))
    padding = data.draw(st.integers(least, max(least, k)))
    weight = torch.randn(out, 3, k, k, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(out, dtype=torch.float64, requires_grad=True)
    found = F.conv2d(Enlarged.of(x, factor, mode), weight, bias, 1, padding)
    long = F.conv2d(enlarged_by_hand(x, factor, mode), weight, bias, 1, padding)
    assert_equal_with_gradients(found + 0, long, [x, weight, bias])


@settings(deadline=None)
@given(st.integers(1, 5), st.integers(2, 6), st.integers(1, 6))
def test_a_layer_with_asymmetric_padding_equals_the_long_way(side: int, k: int, out: int) -> None:
    up, conv = Upsample("nearest"), SlicedConv2d({"a": 2, "b": 3}, out, k).double()
    a, b = image(2, side, side), image(3, side, side)
    long = conv(up(a), up(b))
    quicken(up)
    quicken(conv)
    assert isinstance(up(a), Enlarged)
    assert_equal_with_gradients(conv(up(a), up(b)), long, [a, b, *conv.parameters()])


@settings(deadline=None)
@given(SIDES, st.integers(2, 4))
def test_relu_and_join_of_nearest_images_stay_small(side: int, factor: int) -> None:
    x = image(3, side, side)
    big = Enlarged.of(x, factor, "nearest")
    for found, long in (
        (torch.relu(big), torch.relu(big.whole())),
        (torch.cat([big, big], 1), torch.cat([big.whole()] * 2, 1)),
    ):
        assert isinstance(found, Enlarged)
        assert_equal_with_gradients(found.whole(), long, [x])


@settings(deadline=None)
@given(SIDES, st.integers(2, 4), MODES)
def test_anything_else_sees_the_whole_image(side: int, factor: int, mode: str) -> None:
    x = image(3, side, side)
    big, long = Enlarged.of(x, factor, mode), enlarged_by_hand(x, factor, mode)
    assert big.shape == long.shape == big.size()
    assert big.size(2) == long.size(2)
    for found, expected in (
        (big * 2 + 1, long * 2 + 1),
        (torch.cat([big, long], 1), torch.cat([long, long], 1)),
        (torch.cat([big, big], 2), torch.cat([long, long], 2)),
        (F.avg_pool2d(big, 2), F.avg_pool2d(long, 2)),
        (F.pad(big, (1, 2, 0, 0)), F.pad(long, (1, 2, 0, 0))),
        (torch.tanh(big), torch.tanh(long)),
        (torch.relu(big) + 0, torch.relu(long)),
    ):
        assert type(found) is Tensor
        assert_equal_with_gradients(found, expected, [x])


def test_a_convolution_with_stride_sees_the_whole_image() -> None:
    x, weight = image(3, 4, 4), torch.randn(2, 3, 3, 3, dtype=torch.float64)
    found = F.conv2d(Enlarged.of(x, 2, "nearest"), weight, None, 2, 1)
    torch.testing.assert_close(
        found, F.conv2d(enlarged_by_hand(x, 2, "nearest"), weight, None, 2, 1)
    )


def test_the_enlarged_image_is_computed_once() -> None:
    big = Enlarged.of(image(2, 3, 3), 2, "nearest")
    assert big.whole() is big.whole()


def test_a_mask_that_reaches_beyond_the_kernel_is_not_done_on_the_small_image() -> None:
    big = Enlarged.of(image(2, 3, 3), 2, "nearest")
    weight = torch.randn(1, 2, 3, 3, dtype=torch.float64)
    assert convolve_enlarged(big, weight, None, (3, 0, 0, 0)) is None


def test_networks_run_as_defined_where_plain_forms_are_asked_for() -> None:
    up = Upsample("nearest")
    quicken(up)
    with plain_forms():
        assert type(up(image(2, 3, 3))) is Tensor


@settings(deadline=None)
@given(st.integers(1, 7), st.integers(1, 7), st.integers(1, 4), st.integers(2, 5), st.booleans())
def test_a_thin_convolution_equals_the_ordinary_one(
    height: int, width: int, out: int, k: int, bias: bool
) -> None:
    conv = torch.nn.Conv2d(3, out, k, padding=k - 1, bias=bias).double()
    x = image(3, height, width)
    long = conv(x)
    quicken(conv)
    assert type(conv) is ThinConv2d
    assert_equal_with_gradients(conv(x), long, [x, *conv.parameters()])
    with plain_forms():
        assert torch.equal(conv(x), long)


@pytest.mark.parametrize(
    "layer",
    [
        torch.nn.Conv2d(3, 5, 3),
        torch.nn.Conv2d(3, 1, 1),
        torch.nn.Conv2d(3, 1, 3, stride=2),
        torch.nn.Conv2d(3, 1, 3, dilation=2),
        torch.nn.Conv2d(3, 3, 3, groups=3),
        torch.nn.Conv2d(3, 1, 3, padding="same"),
        torch.nn.Conv2d(3, 1, 3, padding=1, padding_mode="reflect"),
        torch.nn.Conv2d(3, 1, 3, padding=3),
        torch.nn.Conv2d(3, 1, (3, 2)),
    ],
)
def test_other_convolutions_are_left_alone(layer: torch.nn.Conv2d) -> None:
    assert not is_thin(layer)
    quicken(layer)
    assert type(layer) is torch.nn.Conv2d
