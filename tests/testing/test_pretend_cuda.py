from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from nastk.testing.pretend_cuda import pretend_cuda

CUDA = torch.device("cuda", 0)


def test_mixing_devices_raises_and_cpu_scalars_do_not() -> None:
    with pretend_cuda():
        x = torch.ones(3, device="cuda")
        assert (x * torch.tensor(2.0)).device == CUDA
        with pytest.raises(RuntimeError, match=r"same device.*cpu and cuda:0"):
            x + torch.ones(3)
        with pytest.raises(RuntimeError, match="same device"):
            x + torch.ones(3, device="cuda:1")
        with pytest.raises(RuntimeError, match="same device"):
            torch.stack([x.sum(), torch.tensor(2.0)])


def test_mistakes_in_backward_and_in_place_are_seen() -> None:
    with pretend_cuda():
        x = torch.ones(3, device="cuda", requires_grad=True)
        (x * x).sum().backward()
        assert x.grad is not None
        assert x.grad.device == CUDA
        with pytest.raises(RuntimeError, match="same device"), torch.no_grad():
            x.add_(torch.ones(3))


def test_moves_copy_and_factories_claim() -> None:
    with pretend_cuda():
        here = torch.arange(4.0)
        there = here.cuda()
        there += 1
        assert here.tolist() == [0, 1, 2, 3]
        assert there.cpu().tolist() == [1, 2, 3, 4]
        assert there.to(torch.int64).device == CUDA
        assert here.to(there).device == CUDA
        assert there.to("cpu", torch.float64).dtype == torch.float64
        assert torch.as_tensor(here, device="cuda").device == CUDA
        assert here.device == torch.device("cpu")
        assert torch.zeros_like(there).is_cuda
        assert copy.deepcopy(there).is_cuda
        assert torch.zeros(2).device.type == "cpu"


def test_numpy_wants_the_cpu_and_indices_may_live_there() -> None:
    with pretend_cuda():
        x = torch.arange(4.0, device="cuda")
        with pytest.raises(TypeError, match="cuda:0"):
            x.numpy()
        assert x[torch.tensor([1, 2])].cpu().numpy().tolist() == [1, 2]
        with pytest.raises(RuntimeError, match="same device"):
            x.index_select(0, torch.tensor([1]))


def test_generators_belong_to_a_device() -> None:
    with pretend_cuda():
        generator = torch.Generator(device="cuda").manual_seed(0)
        assert generator.device == CUDA
        assert torch.randn(2, generator=generator, device="cuda").device == CUDA
        with pytest.raises(RuntimeError, match="generator"):
            torch.randn(2, generator=generator)
        with pytest.raises(RuntimeError, match="generator"):
            torch.empty(2).normal_(generator=generator)


def test_modules_and_optimisers_work_with_the_numbers_of_the_cpu() -> None:
    def run(device: str) -> list[float]:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 1))
        net.to(device)
        adam = torch.optim.Adam(net.parameters(), 0.01, fused=True)
        for _ in range(3):
            adam.zero_grad()
            net(torch.ones(5, 3, device=device)).square().sum().backward()
            adam.step()
        return [v for p in net.parameters() for v in p.detach().cpu().flatten().tolist()]

    expected = run("cpu")
    with pretend_cuda():
        assert run("cuda") == expected


def test_everything_is_as_before_afterwards() -> None:
    before = torch.cuda.is_available(), torch.Generator, torch.cuda.default_generators
    with pretend_cuda(3):
        assert torch.cuda.is_available()
        assert torch.cuda.device_count() == 3
    assert (torch.cuda.is_available(), torch.Generator, torch.cuda.default_generators) == before
