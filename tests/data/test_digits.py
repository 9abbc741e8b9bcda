from __future__ import annotations

import sys

import pytest
import torch

from nastk.data.config import DigitsConfig
from nastk.data.digits import digits
from nastk.errors import DataError


def load(seed=0, **settings):
    return digits(DigitsConfig(**settings), seed=seed, device="cpu")


def test_digits_are_1797_grey_16x16_images_of_ten_classes():
    data = load()
    sizes = [len(data.split(name)) for name in ("train", "validation")] + [len(data.split("test"))]
    assert data.shape == (1, 16, 16)
    assert data.classes == 10
    assert sum(sizes) == 1797
    assert sizes == pytest.approx([0.6 * 1797, 0.15 * 1797, 0.25 * 1797], abs=8)


def test_pixels_use_the_whole_range_and_classes_are_even():
    train = load(image_size=None).split("train")
    assert train.images.shape[1:] == (1, 8, 8)
    assert (train.images.min(), train.images.max()) == (0, 255)
    counts = train.labels.bincount()
    assert counts.max() - counts.min() <= 10


def test_nearest_class_mean_reads_most_test_digits():
    # Labels still belong to their images after splitting, shuffling and resizing.
    data = load()
    train, test = data.split("train"), data.split("test")
    means = torch.stack(
        [train.images[train.labels == c].float().mean(0).flatten() for c in range(10)]
    )
    guess = torch.cdist(test.images.float().flatten(1), means).argmin(1)
    assert (guess == test.labels).float().mean() > 0.85


def test_seed_decides_the_splits_and_rgb_is_on_request():
    assert load(seed=1).content == load(seed=1).content != load(seed=2).content
    assert load(channels=3).shape == (3, 16, 16)


def test_missing_scikit_learn_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(DataError, match=r"pip install 'nastk\[digits\]'"):
        load()
