from __future__ import annotations

import numpy as np
import pytest
import torch

from nastk.data.config import DigitsConfig
from nastk.data.memory import InMemoryDataset, Source, load
from nastk.data.splits import Shares
from nastk.dataset import HIDDEN
from nastk.errors import DataError, ShapeError


def keys(split):
    return {bytes(image.numpy()) for image in split.images}


def test_splits_hold_each_image_once_with_its_own_label(source):
    raw = source([20, 30, 10])
    truth = {bytes(i): c for i, c in zip(raw.images, raw.labels, strict=True)}
    data = InMemoryDataset("toy", raw)
    seen = [data.split(name) for name in ("train", "validation", "test")]
    assert sum(len(keys(s)) for s in seen) == len(set.union(*map(keys, seen))) == 60
    for split in seen:
        for image, label in zip(split.images, split.labels, strict=True):
            assert truth[bytes(image.numpy())] == label


def test_tensors_are_uint8_images_and_int64_labels(source):
    data = InMemoryDataset("toy", source([9, 9]))
    split = data.split("train")
    assert split.images.dtype == torch.uint8
    assert split.labels.dtype == torch.int64
    assert split.images.shape[1:] == data.shape == (1, 4, 4)
    assert (data.classes, data.class_names) == (2, ("class 0", "class 1"))


def test_label_budget_hides_training_labels_only(source):
    full = InMemoryDataset("toy", source([100, 100]))
    tenth = InMemoryDataset("toy", source([100, 100]), shares=Shares(labels=0.1))
    train, whole = tenth.split("train"), full.split("train")
    assert torch.equal(train.images, whole.images)
    shown = train.labels != HIDDEN
    assert int(shown.sum()) == 12
    assert torch.equal(train.labels[shown], whole.labels[shown])
    for name in ("validation", "test"):
        a, b = tenth.split(name), full.split(name)
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.labels, b.labels)
        assert (a.labels >= 0).all()


def test_test_split_opens_once(source):
    data = InMemoryDataset("toy", source([9, 9]))
    assert len(data.split("test")) == 4
    with pytest.raises(DataError, match=r"already opened.*one final evaluation"):
        data.split("test")
    assert len(data.split("train")) == len(data.split("train"))


def test_official_test_set_is_the_test_split(source):
    raw = source([10, 10], official=6)
    data = InMemoryDataset("toy", raw)
    test = data.split("test")
    assert keys(test) == {bytes(i) for i in raw.test_images}
    truth = {bytes(i): c for i, c in zip(raw.test_images, raw.test_labels, strict=True)}
    assert [truth[bytes(i.numpy())] for i in test.images] == test.labels.tolist()
    assert len(data.split("train")) + len(data.split("validation")) == 20


def test_set_without_labels_has_hidden_ones_everywhere(source):
    data = InMemoryDataset("toy", Source(source([30]).images))
    assert (data.classes, data.class_names) == (0, ())
    for name in ("train", "validation", "test"):
        assert (data.split(name).labels == HIDDEN).all()


def test_content_depends_on_pixels_labels_seed_and_budget(source):
    def content(seed=0, labels=1.0, change=None):
        raw = source([20, 20])
        if change == "pixel":
            raw.images[7, 0, 3, 3] ^= 1
        if change == "label":
            raw.labels[:1] = 1
        shares = Shares(labels=labels)
        return InMemoryDataset("toy", raw, shares=shares, seed=seed).content

    different = [content(), content(seed=1), content(labels=0.5), content(change="pixel")]
    different.append(content(change="label"))
    assert len(set(different)) == len(different)
    assert content() == content()
    assert len(content()) == 12


def test_content_of_a_split_depends_on_its_own_images_and_visible_labels(source):
    full = InMemoryDataset("toy", source([20, 20]))
    half = InMemoryDataset("toy", source([20, 20]), shares=Shares(labels=0.5))
    assert full.split("train").content != half.split("train").content
    assert full.split("validation").content == half.split("validation").content


def test_device_argument_beats_the_device_of_the_set(source):
    data = InMemoryDataset("toy", source([9, 9]), device="meta")
    assert data.split("train").images.device.type == "meta"
    assert data.split("train", "cpu").images.device.type == "cpu"
    assert data.split("test", "cpu").images.device.type == "cpu"


def test_repeated_calls_share_their_tensors(source):
    data = InMemoryDataset("toy", source([9, 9]))
    assert data.split("train").images is data.split("train").images


def test_unknown_split_is_refused_with_the_nearest(source):
    with pytest.raises(DataError, match=r"no split is named 'trian'.*'train'"):
        InMemoryDataset("toy", source([9])).split("trian")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"labels": np.arange(17)}, ShapeError, "labels of shape"),
        ({"labels": np.full(18, 2)}, DataError, "labels from 2 to 2, expected -1 to 1"),
        ({"images": np.zeros((18, 1, 4, 4), np.float32)}, ShapeError, "expected uint8"),
        ({"images": np.zeros((18, 4, 4), np.uint8)}, ShapeError, "expected uint8"),
        ({"labels": None}, ShapeError, "classes without labels"),
        ({"test_images": np.zeros((2, 3, 4, 4), np.uint8)}, ShapeError, "as in the pool"),
        ({"test_images": np.zeros((2, 1, 4, 4), np.uint8)}, ShapeError, "test set has no labels"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(source, change, error, message):
    raw = source([9, 9])
    fields = {"images": raw.images, "labels": raw.labels, "class_names": raw.class_names}
    if "test_images" in change:
        fields["test_labels"] = None if "no labels" in message else np.zeros(2, int)
    with pytest.raises(error, match=message):
        InMemoryDataset("toy", Source(**{**fields, **change}))


def test_label_budget_for_a_set_without_labels_is_refused(source):
    with pytest.raises(DataError, match=r"label budget of 0\.1, but it has no labels"):
        InMemoryDataset("toy", Source(source([30]).images), shares=Shares(labels=0.1))


def test_small_class_is_reported_with_the_name_of_the_set(source):
    with pytest.raises(DataError, match="data set 'toy': class 1 has 2 images"):
        InMemoryDataset("toy", source([9, 2]))


def test_load_applies_size_channels_and_shares(source):
    config = DigitsConfig(image_size=8, channels=3, validation=0.2, test=0.3, labels=0.5)
    data = load("toy", source([50, 50]), config, seed=0, device="cpu")
    assert data.shape == (3, 8, 8)
    assert [len(data.split(n)) for n in ("train", "validation", "test")] == [50, 20, 30]
