from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from nastk.data.content import content_hash
from nastk.data.resize import convert_channels, resize_images, resized
from nastk.dataset import Split
from nastk.errors import ShapeError

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(4, 4), (16, 12), (9, 20)])
def test_each_channel_is_resized_as_pillow_does(channels, size):
    images = RNG.integers(0, 256, (3, channels, 9, 7), dtype=np.uint8)
    out = resize_images(images, size)
    assert out.shape == (3, channels, *size)
    for image, got in zip(images, out, strict=True):
        for plane, got_plane in zip(image, got, strict=True):
            wanted = Image.fromarray(plane).resize(size[::-1], Image.Resampling.BILINEAR)
            assert np.array_equal(got_plane, np.asarray(wanted))


def test_tensor_and_array_give_the_same_pixels():
    images = RNG.integers(0, 256, (2, 3, 8, 8), dtype=np.uint8)
    out = resize_images(torch.from_numpy(images), 5)
    assert isinstance(out, torch.Tensor)
    assert np.array_equal(out.numpy(), resize_images(images, 5))


def test_same_size_returns_the_images_themselves():
    images = np.zeros((2, 1, 8, 8), np.uint8)
    assert resize_images(images, 8) is images


def test_resized_split_keeps_labels_and_has_its_own_content():
    images = torch.from_numpy(RNG.integers(0, 256, (4, 1, 8, 8), dtype=np.uint8))
    labels = torch.tensor([0, -1, 2, 1])
    split = Split("train", images, labels, content_hash(images, labels))
    small = resized(split, 4, 4)
    assert small.images.shape == (4, 1, 4, 4)
    assert torch.equal(small.labels, labels)
    assert small.content == content_hash(small.images, labels) != split.content
    assert resized(split, 8, 8).content == split.content


def test_rgb_becomes_grey_as_in_pillow_and_grey_becomes_equal_channels():
    rgb = RNG.integers(0, 256, (5, 3, 6, 6), dtype=np.uint8)
    grey = convert_channels(rgb, 1)
    for image, got in zip(rgb, grey, strict=True):
        wanted = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))).convert("L")
        assert np.array_equal(got[0], np.asarray(wanted))
    again = convert_channels(grey, 3)
    assert again.shape == rgb.shape
    assert (again == grey).all()
    assert convert_channels(grey, 1) is grey


@pytest.mark.parametrize(
    "images",
    [np.zeros((2, 8, 8), np.uint8), np.zeros((2, 1, 8, 8), np.float32), np.zeros((2, 2, 8, 8))],
)
def test_other_than_uint8_images_are_refused(images):
    with pytest.raises(ShapeError, match="expected uint8"):
        resize_images(images, 4)


def test_size_below_one_and_two_channels_are_refused():
    images = np.zeros((2, 1, 8, 8), np.uint8)
    with pytest.raises(ShapeError, match="got size 0x4"):
        resize_images(images, (0, 4))
    with pytest.raises(ShapeError, match="got 2 channels"):
        convert_channels(images, 2)
