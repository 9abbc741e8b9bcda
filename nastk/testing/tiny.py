"""A space, a data set and an evaluator of real tensors, so small that a search takes a moment.

Contract suites run components of every kind among these; they serve your own tests as well. Their
names are ``tiny``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from attrs import evolve
from torch import Tensor, nn

from nastk.dataset import HIDDEN, Dataset, Split, SplitName
from nastk.errors import DataError, TrialError
from nastk.evaluator import Candidate, Evaluator
from nastk.nn.discriminators import SummedHead
from nastk.nn.layers import Upsample
from nastk.randomness import Randomness
from nastk.records import (
    Choices,
    Decision,
    Direction,
    Evaluation,
    InputSpec,
    Metric,
    MetricCard,
    Task,
    digest,
)
from nastk.space import Pick, SearchSpace
from nastk.testing.tiny_config import EvaluatorConfig

LATENT, WIDTH, CLASSES = 4, 4, 3
SHARES: Mapping[str, tuple[int, int]] = {"train": (0, 48), "validation": (48, 72), "test": (72, 96)}
"""Split → first image and end, after shuffling."""


class TinySpace(SearchSpace):
    """Two cells that each make the image twice as wide; 8x8 images, two discriminators.

    It has what spaces may have: two blocks, a decision that is not always active, and a rule.
    """

    name = "tiny"
    input = InputSpec("latent", (LATENT,))

    def __init__(self, config: None = None, *, task: Task) -> None:
        self.task = evolve(task, image=(task.image[0], 8, 8))
        self.settings: Mapping[str, Any] = {}
        ops = ("conv", "thin", "skip")
        self.decisions = (
            Decision("cell0.op", ops),
            Decision("cell1.op", ops, block=1),
            Decision("cell1.act", ("relu", "tanh"), block=1, when=({"cell1.op": ops[:2]},)),
            Decision("dis.kernel", ("small", "large"), role="discriminator", kind="kernel"),
        )

    def problems(self, choices: Choices) -> list[str]:
        """Return that two cells without weights are no generator."""
        skipped = [choices.get(f"cell{i}.op") == "skip" for i in range(2)]
        return ["'cell0.op' and 'cell1.op' are both skip"] if all(skipped) else []

    def repair(self, choices: Choices) -> dict[str, str]:
        """Return the choices with a convolution in the second cell where both are skipped."""
        if not self.problems(choices):
            return dict(choices)
        option = next(o for o in self.decision("cell1.op").allowed if o != "skip")
        return {"cell1.act": self.decision("cell1.act").allowed[0], **choices, "cell1.op": option}

    def prefix_task(self, blocks: int) -> Task:
        """Return the task of a smaller image."""
        side = 4 * blocks
        return evolve(self.task, image=(self.task.image[0], side, side))

    def generator(self, pick: Pick, blocks: int | None = None) -> nn.Module:
        """Return latents → images."""
        return TinyGenerator(pick, self.blocks if blocks is None else blocks, self.task.image[0])

    def discriminator(self, pick: Pick, blocks: int | None = None) -> nn.Module:
        """Return images of any size → scores."""
        channels = self.task.image[0]
        conv = pick(
            "dis.kernel",
            small=lambda: nn.Conv2d(channels, WIDTH, 1),
            large=lambda: nn.Conv2d(channels, WIDTH, 3, padding=1),
        )
        head = SummedHead(WIDTH, self.task.class_logits)
        return nn.Sequential(conv, nn.LeakyReLU(0.2), nn.AvgPool2d(2), head)


class TinyGenerator(nn.Module):
    """A linear layer, one or two cells, and the layer that makes the image."""

    def __init__(self, pick: Pick, blocks: int, channels: int) -> None:
        super().__init__()
        self.first = nn.Linear(LATENT, WIDTH * 16)
        self.cell0 = _cell(pick, "cell0.op", nn.ReLU)
        if blocks > 1:
            act = lambda: pick("cell1.act", relu=nn.ReLU, tanh=nn.Tanh)  # noqa: E731
            self.cell1 = nn.Sequential(Upsample("nearest"), _cell(pick, "cell1.op", act))
        self.out = nn.Conv2d(WIDTH, channels, 3, padding=1)
        self.blocks = blocks

    def forward(self, z: Tensor) -> Tensor:
        """Return images ``(N, C, H, W)`` in [-1, 1] of latents ``(N, LATENT)``."""
        x = self.cell0(self.first(z).view(len(z), WIDTH, 4, 4))
        if self.blocks > 1:
            x = self.cell1(x)
        return torch.tanh(self.out(x))


def _cell(pick: Pick, decision: str, act: Callable[[], nn.Module]) -> nn.Module:
    return pick(
        decision,
        conv=lambda: nn.Sequential(nn.Conv2d(WIDTH, WIDTH, 3, padding=1), act()),
        thin=lambda: nn.Sequential(nn.Conv2d(WIDTH, WIDTH, 1), act()),
        skip=nn.Identity,
    )


class TinyDataset(Dataset):
    """Ninety-six 8x8 ramps of three steepnesses."""

    name = "tiny"
    shape = (1, 8, 8)
    classes = CLASSES
    class_names = ("flat", "rising", "steep")

    def __init__(self, config: None = None, *, seed: int = 0, device: str = "cpu") -> None:
        source = torch.Generator().manual_seed(0)
        slope = torch.rand(96, generator=source)
        ramp = torch.linspace(0, 1, 8) * slope.view(-1, 1, 1, 1)
        grain = torch.randint(0, 16, (96, 1, 8, 8), generator=source)
        images = (ramp * 239 + grain).to(torch.uint8)
        order = torch.randperm(96, generator=torch.Generator().manual_seed(seed))
        self._images, self._labels = images[order], (slope * CLASSES).long()[order]
        self._device = device
        self._opened = False

    def split(self, name: SplitName, device: Any = None) -> Split:
        """Return a split; every second training label is hidden."""
        if name not in SHARES:
            raise DataError(f"no split is named '{name}'")
        if name == "test":
            if self._opened:
                raise DataError("the test split of 'tiny' was already opened")
            self._opened = True
        part = slice(*SHARES[name])
        images, labels = self._images[part], self._labels[part].clone()
        if name == "train":
            labels[::2] = HIDDEN
        content = digest([images.flatten().tolist(), labels.tolist()])[:12]
        where = self._device if device is None else device
        return Split(name, images.to(where), labels.to(where), content)

    @property
    def content(self) -> str:
        """Hash of all of it."""
        return digest([self._images.flatten().tolist(), self._labels.tolist()])[:12]


def fails(fingerprint: str) -> bool:
    """Return whether the tiny evaluator set to ``failing`` refuses this architecture."""
    return int(fingerprint, 16) % 3 == 0


class TinyEvaluator(Evaluator):
    """Scores the brightness of a few images, under the names that strategies look for."""

    name = "tiny"
    metrics: Mapping[str, Direction] = {
        "rating": "minimise",
        "extractor_fd": "minimise",
        "extractor_is": "maximise",
    }

    def __init__(
        self, config: EvaluatorConfig | None = None, *, dataset: Dataset, device: str = "cpu"
    ) -> None:
        self.config = config or EvaluatorConfig()

    def evaluate(
        self, candidates: Sequence[Candidate], split: SplitName, randomness: Randomness
    ) -> list[Evaluation]:
        """Return the scores of each."""
        return [self._evaluate(candidate, split, randomness) for candidate in candidates]

    def _evaluate(
        self, candidate: Candidate, split: SplitName, randomness: Randomness
    ) -> Evaluation:
        if self.config.failing and fails(candidate.architecture.fingerprint):
            raise TrialError("the tiny evaluator refuses this one", status="diverged")
        value = self.config.constant
        if value is None:
            value = self._brightness(candidate, randomness)
        card = MetricCard(n_fake=8, split=split, weights_kind=candidate.weights)
        signs = {"minimise": 1.0, "maximise": -1.0}
        return Evaluation({
            name: Metric(name, signs[direction] * value, direction, card)
            for name, direction in self.metrics.items()
        })  # fmt: skip

    def _brightness(self, candidate: Candidate, randomness: Randomness) -> float:
        assert candidate.generator is not None
        source = randomness.fixed("bank")
        shape = candidate.space.input.shape
        inputs = torch.randn(8, *shape, generator=source, device=source.device)
        with torch.no_grad():
            images: Tensor = candidate.generator(inputs)
        value = float(images.mean())
        if not math.isfinite(value):
            raise TrialError("images are not finite", status="diverged")
        return value
