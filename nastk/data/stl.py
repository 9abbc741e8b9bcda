"""STL-10, from its binary files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nastk.data.config import Stl10Config
from nastk.data.files import damaged, fetch, missing, read_bytes
from nastk.data.memory import InMemoryDataset, Source, load
from nastk.data.resize import resize_images
from nastk.dataset import HIDDEN

SIDE = 96
_NAMES = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")


def stl10(config: Stl10Config, *, seed: int, device: str) -> InMemoryDataset:
    """Return STL-10: 5,000 and 8,000 96x96 RGB photographs, 10 classes.

    Looked for in ``ROOT/stl10_binary``. With ``unlabelled`` its 100,000 images without labels
    join the training split (2.8 GB unless resized).

    Raises:
        DataError: a file is missing or damaged.

    Source:
        Coates et al. 2011, An analysis of single-layer networks in unsupervised feature learning.
    """

    def download() -> None:
        from torchvision.datasets import STL10

        STL10(config.root, download=True)

    fetch("stl10", config, download)
    folder = Path(config.root) / "stl10_binary"
    images, labels = _labelled(folder, "train", config.image_size)
    test_images, test_labels = _labelled(folder, "test", config.image_size)
    if config.unlabelled:
        extra = _images(folder / "unlabeled_X.bin", config.image_size)
        images = np.concatenate([images, extra])
        labels = np.concatenate([labels, np.full(len(extra), HIDDEN)])
    source = Source(images, labels, _NAMES, test_images, test_labels)
    return load("stl10", source, config, seed=seed, device=device)


def _labelled(
    folder: Path, part: str, size: int | None
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    images = _images(folder / f"{part}_X.bin", size)
    path = folder / f"{part}_y.bin"
    labels = _bytes(path).astype(np.int64) - 1
    if len(labels) != len(images):
        raise damaged("stl10", path, f"got {len(labels)} labels for {len(images)} images")
    if labels.min() < 0 or labels.max() >= len(_NAMES):
        raise damaged("stl10", path, "got labels outside 1 to 10")
    return images, labels


def _images(path: Path, size: int | None) -> NDArray[np.uint8]:
    data = _bytes(path)
    if data.size == 0 or data.size % (3 * SIDE * SIDE):
        raise damaged(
            "stl10", path, f"got {data.size} bytes, expected a multiple of {3 * SIDE * SIDE}"
        )
    # The files hold each image column by column.
    images: NDArray[np.uint8] = data.reshape(-1, 3, SIDE, SIDE).transpose(0, 1, 3, 2)
    if size is not None:
        images = resize_images(images, int(size))
    return images


def _bytes(path: Path) -> NDArray[np.uint8]:
    if not path.is_file():
        raise missing("stl10", path.name, [path.parent])
    return read_bytes("stl10", path)
