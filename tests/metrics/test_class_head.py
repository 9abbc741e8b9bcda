from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nastk.data.config import DigitsConfig
from nastk.data.digits import digits
from nastk.errors import PairError
from nastk.evaluator import Candidate
from nastk.metrics.class_head import ClassHeadEvaluator
from nastk.metrics.paired import balanced_accuracy
from nastk.objective import Scores
from nastk.randomness import Randomness


class Oracle(nn.Module):
    """Says class 3 of everything, loudest of all "generated"."""

    def __init__(self, classes: int = 11) -> None:
        super().__init__()
        self.layer = nn.Linear(64, classes)
        nn.init.zeros_(self.layer.weight)
        with torch.no_grad():
            self.layer.bias.copy_(torch.eye(classes)[3] + 5 * torch.eye(classes)[-1])

    def forward(self, x: Tensor) -> Scores:
        return Scores(x.mean((1, 2, 3)), self.layer(x.flatten(1)))


def measured(network: nn.Module | None) -> Any:
    data = digits(DigitsConfig(image_size=8), seed=0, device="cpu")
    evaluator = ClassHeadEvaluator(dataset=data)
    candidate: Any = Candidate(None, None, discriminator=network)  # type: ignore[arg-type]
    (found,) = evaluator.evaluate([candidate], "validation", Randomness(0))
    return found.metrics, data.split("validation")


def test_accuracy_is_of_the_classes_on_the_split_and_generated_never_wins() -> None:
    metrics, split = measured(Oracle())
    share = float((split.labels == 3).double().mean())
    assert metrics["accuracy"].value == pytest.approx(share)
    assert metrics["balanced_accuracy"].value == pytest.approx(0.1)
    assert metrics["accuracy"].card.n_real == len(split)
    assert metrics["accuracy"].card.data == split.content


def test_size_is_of_the_discriminator() -> None:
    metrics, _ = measured(Oracle())
    assert metrics["parameters"].value == 65 * 11
    assert metrics["macs"].value == 64 * 11
    assert metrics["macs"].card.extra["network"] == "discriminator"


class Mute(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((1, 2, 3))


@pytest.mark.parametrize(
    ("network", "message"), [(None, "got none"), (Mute(), "has no class head")]
)
def test_what_cannot_classify_is_refused(network: nn.Module | None, message: str) -> None:
    with pytest.raises(PairError, match=message):
        measured(network)


def test_balanced_accuracy_weighs_every_class_alike() -> None:
    labels = torch.tensor([0, 0, 0, 1, -1])
    logits = torch.tensor([[1.0, 0.0]] * 5)
    assert balanced_accuracy(logits, labels, 2) == 0.5
    assert balanced_accuracy(logits, torch.full((5,), -1), 2) is None
