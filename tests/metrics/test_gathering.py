"""What is gathered batch by batch is what all images together would give, in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from nastk.data.memory import InMemoryDataset
from nastk.errors import ShapeError
from nastk.metrics import gathering, generative
from nastk.metrics.config import EvaluatorConfig
from nastk.metrics.evaluator import StandardEvaluator
from nastk.metrics.extractors import Extracted
from nastk.metrics.gathering import Gathered, Gathering, gathered
from nastk.metrics.generative import GenerativeProtocol, generative_metrics
from nastk.metrics.moments import Moments
from nastk.randomness import Randomness
from nastk.records import MetricCard


def found(n: int, seed: int = 0) -> Extracted:
    source = torch.Generator().manual_seed(seed)
    features = torch.randn(n, 7, generator=source) * 3 + 100
    return Extracted(features, torch.randn(n, 5, generator=source) * 4)


def in_batches(what: Extracted, size: int, splits: int = 1) -> Gathered:
    gathering = Gathering(len(what.features), splits)
    assert what.logits is not None
    for i in range(0, len(what.features), size):
        gathering.add(Extracted(what.features[i : i + size], what.logits[i : i + size]))
    return gathering.done()


@pytest.fixture
def streaming(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generative, "STREAM_FROM", 100)
    monkeypatch.setattr(gathering, "KEPT", 60)


def test_few_images_are_held_as_they_came() -> None:
    what = found(50)
    held = in_batches(what, 16)
    assert torch.equal(held.features, what.features)
    whole = gathered(what)
    assert held.score(3) == whole.score(3)
    np.testing.assert_array_equal(held.statistics["sigma"], whole.statistics["sigma"])


def test_moments_and_score_of_many_images_are_those_of_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    what = found(1003)
    whole = gathered(what)
    monkeypatch.setattr(generative, "STREAM_FROM", 100)
    streamed = in_batches(what, 64, splits=10)
    np.testing.assert_allclose(streamed.statistics["mu"], whole.statistics["mu"], rtol=1e-12)
    np.testing.assert_allclose(streamed.statistics["sigma"], whole.statistics["sigma"], rtol=1e-9)
    mine, theirs = streamed.score(10), whole.score(10)
    assert mine is not None
    assert mine == pytest.approx(theirs, rel=1e-10)


def test_a_score_with_a_probability_of_zero_is_a_number() -> None:
    logits = torch.full((20, 3), -2000.0)
    logits[:, 0] = 2000.0
    scores = gathering.SplitScores(20, 2)
    scores.add(logits)
    assert scores.score(2) == (1.0, 0.0)


@pytest.mark.usefixtures("streaming")
def test_of_many_images_evenly_spaced_features_are_kept() -> None:
    what = found(240)
    held = in_batches(what, 17)
    assert held.count == 240
    assert torch.equal(held.features, what.features[::4])


@pytest.mark.usefixtures("streaming")
def test_cards_say_how_many_images_each_distance_has_seen(fixed_extractor: Any) -> None:
    real, fake = in_batches(found(240), 32, 10), in_batches(found(180, seed=1), 32, 10)
    metrics = generative_metrics(
        real, fake, fixed_extractor(16), MetricCard(), GenerativeProtocol()
    )
    seen = {name: (m.card.n_real, m.card.n_fake) for name, m in metrics.items()}
    assert seen["extractor_fd"] == (240, 180)
    assert seen["extractor_is"] == (0, 180)
    assert seen["extractor_kid"] == seen["precision"] == seen["recall"] == (60, 60)


def test_more_or_fewer_images_than_announced_are_refused() -> None:
    gathering = Gathering(10)
    gathering.add(found(6))
    with pytest.raises(ShapeError, match="got 6, expected 10"):
        gathering.done()
    with pytest.raises(ShapeError, match="got 12 so far, expected 10"):
        gathering.add(found(6))


@pytest.mark.usefixtures("streaming")
def test_a_score_for_other_splits_than_announced_is_refused() -> None:
    with pytest.raises(ShapeError, match="got 5 splits, expected 2"):
        in_batches(found(150), 50, splits=2).score(5)


def test_moments_refuse_rows_of_another_width_and_too_few() -> None:
    moments = Moments()
    moments.add(torch.zeros(1, 3))
    with pytest.raises(ShapeError, match="at least 2"):
        moments.statistics()
    with pytest.raises(ShapeError, match=r"got \(2, 4\)"):
        moments.add(torch.zeros(2, 4))


# -- memory ------------------------------------------------------------------------------------


@contextmanager
def live_bytes() -> Iterator[list[int]]:
    """Give the greatest number of bytes that tensors held at once, beyond those before."""
    peak: list[int] = []
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        yield peak
    now = most = 0
    assert profiler.profiler is not None
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    for event in sorted(events, key=lambda e: e.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    assert most > 0
    peak.append(most)


class Scatter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return (x.repeat(1, 64).view(-1, 1, 16, 16) * self.scale).tanh()


def test_memory_does_not_grow_with_the_number_of_images(
    open_digits: Callable[..., InMemoryDataset],
    candidate: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(generative, "STREAM_FROM", 100)
    monkeypatch.setattr(gathering, "KEPT", 64)
    config = EvaluatorConfig(
        extractor="random-cnn", batch_size=32, kid_subset_size=20, kid_subsets=2, real_samples=100
    )
    evaluator = StandardEvaluator(config, dataset=open_digits(), device="cpu")
    split = open_digits().split("validation")
    made = candidate(Scatter(), "latent", (4,), extra={"samples": 200})
    evaluator.measure(made, split, Randomness(0))  # what is made once is made
    peaks = {}
    for n in (400, 3200):
        made.extra = {"samples": n}
        with live_bytes() as peak:
            metrics = evaluator.measure(made, split, Randomness(0))
        assert metrics["extractor_fd"].card.n_fake == n
        peaks[n] = peak[0]
    latents, split_of = 4 * 4, 8
    more = (3200 - 400) * (latents + 2 * split_of)
    assert peaks[3200] - peaks[400] <= more
    pixels = (3200 - 400) * 16 * 16
    features = (3200 - 400) * evaluator.extractor.width * 4
    assert more < min(pixels, features) / 4  # the bound would see either of them held


def test_streamed_numbers_of_a_candidate_are_those_of_the_whole(
    open_digits: Callable[..., InMemoryDataset], candidate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = EvaluatorConfig(samples=300, kid_subset_size=20, kid_subsets=2)
    made = candidate(Scatter(), "latent", (4,))
    data = open_digits()
    values = []
    for limit in (100_000, 100):
        monkeypatch.setattr(generative, "STREAM_FROM", limit)
        evaluator = StandardEvaluator(config, dataset=data, device="cpu")
        (evaluation,) = evaluator.evaluate([made], "validation", Randomness(0))
        values.append(evaluation)
    whole, streamed = values
    for name in ("extractor_fd", "extractor_is", "extractor_kid", "precision", "recall"):
        a, b = whole.value(name), streamed.value(name)
        assert a is not None
        assert b is not None
        assert math.isclose(a, b, rel_tol=1e-8), name
