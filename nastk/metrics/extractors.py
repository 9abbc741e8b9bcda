"""``Extractor``: images in, features and logits out; and which one judges the data at hand."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from attrs import frozen
from torch import Tensor

from nastk.errors import ConfigError, PairError, ShapeError

if TYPE_CHECKING:
    from nastk.dataset import Dataset
    from nastk.metrics.config import EvaluatorConfig


@frozen(eq=False)
class Extracted:
    """What an extractor says of N images, float32 on the CPU.

    Attributes:
        features: ``(N, F)``.
        logits: ``(N, L)``, None where the extractor predicts nothing.
    """

    features: Tensor
    logits: Tensor | None = None


class Extractor(ABC):
    """A frozen network that turns images into features.

    Attributes:
        name: stands in every metric card.
        weights_hash: hash of the weights, 12 hex digits; stands in every metric card.
        width: F, width of the features.
        resizer: how images are brought to the extractor's size.
        classes: number of leading logits that are the classes of the data; 0 when none are.
        official: weights and architecture are those that published FIDs are computed with.
        facts: anything else a card should say (labels it was trained on, its accuracy).
    """

    name: str
    weights_hash: str
    width: int
    resizer: str
    classes: int = 0
    official: bool = False
    facts: Mapping[str, Any] = MappingProxyType({})

    @abstractmethod
    def _extract(self, images: Tensor) -> Extracted:
        """Return features and logits of one batch, without gradients."""

    def extract(self, images: Tensor, batch_size: int = 256) -> Extracted:
        """Return features and logits of images.

        Args:
            images: ``(N, C, H, W)`` uint8 on any device, N >= 1.
            batch_size: images per forward pass.

        Raises:
            ShapeError: not a uint8 batch of images.
        """
        if images.dtype != torch.uint8 or images.ndim != 4 or not len(images):
            raise ShapeError(
                f"extractor '{self.name}': got {images.dtype} of shape {tuple(images.shape)}, "
                "expected torch.uint8 of shape (N, C, H, W)"
            )
        with torch.no_grad():
            parts = [self._extract(batch) for batch in torch.split(images, batch_size)]
        logits = [part.logits.cpu().float() for part in parts if part.logits is not None]
        return Extracted(
            torch.cat([part.features.cpu().float() for part in parts]),
            torch.cat(logits) if logits else None,
        )

    def features(self, images: Tensor) -> Tensor:
        """Return ``(N, F)`` float32 features of ``(N, C, H, W)`` uint8 images, on the CPU."""
        return self.extract(images).features

    def logits(self, images: Tensor) -> Tensor:
        """Return ``(N, L)`` float32 logits of ``(N, C, H, W)`` uint8 images, on the CPU.

        Raises:
            PairError: the extractor predicts nothing.
        """
        logits = self.extract(images).logits
        if logits is None:
            raise PairError(f"extractor '{self.name}' has no logits")
        return logits


def make_extractor(
    config: EvaluatorConfig, dataset: Dataset, device: torch.device | str = "cpu"
) -> Extractor:
    """Return the extractor that ``config`` asks for; trains or loads its weights.

    Raises:
        ConfigError: InceptionV3 without weights, or weights that cannot be read.
        PairError: a classifier is asked for and the data has no labels.
    """
    name = resolve_name(config, dataset)
    if name == "inception-v3":
        from nastk.metrics.inception import InceptionV3

        return InceptionV3(config.inception_weights, config.inception_download, device)
    from nastk.metrics.small_cnn import random_cnn, small_classifier

    if name == "random-cnn":
        return random_cnn(dataset.shape, device)
    return small_classifier(dataset, device)


def resolve_name(config: EvaluatorConfig, dataset: Dataset) -> str:
    """Return the extractor's name with ``auto`` decided by weights given and labels present.

    Raises:
        ConfigError: weights are given for an extractor that takes none.
        PairError: ``small-cnn`` on data without labels.
    """
    if config.inception_weights and config.extractor not in ("auto", "inception-v3"):
        raise ConfigError(
            f"evaluator.inception_weights is set but evaluator.extractor is '{config.extractor}'",
            "set evaluator.extractor to 'inception-v3' or 'auto'",
        )
    if config.extractor == "small-cnn" and not dataset.classes:
        raise PairError(
            f"evaluator.extractor 'small-cnn' needs labels, data set '{dataset.name}' has none",
            "choose 'random-cnn' or 'inception-v3'",
        )
    if config.extractor != "auto":
        return config.extractor
    if config.inception_weights:
        return "inception-v3"
    return "small-cnn" if dataset.classes else "random-cnn"
