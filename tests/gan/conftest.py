"""A tiny space and data set of both input kinds, and a way to start trainings of them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from attrs import evolve
from torch import Tensor, nn

from nastk.dataset import Dataset, Split
from nastk.gan.config import TrainerConfig
from nastk.gan.loop import GanTraining
from nastk.gan.objectives import Hinge
from nastk.gan.trainer import GanTrainer
from nastk.objective import Objective, Scores
from nastk.randomness import Randomness
from nastk.records import Decision, InputSpec, Task
from nastk.space import SearchSpace
from nastk.trainer import Pair, Plan

SIDE, CLASSES, LATENT = 8, 3, 5


class ToyGenerator(nn.Module):
    def __init__(self, pick: Any, latent: bool, channels: int, side: int, dropout: float) -> None:
        super().__init__()
        self.side = side
        self.first = (
            nn.Linear(LATENT, 4 * side * side) if latent else nn.Conv2d(channels, 4, 3, 1, 1)
        )
        self.norm = nn.BatchNorm2d(4)
        self.conv = pick(
            "conv", small=lambda: nn.Conv2d(4, 4, 1), large=lambda: nn.Conv2d(4, 4, 3, padding=1)
        )
        self.drop = nn.Dropout(dropout)
        self.last = nn.Conv2d(4, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).view(len(x), 4, self.side, self.side)
        x = torch.relu(self.conv(self.norm(x)))
        return torch.tanh(self.last(self.drop(x)))


class ToyDiscriminator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 6, 4, 2, 1)
        self.validity = nn.Conv2d(6, 1, 3, padding=1)
        self.classes = nn.Linear(6, CLASSES + 1)

    def forward(self, x: Tensor) -> Scores:
        x = nn.functional.leaky_relu(self.conv(x), 0.2)
        return Scores(self.validity(x), self.classes(x.mean((2, 3))))


class ToySpace(SearchSpace):
    name = "toy"
    settings: Mapping[str, Any] = {}
    decisions = (Decision("conv", ("small", "large")),)

    def __init__(self, kind: str, channels: int = 1, dropout: float = 0.0) -> None:
        self.task = Task((1, SIDE, SIDE), CLASSES, CLASSES + 1)
        shape = (LATENT,) if kind == "latent" else (channels, SIDE, SIDE)
        self.input = InputSpec(kind, shape)
        self.dropout = dropout

    def prefix_task(self, blocks: int) -> Task:
        return evolve(self.task, image=(1, 4, 4)) if blocks == 0 else self.task

    def generator(self, pick: Any, blocks: int | None = None) -> nn.Module:
        latent = self.input.kind == "latent"
        side = SIDE if blocks is None else self.prefix_task(blocks).image[1]
        return ToyGenerator(pick, latent, self.input.shape[0], side, self.dropout)

    def discriminator(self, pick: Any, blocks: int | None = None) -> nn.Module:
        return ToyDiscriminator()


class ToyData(Dataset):
    """Squares of random brightness; the first pixel tells the image's number."""

    name = "toy"
    shape = (1, SIDE, SIDE)
    classes = CLASSES
    content = "0" * 12

    def __init__(self, n: int = 40) -> None:
        generator = torch.Generator().manual_seed(0)
        self.images = torch.randint(0, 256, (n, *self.shape), generator=generator).to(torch.uint8)
        self.images[:, 0, 0, 0] = torch.arange(n, dtype=torch.uint8)
        self.labels = torch.arange(n) % CLASSES
        self.labels[::2] = -1

    def split(self, name: str, device: Any = "cpu") -> Split:
        return Split(name, self.images.to(device), self.labels.to(device), self.content)


def start(
    kind: str = "latent",
    *,
    objective: Objective | None = None,
    plan: Plan | None = None,
    choices: Mapping[str, str] | None = None,
    space: ToySpace | None = None,
    device: str = "cpu",
    seed: int = 0,
    blocks: int | None = None,
    policy: Any = None,
    passes: Any = (),
    **settings: Any,
) -> GanTraining:
    """Return a training of a toy pair; settings are the trainer's."""
    space = space or ToySpace(kind)
    config = TrainerConfig(**{"batch_size": 8, "health_every": 7, **settings})
    trainer = GanTrainer(
        config, dataset=ToyData(), objective=objective or Hinge(), passes=passes, device=device
    )
    if policy is not None:
        trainer.health_policy = lambda: policy
    randomness = Randomness(seed, trainer.device)
    choices = {"conv": "large"} if choices is None else choices
    generator = trainer.build(space, "generator", choices, randomness.child("g"), blocks)
    discriminator = trainer.build(space, "discriminator", {}, randomness.child("d"), blocks)
    pair = Pair(generator, discriminator, space, blocks)
    return trainer.begin(pair, plan or Plan(), randomness.child("train"))


def numbers(tree: Any, at: str = "") -> dict[str, Tensor]:
    """Return the tensors of a state tree by their places, as float64."""
    if isinstance(tree, dict):
        return {k: v for key in tree for k, v in numbers(tree[key], f"{at}.{key}").items()}
    return {at: tree.double()} if isinstance(tree, Tensor) else {}


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
        start=start, Space=ToySpace, Data=ToyData, difference=difference, numbers=numbers
    )


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def two_ranks() -> Callable[[str, Path], tuple[list[int], list[str]]]:
    """Return what runs a module of this folder as two ranks: exit codes and what was said."""
    return _two_ranks


def _two_ranks(module: str, folder: Path) -> tuple[list[int], list[str]]:
    here = Path(__file__).parent
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    common = {"OMP_NUM_THREADS": "1", "TORCHELASTIC_RUN_ID": "test", "MASTER_ADDR": "127.0.0.1",
              "MASTER_PORT": str(port), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2",
              "CUDA_VISIBLE_DEVICES": ""}  # fmt: skip
    start = f"import sys; sys.path.append({str(here.parents[1])!r}); import {module} as m; "
    words = [sys.executable, "-c", f"{start}m.main(sys.argv[1])", str(folder)]
    started = [
        subprocess.Popen(
            words, cwd=here, env={**os.environ, **common, "RANK": n, "LOCAL_RANK": n},
            stderr=subprocess.PIPE, text=True,
        )
        for n in ("0", "1")
    ]  # fmt: skip
    try:
        said = [process.communicate(timeout=600)[1] for process in started]
    finally:
        for process in started:
            process.kill()
    return [process.returncode for process in started], said
