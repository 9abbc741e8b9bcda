from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from attrs import evolve
from torch import Tensor, nn

from nastk.data.batches import to_float
from nastk.data.memory import InMemoryDataset
from nastk.dataset import SplitName
from nastk.errors import PairError, ShapeError, TrialError
from nastk.evaluator import Candidate
from nastk.metrics import evaluator as module
from nastk.metrics.cards import comparable
from nastk.metrics.config import METRICS, EvaluatorConfig
from nastk.metrics.evaluator import StandardEvaluator, standard
from nastk.objective import Scores
from nastk.randomness import Randomness
from nastk.records import Evaluation, canonical_json, from_json, to_json

QUICK = EvaluatorConfig(extractor="random-cnn", samples=60, kid_subset_size=20)


class Make(nn.Module):
    """A generator made of a function, with one parameter and a dropout."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.scale = nn.Parameter(torch.ones(()))
        self.dropout = nn.Dropout(0.9)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.dropout(self.function(x) * self.scale)
        return out


class Knowing:
    """Mixes the true images, batch after batch, with what it is given."""

    def __init__(self, real: Tensor, wrong: float) -> None:
        self.batches = iter(torch.split(real, module.CPU_BATCH))
        self.wrong = wrong

    def __call__(self, x: Tensor) -> Tensor:
        return next(self.batches) * (1 - self.wrong) + x * self.wrong


def copies(x: Tensor) -> Tensor:
    return x


def scatter(x: Tensor) -> Tensor:
    return x[:, :256].view(-1, 1, 16, 16).tanh()


@pytest.fixture
def digits_set(open_digits: Callable[..., InMemoryDataset]) -> InMemoryDataset:
    return open_digits()


def masked(candidate: Any, function: Callable[[Tensor], Tensor] = copies, **more: Any) -> Candidate:
    made: Candidate = candidate(Make(function), "image", (1, 16, 16), **more)
    return made


def latent(
    candidate: Any, function: Callable[[Tensor], Tensor] = scatter, **more: Any
) -> Candidate:
    made: Candidate = candidate(Make(function), "latent", (256,), **more)
    return made


def test_masked_inputs_give_every_metric_and_a_rating_by_the_referee(
    digits_set: InMemoryDataset, candidate: Any
) -> None:
    evaluator = standard(EvaluatorConfig(), dataset=digits_set, device="cpu")
    (found,) = evaluator.evaluate([masked(candidate)], "validation", Randomness(0))
    assert set(found.metrics) == set(METRICS) - {"accuracy"}
    entropy, hidden = found.value("class_cross_entropy"), found.value("masked_l1")
    assert entropy is not None
    assert hidden is not None
    assert found.value("rating") == entropy + hidden
    card = found.metrics["rating"].card
    assert card.extra["formula"] == "class_cross_entropy + masked_l1"
    assert card.extractor == "small-cnn-digits"
    assert card.extra["extractor_accuracy"] > 0.96
    assert card.extra["mask_size"] == 5
    assert card.n_fake == len(digits_set.split("validation"))
    assert all(m.name == name for name, m in found.metrics.items())
    assert from_json(Evaluation, json.loads(canonical_json(to_json(found)))).metrics == dict(
        found.metrics
    )


def test_better_completions_have_better_ratings(
    digits_set: InMemoryDataset, candidate: Any
) -> None:
    config = EvaluatorConfig(metrics=("masked_l1",))
    evaluator = standard(config, dataset=digits_set, device="cpu")
    real = to_float(digits_set.split("validation").images)
    ratings = []
    for wrong in (0.0, 0.4, 1.0):
        made = masked(candidate, Knowing(real, wrong))
        (found,) = evaluator.evaluate([made], "validation", Randomness(0))
        ratings.append(found.value("rating") or 0.0)
    assert ratings[0] < 0.9 * ratings[1] < 0.9**2 * ratings[2]


def test_latent_inputs_are_rated_by_the_log_distance(
    digits_set: InMemoryDataset, candidate: Any
) -> None:
    evaluator = standard(QUICK, dataset=digits_set, device="cpu")
    (found,) = evaluator.evaluate([latent(candidate)], "validation", Randomness(0))
    assert found.value("rating") == found.value("log_fd")
    distance = found.value("extractor_fd")
    assert distance is not None
    assert found.value("log_fd") == math.log(distance)
    assert not {"masked_l1", "psnr", "class_cross_entropy"} & set(found.metrics)
    assert found.metrics["extractor_fd"].card.n_fake == 60


def test_masked_inputs_without_labels_are_rated_by_distance_and_hidden_pixels(
    tensor_dataset: Any, digits_set: InMemoryDataset, candidate: Any
) -> None:
    images = digits_set.split("validation").images
    evaluator = standard(QUICK, dataset=tensor_dataset(images, None, 0), device="cpu")
    (found,) = evaluator.evaluate([masked(candidate)], "validation", Randomness(0))
    distance, hidden = found.value("log_fd"), found.value("masked_l1")
    assert distance is not None
    assert hidden is not None
    assert found.value("rating") == distance + hidden
    assert found.metrics["rating"].card.extra["formula"] == "log_fd + masked_l1"


def test_another_extractor_still_leaves_the_classifier_as_referee(
    digits_set: InMemoryDataset, candidate: Any
) -> None:
    evaluator = standard(QUICK, dataset=digits_set, device="cpu")
    (found,) = evaluator.evaluate([masked(candidate)], "validation", Randomness(0))
    assert found.metrics["extractor_fd"].card.extractor == "random-cnn"
    assert found.metrics["class_cross_entropy"].card.extractor == "small-cnn-digits"
    assert found.metrics["rating"].card.extractor == "small-cnn-digits"


def test_evaluating_twice_gives_the_same_and_advances_nothing(
    digits_set: InMemoryDataset, candidate: Any
) -> None:
    randomness = Randomness(5)
    before, world = randomness.state_dict(), torch.random.get_rng_state()
    evaluator = standard(QUICK, dataset=digits_set, device="cpu")
    pair = [latent(candidate), masked(candidate)]
    first = evaluator.evaluate(pair, "validation", randomness)
    second = evaluator.evaluate(pair[::-1], "validation", randomness)[::-1]
    assert [f.metrics for f in first] == [f.metrics for f in second]
    assert randomness.state_dict() == before
    assert torch.equal(torch.random.get_rng_state(), world)


def test_generators_run_in_eval_mode_and_get_their_mode_back(
    digits_set: InMemoryDataset, candidate: Any
) -> None:
    evaluator = standard(QUICK, dataset=digits_set, device="cpu")
    made = masked(candidate)
    assert made.generator is not None
    made.generator.train()
    (found,) = evaluator.evaluate([made], "validation", Randomness(0))
    assert made.generator.dropout.training  # type: ignore[union-attr]
    made.generator.eval()
    (again,) = evaluator.evaluate([made], "validation", Randomness(0))
    assert found.value("masked_l1") == again.value("masked_l1")


def test_images_that_are_not_finite_are_a_diverged_trial(
    digits_set: InMemoryDataset, candidate: Any
) -> None:
    def broken(x: Tensor) -> Tensor:
        return scatter(x).index_fill(3, torch.tensor([7]), math.nan)

    evaluator = standard(QUICK, dataset=digits_set, device="cpu")
    with pytest.raises(TrialError) as caught:
        evaluator.evaluate([latent(candidate, broken)], "validation", Randomness(0))
    assert caught.value.status == "diverged"


def test_images_of_other_channels_and_candidates_without_networks_are_refused(
    digits_set: InMemoryDataset, candidate: Any
) -> None:
    evaluator = standard(QUICK, dataset=digits_set, device="cpu")
    rgb = latent(candidate, lambda x: scatter(x).expand(-1, 3, -1, -1))
    with pytest.raises(ShapeError, match="32, 3, 16, 16"):
        evaluator.evaluate([rgb], "validation", Randomness(0))
    rgb.generator = None
    with pytest.raises(PairError, match="trained networks"):
        evaluator.evaluate([rgb], "validation", Randomness(0))


def test_smaller_images_are_compared_with_real_ones_made_as_small(
    digits_set: InMemoryDataset, candidate: Any
) -> None:
    evaluator = standard(QUICK, dataset=digits_set, device="cpu")
    small = latent(candidate, lambda x: scatter(x)[:, :, ::2, ::2])
    large = latent(candidate)
    a, b = evaluator.evaluate([small, large], "validation", Randomness(0))
    differences = comparable(a.metrics["rating"].card, b.metrics["rating"].card)
    assert {line.split(":")[0] for line in differences} == {"data", "image", "real_resizer"}


def test_changed_data_under_the_same_name_change_the_result(
    tensor_dataset: Any, digits_set: InMemoryDataset, candidate: Any
) -> None:
    dataset = tensor_dataset(digits_set.split("validation").images.clone(), None, 0)
    evaluator = standard(QUICK, dataset=dataset, device="cpu")
    made = [latent(candidate)]
    (first,) = evaluator.evaluate(made, "validation", Randomness(0))
    dataset.images[:50] = 255 - dataset.images[:50]
    (second,) = evaluator.evaluate(made, "validation", Randomness(0))
    assert first.value("extractor_fd") != second.value("extractor_fd")
    card_a, card_b = first.metrics["extractor_fd"].card, second.metrics["extractor_fd"].card
    assert [line.split(":")[0] for line in comparable(card_a, card_b)] == ["data"]


def test_real_features_are_extracted_once_per_data_and_weights(
    digits_set: InMemoryDataset, candidate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluator = standard(QUICK, dataset=digits_set, device="cpu")
    extractor, seen = evaluator.extractor, []
    original = extractor.extract

    def counted(images: Tensor, batch_size: int = 256) -> Any:
        seen.append(len(images))
        return original(images, batch_size)

    monkeypatch.setattr(extractor, "extract", counted)
    names: tuple[SplitName, ...] = ("validation", "validation", "train")
    for name in names:
        evaluator.evaluate([latent(candidate)] * 2, name, Randomness(0))
    real = len(digits_set.split("validation")) + len(digits_set.split("train"))
    assert sum(seen) == real + 6 * QUICK.samples


def test_the_discriminators_class_head_is_scored_on_real_images(
    digits_set: InMemoryDataset, candidate: Any
) -> None:
    labels = digits_set.split("validation").labels

    class Knows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.place = 0

        def forward(self, images: Tensor) -> Scores:
            assert not self.training
            mine = labels[self.place : self.place + len(images)]
            self.place += len(images)
            logits = nn.functional.one_hot(mine, 11).float()
            logits[: len(images) // 2] = logits[: len(images) // 2].roll(1, dims=1)
            logits[:, 10] = 5.0
            return Scores(images.mean(dim=1), logits)

    evaluator = standard(QUICK, dataset=digits_set, device="cpu")
    made = latent(candidate, discriminator=Knows())
    (found,) = evaluator.evaluate([made], "validation", Randomness(0))
    assert found.value("accuracy") == pytest.approx(0.5, abs=0.06)
    assert found.metrics["accuracy"].card.n_real == len(labels)
    plain = latent(candidate, discriminator=nn.Flatten())
    (found,) = evaluator.evaluate([plain], "validation", Randomness(0))
    assert "accuracy" not in found.metrics


def test_only_wanted_metrics_come_back_and_always_the_rating(
    digits_set: InMemoryDataset, candidate: Any
) -> None:
    config = evolve(QUICK, metrics=("parameters", "psnr"))
    evaluator = standard(config, dataset=digits_set, device="cpu")
    a, b = evaluator.evaluate([masked(candidate), latent(candidate)], "train", Randomness(0))
    assert set(a.metrics) == {"rating", "parameters", "psnr"}
    assert set(b.metrics) == {"rating", "parameters"}
    assert a.value("parameters") == 1


def test_a_search_that_rates_by_class_extracts_no_distance_it_was_not_asked_for(
    digits_set: InMemoryDataset, candidate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "generative_metrics", lambda *_: pytest.fail("computed"))
    config = EvaluatorConfig(metrics=("masked_l1",))
    evaluator = standard(config, dataset=digits_set, device="cpu")
    (found,) = evaluator.evaluate([masked(candidate)], "validation", Randomness(0))
    assert set(found.metrics) == {"rating", "masked_l1"}


def test_a_final_evaluation_has_its_own_number_of_samples_and_may_be_timed(
    digits_set: InMemoryDataset, candidate: Any
) -> None:
    config = evolve(QUICK, latency=True, latency_repeats=2)
    evaluator = standard(config, dataset=digits_set, device="cpu")
    (before,) = evaluator.evaluate([latent(candidate)], "validation", Randomness(0))
    (found,) = evaluator.evaluate([latent(candidate, extra={"samples": 80})], "test", Randomness(0))
    assert before.metrics["extractor_fd"].card.n_fake == 60
    assert found.metrics["extractor_fd"].card.n_fake == 80
    assert "latency_p50_ms" not in before.metrics
    assert {"latency_p50_ms", "latency_p95_ms"} <= set(found.metrics)


def test_the_card_says_which_weights_the_generator_holds(
    digits_set: InMemoryDataset, candidate: Any
) -> None:
    evaluator = standard(QUICK, dataset=digits_set, device="cpu")
    made = [latent(candidate, weights="ema"), latent(candidate)]
    a, b = evaluator.evaluate(made, "validation", Randomness(0))
    lines = comparable(a.metrics["rating"].card, b.metrics["rating"].card)
    assert lines == ["weights_kind: ema against live"]


def test_fewer_reference_images_are_spread_over_the_split(
    tensor_dataset: Any, digits_set: InMemoryDataset
) -> None:
    images = digits_set.split("validation").images
    dataset = tensor_dataset(images, None, 0)
    evaluator = StandardEvaluator(evolve(QUICK, real_samples=10), dataset=dataset, device="cpu")
    found = evaluator._reference(dataset.split("validation")).features
    spread = images[torch.arange(10) * len(images) // 10]
    torch.testing.assert_close(found, evaluator.extractor.features(spread))


def test_a_supernets_active_path_is_counted_as_its_derived_network(
    digits_set: InMemoryDataset,
) -> None:
    import numpy as np

    from nastk.nn.choice import build, build_derived
    from nastk.records import Architecture, Task
    from nastk_blockwise.config import SpaceConfig
    from nastk_blockwise.space import StasganSpace

    space = StasganSpace(SpaceConfig(generator_width=4), task=Task((1, 16, 16), 10, 11))
    choices = dict(space.sample(np.random.default_rng(0)).choices)
    with Randomness(0).scoped("init"):
        supernet = build(space, "generator", {})
        derived = build_derived(space, "generator", choices)
    supernet.activate(choices)
    evaluator = standard(
        EvaluatorConfig(metrics=("parameters", "macs")), dataset=digits_set, device="cpu"
    )
    architecture = Architecture(space.name, choices)
    made = [Candidate(architecture, space, network) for network in (supernet, derived)]
    a, b = evaluator.evaluate(made, "validation", Randomness(0))
    assert a.value("parameters") == b.value("parameters")
    assert a.value("macs") == b.value("macs")
    assert a.value("parameters") < sum(p.numel() for p in supernet.parameters())  # type: ignore[operator]
