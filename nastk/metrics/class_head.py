"""``ClassHeadEvaluator``: what a discriminator's class head knows of real images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nastk.data.batches import to_float
from nastk.dataset import HIDDEN, Dataset, Split, SplitName
from nastk.errors import PairError
from nastk.evaluator import Candidate, Evaluator
from nastk.metrics.latency import evaluating
from nastk.metrics.paired import accuracy, balanced_accuracy
from nastk.nn.complexity import count
from nastk.objective import as_scores
from nastk.records import Direction, Evaluation, Metric, MetricCard

if TYPE_CHECKING:
    from torch import nn

    from nastk.nn.choice import Network
    from nastk.randomness import Randomness

BATCH = 256


class ClassHeadEvaluator(Evaluator):
    """Measures discriminators as classifiers; reads one split per call and trains nothing.

    Args:
        config: none.
        dataset: where real images come from.
        device: where discriminators run.
    """

    name = "class-head"
    metrics: Mapping[str, Direction] = {
        "accuracy": "maximise",
        "balanced_accuracy": "maximise",
        "parameters": "minimise",
        "macs": "minimise",
    }

    def __init__(
        self, config: None = None, *, dataset: Dataset, device: torch.device | str = "cpu"
    ) -> None:
        self._dataset = dataset
        self._device = torch.device(device)

    def evaluate(
        self, candidates: Sequence[Candidate], split: SplitName, randomness: Randomness
    ) -> list[Evaluation]:
        """Return accuracies on all labelled images of a split, and the size of D.

        Raises:
            PairError: the data has no classes, or a discriminator no class head.
        """
        if not self._dataset.classes:
            raise PairError(f"evaluator 'class-head': '{self._dataset.name}' has no classes")
        data = self._dataset.split(split, self._device)
        return [Evaluation(self._measured(candidate, data)) for candidate in candidates]

    def _measured(self, candidate: Candidate, data: Split) -> dict[str, Metric]:
        network: Network | None = candidate.discriminator  # type: ignore[assignment]
        if network is None:
            raise PairError("evaluator 'class-head' needs a trained discriminator, got none")
        logits, classes = _logits(network, data), self._dataset.classes
        card = MetricCard(
            n_real=int((data.labels != HIDDEN).sum()),
            split=data.name,
            data=data.content,
            weights_kind="live",
            dtype="float32",
            extra={"network": "discriminator"},
        )
        size = count(network, self._dataset.shape)
        plain = MetricCard(extra={"network": "discriminator", "input": list(self._dataset.shape)})
        found = {
            "accuracy": (accuracy(logits, data.labels, classes), card),
            "balanced_accuracy": (balanced_accuracy(logits, data.labels, classes), card),
            "parameters": (float(size.parameters), plain),
            "macs": (float(size.macs), plain),
        }
        return {n: Metric(n, v, self.metrics[n], card) for n, (v, card) in found.items()}


def _logits(network: nn.Module, data: Split) -> Tensor:
    parts = []
    with evaluating(network), torch.no_grad():
        for images in torch.split(data.images, BATCH):
            classes = as_scores(network(to_float(images))).classes
            if classes is None:
                raise PairError(
                    "evaluator 'class-head': the discriminator has no class head",
                    "train it under an objective with classes, e.g. semi-supervised",
                )
            parts.append(classes)
    return torch.cat(parts)
