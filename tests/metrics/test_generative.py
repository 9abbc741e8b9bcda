from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nastk.data.memory import InMemoryDataset
from nastk.errors import ConfigError, ShapeError
from nastk.metrics import generative
from nastk.metrics.config import EvaluatorConfig
from nastk.metrics.evaluator import StandardEvaluator
from nastk.metrics.gathering import gathered
from nastk.metrics.generative import (
    GenerativeProtocol,
    earns_plain_name,
    frechet_distance,
    generative_metrics,
    inception_score,
    kernel_distance,
    precision_recall,
    statistics,
)
from nastk.metrics.small_cnn import random_cnn
from nastk.records import Metric, MetricCard


class Images(torch.utils.data.Dataset[Tensor]):
    def __init__(self, images: Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return self.images[index]


def noise(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    source = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, shape, generator=source, dtype=torch.uint8)


@pytest.fixture(scope="module")
def theirs() -> Callable[[str, Any, Tensor, Tensor], dict[str, float]]:
    """torch-fidelity's own pipeline over one of our extractors."""
    import torch_fidelity
    from torch_fidelity.feature_extractor_base import FeatureExtractorBase

    def calculate(name: str, extractor: Any, fake: Tensor, real: Tensor) -> dict[str, float]:
        class Ours(FeatureExtractorBase):  # type: ignore[misc]
            def __init__(self, name: str, features: list[str], **_: Any) -> None:
                super().__init__(name, features)

            @staticmethod
            def get_provided_features_list() -> tuple[str, str]:
                return ("features", "logits")

            @staticmethod
            def get_default_feature_layer_for_metric(metric: str) -> str:
                return "logits" if metric == "isc" else "features"

            @staticmethod
            def can_be_compiled() -> bool:
                return False

            def forward(self, images: Tensor) -> tuple[Tensor, ...]:
                found = extractor.extract(images)
                return tuple(getattr(found, wanted) for wanted in self.features_list)

        torch_fidelity.register_feature_extractor(name, Ours)
        found: dict[str, float] = torch_fidelity.calculate_metrics(
            input1=Images(fake),
            input2=Images(real),
            feature_extractor=name,
            cuda=False,
            isc=True,
            fid=True,
            kid=True,
            prc=True,
            kid_subset_size=60,
            kid_subsets=20,
            isc_splits=5,
            cache=False,
            save_cpu_ram=True,  # the only way to a loader without worker processes
            verbose=False,
        )
        return found

    return calculate


def close(ours: float | None, other: float) -> bool:
    return ours is not None and math.isclose(ours, other, rel_tol=1e-6)


@pytest.mark.parametrize("streams", [False, True])
def test_values_equal_those_of_torch_fidelity_on_real_digits(
    open_digits: Callable[..., InMemoryDataset],
    fixed_extractor: Any,
    theirs: Any,
    monkeypatch: pytest.MonkeyPatch,
    streams: bool,
) -> None:
    if streams:  # moments and score from batches, all features kept
        monkeypatch.setattr(generative, "STREAM_FROM", 100)
    real = open_digits().split("train").images[:400]
    fake = (real[:300].float() * 0.6 + noise((300, 1, 16, 16)).float() * 0.4).to(torch.uint8)
    extractor = fixed_extractor(256)
    protocol = GenerativeProtocol(kid_subset_size=60, kid_subsets=20, isc_splits=5)
    ours = generative_metrics(
        gathered(extractor.extract(real)),
        gathered(extractor.extract(fake), splits=5),
        extractor,
        MetricCard(),
        protocol,
    )
    assert_equal(ours, theirs(f"nastk-fixed-{streams}", extractor, fake, real))


@pytest.mark.parametrize("streams", [False, True])
def test_the_whole_path_from_images_equals_torch_fidelity_on_the_same_classifier(
    open_digits: Callable[..., InMemoryDataset],
    theirs: Any,
    monkeypatch: pytest.MonkeyPatch,
    streams: bool,
) -> None:
    if streams:
        monkeypatch.setattr(generative, "STREAM_FROM", 100)
    data = open_digits()
    split = data.split("validation")
    fake = (data.split("train").images[:230].float() * 0.8).to(torch.uint8)
    config = EvaluatorConfig(
        extractor="small-cnn", kid_subset_size=60, kid_subsets=20, isc_splits=5
    )
    evaluator = StandardEvaluator(config, dataset=data, device="cpu")
    ours = evaluator.measure_images(torch.split(fake, 50), len(fake), split)
    name = f"nastk-small-{streams}"
    assert_equal(ours, theirs(name, evaluator.extractor, fake, split.images))


def assert_equal(ours: dict[str, Metric], found: dict[str, float]) -> None:
    assert close(ours["extractor_fd"].value, found["frechet_inception_distance"])
    assert close(ours["extractor_kid"].value, found["kernel_inception_distance_mean"])
    assert close(ours["extractor_kid"].spread, found["kernel_inception_distance_std"])
    assert close(ours["extractor_is"].value, found["inception_score_mean"])
    assert close(ours["extractor_is"].spread, found["inception_score_std"])
    assert close(ours["precision"].value, found["precision"])
    assert close(ours["recall"].value, found["recall"])
    assert close(ours["log_fd"].value, math.log(found["frechet_inception_distance"]))


def test_real_digits_are_nearer_to_real_digits_than_noise_is(
    open_digits: Callable[..., InMemoryDataset],
) -> None:
    extractor = random_cnn((1, 16, 16))
    images = open_digits().split("train").images
    real = statistics(extractor.features(images[::2]))
    other = statistics(extractor.features(images[1::2]))
    scattered = statistics(extractor.features(noise((500, 1, 16, 16))))
    near, far = frechet_distance(real, other), frechet_distance(real, scattered)
    assert 0 <= near < 0.05 * far


def test_streamed_moments_equal_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    source = torch.Generator().manual_seed(0)
    features = torch.randn(1000, 7, generator=source) * 3 + 100
    whole = statistics(features)
    monkeypatch.setattr(generative, "STREAM_FROM", 10)
    monkeypatch.setattr(generative, "CHUNK", 96)
    streamed = statistics(features)
    np.testing.assert_allclose(streamed["mu"], whole["mu"], rtol=1e-12)
    np.testing.assert_allclose(streamed["sigma"], whole["sigma"], rtol=1e-9)


def test_precision_and_recall_in_parts_equal_those_of_the_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = torch.Generator().manual_seed(0)
    real, fake = torch.randn(200, 5, generator=source), torch.randn(150, 5, generator=source) + 0.5
    whole = precision_recall(real, fake)
    monkeypatch.setattr(generative, "WHOLE_DISTANCES", 64)
    assert precision_recall(real, fake) == pytest.approx(whole, abs=1e-6)


def test_precision_falls_and_recall_stays_when_fakes_spread_out() -> None:
    source = torch.Generator().manual_seed(0)
    real = torch.randn(300, 4, generator=source)
    precision, recall = precision_recall(real, torch.randn(300, 4, generator=source) * 6)
    assert precision < 0.5 < recall


def test_inception_score_with_fewer_images_than_splits_is_refused() -> None:
    with pytest.raises(ConfigError, match="isc_splits: got 10, expected 1 to 4"):
        inception_score(torch.zeros(4, 3), 10)


def test_kernel_distance_with_fewer_images_than_a_subset_is_refused() -> None:
    with pytest.raises(ConfigError, match="kid_subset_size: got 50, expected 2 to 40"):
        kernel_distance(torch.zeros(40, 3), torch.zeros(60, 3), 50, 5)


def test_more_neighbours_than_images_are_refused() -> None:
    with pytest.raises(ConfigError, match="prc_neighbours"):
        precision_recall(torch.zeros(3, 2), torch.zeros(30, 2), 3)


def test_features_of_unlike_width_are_refused() -> None:
    with pytest.raises(ShapeError, match="widths 3 and 4"):
        frechet_distance(statistics(torch.rand(5, 3)), statistics(torch.rand(5, 4)))
    with pytest.raises(ShapeError, match="N >= 2"):
        statistics(torch.rand(1, 3))


def test_settings_are_cut_to_the_images_at_hand_and_the_cards_say_so(
    fixed_extractor: Any,
) -> None:
    extractor = fixed_extractor(16)
    real = gathered(extractor.extract(noise((25, 1, 4, 4))))
    fake = gathered(extractor.extract(noise((20, 1, 4, 4), seed=1)))
    found = generative_metrics(real, fake, extractor, MetricCard(), GenerativeProtocol())
    assert all(metric.value is not None for metric in found.values())
    assert found["extractor_kid"].card.extra["kid_subset_size"] == 20
    assert found["extractor_is"].card.extra["isc_splits"] == 2
    card = found["extractor_fd"].card
    assert (card.n_real, card.n_fake, card.extractor) == (25, 20, "fixed")
    assert card.weights == extractor.weights_hash


def test_only_what_is_wanted_is_computed(fixed_extractor: Any) -> None:
    extractor = fixed_extractor(16)
    real = gathered(extractor.extract(noise((25, 1, 4, 4))))
    fake = gathered(extractor.extract(noise((20, 1, 4, 4), seed=1)))
    wanted = frozenset({"extractor_kid"})
    found = generative_metrics(real, fake, extractor, MetricCard(), GenerativeProtocol(), wanted)
    assert set(found) == {"extractor_kid"}


@pytest.mark.parametrize(
    ("official", "n", "names"),
    [
        (True, 10_000, {"fid", "inception_score"}),
        (True, 9_999, {"extractor_fd", "extractor_is"}),
        (False, 10_000, {"extractor_fd", "extractor_is"}),
    ],
)
def test_only_official_inception_on_ten_thousand_images_is_called_fid(
    fixed_extractor: Any, official: bool, n: int, names: set[str]
) -> None:
    extractor = fixed_extractor(16, official=official)
    found = gathered(extractor.extract(noise((n, 1, 4, 4)), 5000))
    wanted = frozenset({"extractor_fd", "extractor_is"})
    metrics = generative_metrics(
        found, found, extractor, MetricCard(), GenerativeProtocol(), wanted
    )
    assert set(metrics) - {"log_fd"} == names
    assert all(metrics[name].name == name for name in metrics)


def test_both_real_and_generated_images_must_be_enough_for_a_plain_name(
    fixed_extractor: Any,
) -> None:
    extractor = fixed_extractor(16, official=True)
    assert earns_plain_name(extractor, 10_000, 10_000)
    assert not earns_plain_name(extractor, 9_999, 50_000)
    assert not earns_plain_name(extractor, 50_000, 9_999)


def test_an_extractor_without_logits_gives_no_inception_score() -> None:
    extractor = random_cnn((1, 16, 16))
    found = extractor.extract(noise((30, 1, 16, 16)))
    assert found.logits is None
    images = gathered(found)
    metrics = generative_metrics(images, images, extractor, MetricCard(), GenerativeProtocol())
    assert "extractor_is" not in metrics
