from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from attrs import evolve

from nastk.data.memory import InMemoryDataset
from nastk.errors import PairError
from nastk.metrics import cache, small_cnn
from nastk.metrics.paired import accuracy
from nastk.metrics.small_cnn import Recipe, random_cnn, small_classifier

QUICK = Recipe(min_steps=3, max_steps=3)


@pytest.fixture
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NASTK_CACHE", str(tmp_path))
    return tmp_path / "extractors"


def test_it_reads_real_digits_and_its_facts_say_how_well(
    open_digits: Callable[..., InMemoryDataset],
) -> None:
    dataset = open_digits()
    extractor = small_classifier(dataset)
    validation = dataset.split("validation")
    found = extractor.extract(validation.images)
    assert found.logits is not None
    value = accuracy(found.logits, validation.labels, 10)
    assert value is not None
    assert value >= 0.96
    assert extractor.facts == {
        "extractor_labels": len(dataset.split("train")),
        "extractor_accuracy": pytest.approx(value),
    }
    assert extractor.name == "small-cnn-digits"
    assert (extractor.width, extractor.classes) == (96, 10)


def test_the_same_data_give_the_same_weights_whatever_the_global_seed(
    open_digits: Callable[..., InMemoryDataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes = set()
    for i in range(2):
        monkeypatch.setenv("NASTK_CACHE", str(tmp_path / str(i)))
        torch.manual_seed(i)
        before = torch.random.get_rng_state()
        hashes.add(small_classifier(open_digits(), recipe=QUICK).weights_hash)
        assert torch.equal(torch.random.get_rng_state(), before)
    assert len(hashes) == 1


def test_it_learns_from_visible_labels_only(
    open_digits: Callable[..., InMemoryDataset], fresh_cache: Path
) -> None:
    dataset = open_digits(labels=0.1)
    visible = int((dataset.split("train").labels >= 0).sum())
    extractor = small_classifier(dataset, recipe=QUICK)
    assert extractor.facts["extractor_labels"] == visible < 200
    whole = small_classifier(open_digits(), recipe=QUICK)
    assert extractor.weights_hash != whole.weights_hash


def test_data_with_no_visible_label_at_all_are_refused(
    tensor_dataset: Any, fresh_cache: Path
) -> None:
    dataset = tensor_dataset(torch.zeros(4, 1, 8, 8, dtype=torch.uint8), None, 3)
    with pytest.raises(PairError, match="visible label"):
        small_classifier(dataset)


def test_it_is_trained_once_and_then_read_from_the_cache(
    open_digits: Callable[..., InMemoryDataset],
    fresh_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = small_classifier(open_digits(), recipe=QUICK)
    monkeypatch.setattr(small_cnn, "_fit", lambda *_: pytest.fail("trained again"))
    again = small_classifier(open_digits(), recipe=QUICK)
    assert again.weights_hash == first.weights_hash
    assert list(again.facts.items()) == list(first.facts.items()), "cards are written in this order"
    images = open_digits().split("validation").images
    assert torch.equal(first.features(images), again.features(images))


def test_another_recipe_is_another_entry(
    open_digits: Callable[..., InMemoryDataset], fresh_cache: Path
) -> None:
    first = small_classifier(open_digits(), recipe=QUICK)
    second = small_classifier(open_digits(), recipe=evolve(QUICK, rate=1e-4))
    assert first.weights_hash != second.weights_hash


@pytest.mark.parametrize("damage", ["flip", "cut", "no-json", "other-json", "other-tensors"])
def test_a_damaged_cache_is_made_anew(
    open_digits: Callable[..., InMemoryDataset], fresh_cache: Path, damage: str
) -> None:
    first = small_classifier(open_digits(), recipe=QUICK)
    (weights,) = fresh_cache.glob("*.safetensors")
    (facts,) = fresh_cache.glob("*.json")
    data, written = weights.read_bytes(), facts.read_bytes()
    if damage == "flip":
        weights.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif damage == "cut":
        weights.write_bytes(data[:100])
    elif damage == "no-json":
        facts.write_text("{")
    elif damage == "other-json":
        facts.write_text(json.dumps({**json.loads(facts.read_text()), "schema": 99}))
    else:
        cache.save(facts.stem, cache.Entry({"alien": torch.zeros(3)}, {}))
    again = small_classifier(open_digits(), recipe=QUICK)
    assert again.weights_hash == first.weights_hash
    assert weights.read_bytes() == data
    assert facts.read_bytes() == written


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(
    open_digits: Callable[..., InMemoryDataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("NASTK_CACHE", str(tmp_path / "file"))
    extractor = small_classifier(open_digits(), recipe=QUICK)
    assert extractor.features(open_digits().split("train").images[:3]).shape == (3, 96)


def test_saving_leaves_no_temporary_files(fresh_cache: Path) -> None:
    cache.save("key", cache.Entry({"a": torch.ones(2)}, {"n": 1}))
    assert sorted(p.name for p in fresh_cache.iterdir()) == ["key.json", "key.safetensors"]
    entry = cache.load("key")
    assert entry is not None
    assert torch.equal(entry.tensors["a"], torch.ones(2))
    assert entry.facts == {"n": 1}
    assert cache.load("other") is None


@pytest.mark.parametrize(
    ("shape", "resizer"),
    [
        ((3, 8, 8), "bilinear-antialias-8x8"),
        ((1, 28, 28), "bilinear-antialias-28x28"),
        ((3, 96, 64), "bilinear-antialias-32x21"),
    ],
)
def test_images_of_any_size_fit_and_the_resizer_says_to_what(
    shape: tuple[int, int, int], resizer: str
) -> None:
    extractor = random_cnn(shape)
    assert extractor.resizer == resizer
    assert extractor.features(torch.zeros(2, *shape, dtype=torch.uint8)).shape == (2, 96)
    halved = torch.zeros(2, shape[0], shape[1] // 2, shape[2] // 2, dtype=torch.uint8)
    assert extractor.features(halved).shape == (2, 96)


def test_shifted_images_keep_their_pixels_and_move_at_most_a_sixteenth() -> None:
    image = torch.arange(32.0).expand(1, 1, 32, 32)
    moved = small_cnn._shifted(image.expand(50, -1, -1, -1), torch.Generator().manual_seed(0))
    offsets = (moved - image)[:, 0, :, 8]
    assert {float(o) for o in offsets.flatten()} == {-2.0, -1.0, 0.0, 1.0, 2.0}


def test_the_random_network_is_the_same_in_every_run() -> None:
    torch.manual_seed(1)
    first = random_cnn((1, 16, 16)).weights_hash
    torch.manual_seed(2)
    assert random_cnn((1, 16, 16)).weights_hash == first
