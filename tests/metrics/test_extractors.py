from __future__ import annotations

from typing import Any

import pytest
import torch

from nastk.errors import ConfigError, PairError, ShapeError
from nastk.metrics.config import EvaluatorConfig
from nastk.metrics.extractors import make_extractor, resolve_name
from nastk.metrics.small_cnn import random_cnn
from nastk.state import hash_tensors


@pytest.mark.parametrize(
    ("classes", "config", "name"),
    [
        (10, {}, "small-cnn"),
        (0, {}, "random-cnn"),
        (10, {"inception_weights": "w.pth"}, "inception-v3"),
        (10, {"extractor": "random-cnn"}, "random-cnn"),
    ],
)
def test_auto_goes_by_weights_given_then_by_labels(
    tensor_dataset: Any, classes: int, config: dict[str, Any], name: str
) -> None:
    dataset = tensor_dataset(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), None, classes)
    assert resolve_name(EvaluatorConfig(**config), dataset) == name


def test_a_classifier_for_data_without_labels_is_refused(tensor_dataset: Any) -> None:
    dataset = tensor_dataset(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), None, 0)
    with pytest.raises(PairError, match="'tensors' has none"):
        make_extractor(EvaluatorConfig(extractor="small-cnn"), dataset)


def test_weights_for_an_extractor_that_takes_none_are_refused(tensor_dataset: Any) -> None:
    dataset = tensor_dataset(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), None, 0)
    config = EvaluatorConfig(extractor="random-cnn", inception_weights="w.pth")
    with pytest.raises(ConfigError, match="inception_weights"):
        make_extractor(config, dataset)


def test_features_do_not_depend_on_the_batch_size() -> None:
    extractor = random_cnn((1, 16, 16))
    images = torch.arange(7 * 256).remainder(251).to(torch.uint8).view(7, 1, 16, 16)
    whole, parts = extractor.extract(images).features, extractor.extract(images, 3).features
    torch.testing.assert_close(whole, parts)
    assert whole.shape == (7, extractor.width)


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(2, 1, 4, 4),
        torch.zeros(1, 4, 4, dtype=torch.uint8),
        torch.zeros(0, 1, 4, 4, dtype=torch.uint8),
    ],
)
def test_anything_but_a_uint8_batch_is_refused(images: torch.Tensor) -> None:
    with pytest.raises(ShapeError, match="random-cnn"):
        random_cnn((1, 4, 4)).features(images)


def test_logits_of_an_extractor_that_predicts_nothing_are_refused() -> None:
    with pytest.raises(PairError, match="no logits"):
        random_cnn((1, 8, 8)).logits(torch.zeros(1, 1, 8, 8, dtype=torch.uint8))


def test_the_hash_of_weights_sees_names_types_shapes_and_values_but_not_order() -> None:
    a, b = torch.zeros(2, 3), torch.ones(4)
    same = hash_tensors([("a", a), ("b", b)])
    assert hash_tensors([("b", b), ("a", a)]) == same
    others = [
        [("a", a), ("c", b)],
        [("a", a.view(3, 2)), ("b", b)],
        [("a", a), ("b", b * 2)],
        [("a", a.int()), ("b", b)],
    ]
    assert all(hash_tensors(other) != same for other in others)
