"""A whole evaluation on a pretend CUDA device: every tensor must be where it is used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nastk.data.memory import InMemoryDataset
from nastk.metrics import evaluator as module
from nastk.metrics import small_cnn
from nastk.metrics.config import EvaluatorConfig
from nastk.metrics.evaluator import standard
from nastk.metrics.small_cnn import Recipe
from nastk.objective import Scores
from nastk.randomness import Randomness
from nastk.records import Evaluation
from nastk.testing.pretend_cuda import pretend_cuda

INPUTS = {"latent": (8,), "image": (1, 16, 16)}


class Critic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(256, 11)

    def forward(self, x: Tensor) -> Scores:
        return Scores(x.mean(dim=1), self.dense(x.flatten(1)))


def generator(kind: str) -> nn.Module:
    if kind == "image":
        return nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.Tanh())
    return nn.Sequential(nn.Linear(8, 256), nn.Tanh(), nn.Unflatten(1, (1, 16, 16)))


@pytest.fixture
def measured(
    open_digits: Callable[..., InMemoryDataset],
    candidate: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Any,
) -> Callable[[str, str], Evaluation]:
    def measure(kind: str, device: str) -> Evaluation:
        monkeypatch.setenv("NASTK_CACHE", str(tmp_path / device.replace(":", "")))
        quick = Recipe(min_steps=3, max_steps=3)
        monkeypatch.setattr(small_cnn, "Recipe", lambda: quick)
        config = EvaluatorConfig(samples=50)
        evaluator = standard(config, dataset=open_digits(), device=device)
        with Randomness(0).scoped("networks"):
            networks = generator(kind).to(device), Critic().to(device)
        made = candidate(networks[0], kind, INPUTS[kind], discriminator=networks[1])
        randomness = Randomness(0, device)
        return evaluator.evaluate([made], "validation", randomness)[0]

    return measure


@pytest.mark.parametrize("kind", list(INPUTS))
def test_pretend_device_measures_the_same_numbers(
    measured: Callable[[str, str], Evaluation], kind: str
) -> None:
    with pretend_cuda():
        there = measured(kind, "cuda:0")
    here = measured(kind, "cpu")
    assert set(there.metrics) == set(here.metrics)
    for name, metric in here.metrics.items():
        assert there.value(name) == pytest.approx(metric.value, rel=1e-6), name


def test_pretend_device_catches_images_left_on_the_cpu(
    measured: Callable[[str, str], Evaluation], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        module.StandardEvaluator, "bank", _bank_that_forgets(module.StandardEvaluator.bank)
    )
    with pretend_cuda(), pytest.raises(RuntimeError, match="same device"):
        measured("latent", "cuda:0")


def _bank_that_forgets(original: Any) -> Any:
    def bank(*arguments: Any) -> Any:
        made = original(*arguments)
        batches = made.batches
        made.batches = lambda size, device: batches(size, torch.device("cpu"))
        return made

    return bank
