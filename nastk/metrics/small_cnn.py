"""A small classifier trained on the labelled real images, and its untrained sister.

The classifier sees the training images whose labels are inside the label budget, and nothing
else: validation labels only measure its accuracy, hidden labels are out of its reach too. With a
small budget it is therefore a weaker judge. Its cards say how many labels it saw and how accurate
it is, and they differ between budgets, so numbers of two budgets are never ranked together.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from attrs import asdict, frozen
from torch import Tensor, nn
from torch.nn import functional

from nastk.data.batches import to_float
from nastk.dataset import HIDDEN
from nastk.errors import PairError
from nastk.metrics import cache
from nastk.metrics.extractors import Extracted, Extractor
from nastk.randomness import Randomness
from nastk.records import digest
from nastk.state import hash_tensors

if TYPE_CHECKING:
    from nastk.dataset import Dataset, Split

logger = logging.getLogger(__name__)


@frozen
class Recipe:
    """How the classifier is built and trained; part of its identity in the cache.

    Attributes:
        version: raised when the code below changes what comes out.
        seed: of initialisation, order, shifts and dropout; the run's seed plays no part, so that
            all runs on one data set are judged alike.
        width: of the features.
        largest: side to which larger images are reduced, pixels.
        epochs: passes over the labelled images, within the limits below.
        min_steps: updates at least.
        max_steps: updates at most.
        batch: images per update.
        rate: peak learning rate of AdamW, one cosine down to 0.
        dropout: on the features.
    """

    version: int = 1
    seed: int = 20_200_601
    width: int = 96
    largest: int = 32
    epochs: int = 10
    min_steps: int = 160
    max_steps: int = 3000
    batch: int = 64
    rate: float = 3e-3
    dropout: float = 0.2

    def steps(self, images: int) -> int:
        """Return the number of updates for that many labelled images."""
        return min(self.max_steps, max(self.min_steps, self.epochs * images // self.batch))


class SmallCnn(nn.Module):
    """Maps float images in [-1, 1] to features and logits.

    Args:
        channels: of the image.
        classes: number of logits.
        recipe: widths.
    """

    def __init__(self, channels: int, classes: int, recipe: Recipe) -> None:
        super().__init__()
        widths = [(channels, 16), (16, 32), (32, 64)]
        self.stages = nn.ModuleList(_stage(before, after) for before, after in widths)
        self.dense = nn.Linear(64 * 16, recipe.width)
        self.dropout = nn.Dropout(recipe.dropout)
        self.head = nn.Linear(recipe.width, classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``(N, F)`` features (>= 0) and ``(N, K)`` logits."""
        x = images
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i < 2:
                x = functional.max_pool2d(x, 2, ceil_mode=True)
        x = functional.adaptive_avg_pool2d(x, 4).flatten(1)
        features = self.dense(x).relu()
        return features, self.head(self.dropout(features))


class SmallExtractor(Extractor):
    """Features and logits of a :class:`SmallCnn`.

    Args:
        name: for the cards.
        network: in eval mode, on ``device``.
        size: (height, width) that the network was made for.
        classes: 0 when its logits mean nothing.
        facts: for the cards.
    """

    def __init__(
        self,
        name: str,
        network: SmallCnn,
        size: tuple[int, int],
        *,
        classes: int,
        facts: Mapping[str, Any],
    ) -> None:
        self.name = name
        self.width = network.dense.out_features
        self.classes = classes
        self.facts = dict(facts)
        self.resizer = f"bilinear-antialias-{size[0]}x{size[1]}"
        self.weights_hash = hash_tensors(network.state_dict().items())
        self._network = network
        self._size = size

    def _extract(self, images: Tensor) -> Extracted:
        device = self._network.dense.weight.device
        features, logits = self._network(_prepare(images.to(device), self._size))
        return Extracted(features, logits if self.classes else None)


def small_classifier(
    dataset: Dataset, device: torch.device | str = "cpu", recipe: Recipe | None = None
) -> SmallExtractor:
    """Return the classifier of ``dataset``, from the cache or trained now.

    The same data, label budget and recipe give the same weights on a CPU, whatever the run's
    seed. On digits at 16×16 the training takes about three CPU seconds.

    Raises:
        PairError: no training image has a visible label.
    """
    recipe = recipe or Recipe()
    size = _size(dataset.shape, recipe)
    train, validation = dataset.split("train"), dataset.split("validation")
    network = _network(dataset.shape[0], dataset.classes, recipe)
    key = digest([asdict(recipe), dataset.classes, train.content, validation.content])[:24]
    saved = cache.load(key)
    if saved is None or not _matches(network, saved.tensors):
        facts = _train(network.to(device), train, validation, size, recipe)
        saved = cache.Entry(dict(network.state_dict()), facts)
        cache.save(key, saved)
    else:
        network.load_state_dict(dict(saved.tensors))
    return SmallExtractor(
        f"small-cnn-{dataset.name}",
        network.to(device).eval().requires_grad_(False),
        size,
        classes=dataset.classes,
        facts=saved.facts,
    )


def random_cnn(
    shape: tuple[int, int, int], device: torch.device | str = "cpu", recipe: Recipe | None = None
) -> SmallExtractor:
    """Return an untrained network with fixed weights, for data without labels.

    Distances in random convolutional features tell distributions apart but are no judge of
    meaning; the name in the card says what it is.

    Source:
        Naeem et al. 2020 (arXiv:2002.09797) use randomly initialised embeddings for precision
        and recall. Differs: a much smaller network.
    """
    recipe = recipe or Recipe()
    network = _network(shape[0], 1, recipe).to(device).eval().requires_grad_(False)
    return SmallExtractor("random-cnn", network, _size(shape, recipe), classes=0, facts={})


def _stage(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(),
        nn.Conv2d(after, after, 3, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(),
    )


def _network(channels: int, classes: int, recipe: Recipe) -> SmallCnn:
    with Randomness(recipe.seed).scoped("init"):
        return SmallCnn(channels, classes, recipe)


def _size(shape: tuple[int, int, int], recipe: Recipe) -> tuple[int, int]:
    scale = min(1.0, recipe.largest / max(shape[1:]))
    return (max(1, round(shape[1] * scale)), max(1, round(shape[2] * scale)))


def _prepare(images: Tensor, size: tuple[int, int]) -> Tensor:
    x = to_float(images)
    if x.shape[2:] == size:
        return x
    return functional.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)


def _matches(network: SmallCnn, tensors: Mapping[str, Tensor]) -> bool:
    expected = {name: (t.shape, t.dtype) for name, t in network.state_dict().items()}
    return expected == {name: (t.shape, t.dtype) for name, t in tensors.items()}


def _train(
    network: SmallCnn, train: Split, validation: Split, size: tuple[int, int], recipe: Recipe
) -> dict[str, Any]:
    device = network.dense.weight.device
    seen = train.labels != HIDDEN
    images = _prepare(train.images[seen].to(device), size)
    labels = train.labels[seen].to(device)
    if not len(labels):
        raise PairError("extractor 'small-cnn': no training image has a visible label")
    logger.info("training the feature extractor on %d labelled images", len(labels))
    randomness = Randomness(recipe.seed, str(device))
    cudnn = torch.backends.cudnn.flags(
        enabled=torch.backends.cudnn.enabled, deterministic=True, benchmark=False
    )
    with cudnn, randomness.scoped("dropout"):
        _fit(network.train(), images, labels, randomness, recipe)
    network.eval()
    return {
        "extractor_labels": len(labels),
        "extractor_accuracy": _accuracy(network, validation, size),
    }


def _fit(
    network: SmallCnn, images: Tensor, labels: Tensor, randomness: Randomness, recipe: Recipe
) -> None:
    steps = recipe.steps(len(labels))
    optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    batches = _indices(len(labels), recipe.batch, randomness.torch("order"))
    with torch.enable_grad():
        for _ in range(steps):
            chosen = next(batches)
            batch = _shifted(images[chosen], randomness.torch("shift"))
            loss = functional.cross_entropy(network(batch)[1], labels[chosen])
            optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimiser.step()
            schedule.step()


def _indices(total: int, batch: int, generator: torch.Generator) -> Iterator[Tensor]:
    while True:
        order = torch.randperm(total, generator=generator, device=generator.device)
        for chosen in torch.split(order, batch):
            if len(chosen) > 1 or total == 1:  # batch norm needs two values per channel
                yield chosen


def _shifted(images: Tensor, generator: torch.Generator) -> Tensor:
    """Move each image by up to 1/16 of its side, the border repeated."""
    n, _, height, width = images.shape
    far = max(1, round(height / 16))
    moves = torch.randint(-far, far + 1, (2, n), generator=generator, device=generator.device)
    rows = (torch.arange(height, device=images.device) + moves[0, :, None]).clamp(0, height - 1)
    columns = (torch.arange(width, device=images.device) + moves[1, :, None]).clamp(0, width - 1)
    each = torch.arange(n, device=images.device)[:, None, None]
    moved: Tensor = images.permute(0, 2, 3, 1)[each, rows[:, :, None], columns[:, None, :]]
    return moved.permute(0, 3, 1, 2).contiguous()


def _accuracy(network: SmallCnn, split: Split, size: tuple[int, int]) -> float:
    device = network.dense.weight.device
    hits = torch.zeros((), dtype=torch.int64, device=device)
    with torch.no_grad():
        pairs = zip(torch.split(split.images, 512), torch.split(split.labels, 512), strict=True)
        for images, labels in pairs:
            predicted = network(_prepare(images.to(device), size))[1].argmax(dim=1)
            hits += (predicted == labels.to(device)).sum()
    return int(hits) / max(1, len(split))
