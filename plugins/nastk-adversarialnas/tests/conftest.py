"""A tiny data set, a search over any space, and a space with a planted operation."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nastk.dataset import Dataset, Split
from nastk.gan.config import TrainerConfig
from nastk.gan.objectives import Hinge
from nastk.gan.trainer import GanTrainer
from nastk.randomness import Randomness
from nastk.records import Decision, InputSpec, Task
from nastk.search import Search
from nastk.space import SearchSpace
from nastk_adversarialnas.config import SpaceConfig, StrategyConfig
from nastk_adversarialnas.space import AdversarialSpace
from nastk_adversarialnas.strategy import AdversarialStrategy


class Slopes(Dataset):
    """Ramps of random steepness, left to right."""

    name = "slopes"
    content = "0" * 12
    classes = 2
    class_names = ("flat", "steep")

    def __init__(self, side: int, n: int = 48) -> None:
        self.shape = (1, side, side)
        steepness = torch.rand(n, 1, 1, 1, generator=torch.Generator().manual_seed(0))
        ramp = torch.linspace(0, 255, side).expand(n, 1, side, side)
        self.images = (ramp * steepness).to(torch.uint8)
        self.labels = (steepness.flatten() > 0.5).long()

    def split(self, name: str, device: Any = "cpu") -> Split:
        return Split(name, self.images.to(device), self.labels.to(device), self.content)


class Noise(nn.Module):
    """Paints noise that no training changes."""

    def forward(self, x: Tensor) -> Tensor:
        columns = torch.arange(64.0, device=x.device)
        return 3.0 * torch.sin(1000.0 * x.sum(1, keepdim=True) * columns)


class Grey(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 0.0 * x[:, :1].expand(-1, 64)


class PlantedSpace(SearchSpace):
    """One generator decision, of whose options only ``learns`` can paint the data."""

    name = "planted"
    settings: Mapping[str, Any] = {}
    input = InputSpec("latent", (4,))
    task = Task((1, 8, 8))
    decisions = (Decision("op", ("noise", "grey", "learns", "none")),)

    def generator(self, pick: Any, blocks: int | None = None) -> nn.Module:
        op = pick("op", noise=Noise, grey=Grey, learns=lambda: nn.Linear(4, 64), none=Grey)
        return nn.Sequential(op, nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 1, 1), nn.Tanh())

    def discriminator(self, pick: Any, blocks: int | None = None) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 8, 4, 2, 1), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(128, 1)
        )


def adversarial(discriminator: str = "fixed", task: Task | None = None) -> AdversarialSpace:
    config = SpaceConfig(
        generator_width=3, discriminator_width=3, latent_dim=6, discriminator=discriminator
    )
    return AdversarialSpace(config, task=task or Task((1, 16, 16)))


def begin(
    space: SearchSpace | None = None,
    *,
    device: str = "cpu",
    seed: int = 0,
    trainer: Mapping[str, Any] | None = None,
    passes: Any = (),
    **settings: Any,
) -> AdversarialStrategy:
    """Return a started strategy; settings are its own."""
    space = space or adversarial()
    data = Slopes(space.task.image[1])
    config = TrainerConfig(**{"batch_size": 8, "n_critic": 1, "health": "off", **(trainer or {})})
    objective = Hinge()
    made = GanTrainer(
        config,
        dataset=data,
        objective=objective,
        passes=passes,
        device=device,
    )
    search = Search(
        space=space,
        task=space.task,
        dataset=data,
        trainer=made,
        evaluator=None,  # type: ignore[arg-type]
        objective=objective,
        randomness=Randomness(seed, made.device),
        device=made.device,
    )
    strategy = AdversarialStrategy(StrategyConfig(**{"steps": 4, "steps_per_chunk": 2, **settings}))
    strategy.start(search)
    return strategy


def difference(a: Any, b: Any, at: str = "state") -> list[str]:
    """Return where two states differ in a bit; seconds are left out."""
    if isinstance(a, Mapping):
        if set(a) != set(b):
            return [f"{at}: keys {sorted(map(str, set(a) ^ set(b)))}"]
        return [d for k in a if k != "seconds" for d in difference(a[k], b[k], f"{at}.{k}")]
    if isinstance(a, Tensor):
        return [] if a.dtype == b.dtype and torch.equal(a, b) else [at]
    return [] if a == b else [f"{at}: {a} != {b}"]


@pytest.fixture
def toy() -> SimpleNamespace:
    return SimpleNamespace(
        begin=begin, adversarial=adversarial, Planted=PlantedSpace, difference=difference
    )


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
