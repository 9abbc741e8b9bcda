"""Instance normalisation of images channels last gives torch's numbers and leaves the order."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from nastk.nn.instance import LastInstanceNorm2d
from nastk.nn.quick import quicken

LAST = torch.channels_last


def quick(norm):
    twin = copy.deepcopy(norm)
    quicken(twin)
    assert type(twin) is LastInstanceNorm2d
    return twin


def both(norm, x):
    """Output and gradients, as torch has them and channels last."""
    found = []
    for module in (norm, quick(norm)):
        module.zero_grad(set_to_none=True)
        given_x = x.clone(memory_format=torch.preserve_format).requires_grad_()
        out = module(given_x)
        (out * torch.arange(out.numel(), dtype=x.dtype).cos().view(out.shape)).sum().backward()
        found.append([out, given_x.grad, *(p.grad for p in module.parameters())])
    return found


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), *[st.integers(1, 6)] * 3).filter(lambda s: s[2] * s[3] > 1),
    affine=st.booleans(),
    seed=st.integers(0, 99),
)
def test_outputs_and_gradients_are_torchs(shape, affine, seed):
    torch.manual_seed(seed)
    norm = nn.InstanceNorm2d(shape[1], affine=affine).double()
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    usual, last = both(norm, torch.randn(shape, dtype=torch.float64).contiguous(memory_format=LAST))
    torch.testing.assert_close(last, usual, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_channels_stay_last_in_any_precision(dtype):
    torch.manual_seed(0)
    x = (torch.randn(2, 4, 6, 5) + 30).to(dtype).contiguous(memory_format=LAST)
    norm = nn.InstanceNorm2d(4)
    out = quick(norm)(x)
    assert out.dtype is norm(x).dtype is dtype
    assert out.is_contiguous(memory_format=LAST)
    # Rounded once, at the end.
    torch.testing.assert_close(out.double(), norm(x.double()), rtol=2**-8, atol=1e-5)


def test_one_pixel_is_refused_as_torch_refuses_it():
    x = torch.randn(2, 4, 1, 1)
    for norm in (nn.InstanceNorm2d(4), quick(nn.InstanceNorm2d(4))):
        with pytest.raises(ValueError, match="more than 1 spatial element"):
            norm(x)


def test_running_statistics_are_torchs_business():
    norm = nn.InstanceNorm2d(3, track_running_stats=True).double()
    twin = quick(norm)
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64).contiguous(memory_format=LAST)
    assert torch.equal(norm(x), twin(x))
    assert torch.equal(norm.running_mean, twin.running_mean)
