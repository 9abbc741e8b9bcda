"""Copies of training images are found, and unseen real images raise no alarm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from nastk.data.memory import InMemoryDataset
from nastk.errors import ShapeError
from nastk.metrics import neighbours as module
from nastk.metrics.neighbours import SHOWN, nearest, neighbours
from nastk.metrics.small_cnn import SmallExtractor, random_cnn


@pytest.fixture
def extractor() -> SmallExtractor:
    return random_cnn((1, 16, 16))


@pytest.fixture
def images(open_digits: Callable[..., InMemoryDataset]) -> dict[str, Tensor]:
    data = open_digits()
    return {name: data.split(name).images for name in ("train", "validation", "test")}


def test_unseen_real_images_raise_no_alarm(
    extractor: SmallExtractor, images: dict[str, Tensor]
) -> None:
    found = neighbours(extractor, images["validation"], images["test"], images["train"])
    assert found.verdict.startswith("no sign of memorising")
    for near in (found.features, found.pixels):
        assert 0.4 < near.nearer < 0.6
        assert near.nearest < 0.12


def test_training_images_handed_out_again_are_found_exactly(
    extractor: SmallExtractor, images: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK", 100)  # they lie in different chunks
    chosen = torch.arange(0, 1000, 7)
    found = neighbours(extractor, images["train"][chosen], images["test"], images["train"])
    for near in (found.features, found.pixels):
        assert near.alarming
        assert near.nearer == near.nearest == 1
        assert float(near.generated.distance.max()) == 0
        copies = images["train"][near.generated.index]
        assert torch.equal(copies, images["train"][chosen])
    assert "memorised" in found.verdict


def test_altered_copies_are_found_in_both_senses(
    extractor: SmallExtractor, images: dict[str, Tensor]
) -> None:
    darker = (images["train"][:200].float() * 0.9).to(torch.uint8)
    found = neighbours(extractor, darker, images["test"], images["train"])
    assert found.features.alarming
    assert found.pixels.alarming


def test_noise_raises_no_alarm(extractor: SmallExtractor, images: dict[str, Tensor]) -> None:
    source = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (100, 1, 16, 16), generator=source, dtype=torch.uint8)
    found = neighbours(extractor, noise, images["test"], images["train"])
    assert found.facts()["alarming"] is False
    assert found.pixels.nearest == found.features.nearest == 0


def test_sheet_shows_the_nearest_first_each_with_its_neighbours(
    extractor: SmallExtractor, images: dict[str, Tensor]
) -> None:
    mixed = torch.cat([images["validation"][:50], images["train"][:10]])
    found = neighbours(extractor, mixed, images["test"], images["train"])
    sheet = found.sheet()
    assert sheet.shape == (3 * SHOWN, 1, 16, 16)
    rows = sheet.view(SHOWN, 3, 1, 16, 16)
    assert {bytes(r[0].numpy()) for r in rows[:10]} == {
        bytes(image.numpy()) for image in images["train"][:10]
    }
    assert torch.equal(rows[:10, 0], rows[:10, 1])
    assert torch.equal(rows[:10, 0], rows[:10, 2])
    distance = found.features.generated.distance.sort().values[:SHOWN]
    shown = extractor.features(rows[:, 0]) - extractor.features(rows[:, 1])
    torch.testing.assert_close(shown.double().norm(dim=1), distance, atol=1e-6, rtol=1e-4)


def test_pixel_distances_are_root_mean_squares_of_levels(
    extractor: SmallExtractor, images: dict[str, Tensor]
) -> None:
    train = torch.full((3, 1, 16, 16), 100, dtype=torch.uint8)
    found = neighbours(extractor, train[:1] + 7, images["test"], train)
    assert float(found.pixels.generated.distance) == pytest.approx(7.0)


def test_the_first_of_equal_neighbours_is_named() -> None:
    rows = torch.tensor([[1.0], [3.0], [3.0], [1.0]])
    found = nearest(torch.tensor([[1.0], [2.9]]), iter(torch.split(rows, 2)))
    assert found.index.tolist() == [0, 1]


def test_images_of_unlike_size_are_refused(extractor: Any, images: dict[str, Tensor]) -> None:
    with pytest.raises(ShapeError, match="expected one size"):
        neighbours(extractor, images["train"][:, :, ::2], images["test"], images["train"])
