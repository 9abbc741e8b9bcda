"""Convolutions in the frequency domain are convolutions, however their spectra are kept."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from nastk.nn import frequency, products, transforms
from nastk.nn.frequency import Plane
from nastk.nn.transforms import kind_of


def convolution(x, weight, stride, dilation, by_frequency):
    """Sum of two convolutions ``(N, C, H, W)`` with "same" padding."""
    side = weight.shape[-1]
    reach = dilation * (side // 2)
    if not by_frequency:
        both = torch.cat((x, x.cos()), 1), torch.cat((weight, weight.sin()), 1)
        return F.conv2d(*both, None, stride, reach, dilation)
    size = x.shape[2], x.shape[3]
    out = tuple((s - 1) // stride + 1 for s in size)
    offsets = tuple(range(-reach, reach + 1, dilation))
    plane = Plane(size, out, stride, offsets, offsets)
    pairs = []
    for image, kernel in ((x, weight), (x.cos(), weight.sin())):
        spectrum = frequency.spectrum(image.permute(3, 2, 0, 1), plane)
        pairs.append((spectrum, kernel.permute(3, 2, 0, 1).flatten(0, 1)))
    return frequency.convolved(pairs, plane).permute(2, 3, 1, 0)


def derivatives(shape, stride, dilation, by_frequency):
    """Outputs, gradients and gradients of gradients."""
    n, source, out, height, width, side = shape
    generator = torch.Generator().manual_seed(0)
    x, weight = (
        torch.randn(size, generator=generator, dtype=torch.float64).requires_grad_()
        for size in ((n, source, height, width), (out, source, side, side))
    )
    y = convolution(x, weight, stride, dilation, by_frequency)
    first = torch.autograd.grad(y.sin().sum(), (x, weight), create_graph=True)
    second = torch.autograd.grad(sum(g.square().sum() for g in first), (x, weight))
    return [y, *first, *second]


@settings(
    deadline=None, max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(
    shape=st.tuples(
        st.integers(1, 3), st.integers(1, 4), st.integers(1, 4),
        st.integers(1, 9), st.integers(1, 9), st.sampled_from((1, 3, 5)),
    ),
    stride=st.sampled_from((1, 1, 2)),
    dilation=st.integers(1, 2),
)  # fmt: skip
def test_a_convolution_and_its_gradients_are_those_of_torch(kind, shape, stride, dilation):
    found = derivatives(shape, stride, dilation, True)
    torch.testing.assert_close(
        found, derivatives(shape, stride, dilation, False), rtol=1e-10, atol=1e-10
    )


@pytest.mark.parametrize("height", [32, 33, 40])
def test_images_large_enough_to_be_parted_are_convolved_alike(monkeypatch, height):
    monkeypatch.setattr(products, "small_products", lambda *_: True)
    monkeypatch.setattr(transforms, "small_products", lambda *_: True)
    monkeypatch.setattr(products, "SMALL", 1000)  # in pieces
    shape = (2, 3, 4, height, 6, 5)
    assert transforms._mirrored([p - (height - 1) / 2 for p in range(height)]) is (height != 33)
    for stride in (1, 2):
        torch.testing.assert_close(
            derivatives(shape, stride, 2, True), derivatives(shape, stride, 2, False),
            rtol=1e-10, atol=1e-10,
        )  # fmt: skip


@pytest.mark.parametrize("columns", [1, 15, 17, 48, 100])
@pytest.mark.parametrize("transposed", [False, True])
def test_products_of_any_width_are_those_of_torch(monkeypatch, columns, transposed):
    monkeypatch.setattr(products, "small_products", lambda *_: True)
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(2, 3, 5, 7, generator=generator, dtype=torch.float64)
    b = torch.randn(2, 3, columns, 7, generator=generator, dtype=torch.float64).mT
    b = b if transposed else b.contiguous()
    for small in (1, 900, 2**18):
        monkeypatch.setattr(products, "SMALL", small)
        out = torch.full((2, 3, 5, columns), torch.nan, dtype=torch.float64)
        assert products.batched(a, b, out) is out
        torch.testing.assert_close(out, a @ b)


def test_products_in_half_precision_have_parts_and_others_suit_the_machine(monkeypatch):
    cpu, single = torch.device("cpu"), torch.float32
    for threads, small, expected in (
        (1, True, "small"),
        (2, True, "complex"),
        (1, False, "complex"),
    ):
        monkeypatch.setattr(products, "_small_kernels", lambda small=small: small)
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        assert kind_of(single, cpu) == kind_of(torch.float64, cpu) == expected
        assert kind_of(torch.bfloat16, cpu) == "parts"
        assert kind_of(single, torch.device("cuda")) == "complex"
