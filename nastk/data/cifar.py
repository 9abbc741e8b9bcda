"""CIFAR-10 and CIFAR-100, from the binary version (plain bytes) or the Python version (pickles)."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nastk.data.config import DownloadConfig
from nastk.data.files import damaged, fetch, missing, read_bytes
from nastk.data.memory import InMemoryDataset, Source, load
from nastk.errors import DataError

PIXELS = 3 * 32 * 32

_OBJECTS = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)

_Arrays = tuple[NDArray[np.uint8], NDArray[Any]]


def cifar10(config: DownloadConfig, *, seed: int, device: str) -> InMemoryDataset:
    """Return CIFAR-10: 50,000 and 10,000 32x32 RGB photographs, 10 classes.

    Looked for in ``ROOT/cifar-10-batches-bin`` first, then in ``ROOT/cifar-10-batches-py``.

    Raises:
        DataError: missing, damaged, or a pickle whose checksum is not that of the published one.

    Source:
        Krizhevsky 2009, Learning multiple layers of features from tiny images.
    """
    folder = Path(config.root) / "cifar-10-batches-bin"
    if folder.is_dir():
        train = [folder / f"data_batch_{i}.bin" for i in range(1, 6)]
        source = _binary("cifar10", train, folder / "test_batch.bin", 1, _OBJECTS)
    else:
        source = _pickled("cifar10", "CIFAR10", config)
    return load("cifar10", source, config, seed=seed, device=device)


def cifar100(config: DownloadConfig, *, seed: int, device: str) -> InMemoryDataset:
    """Return CIFAR-100 with its fine labels: 50,000 and 10,000 32x32 RGB photographs.

    Looked for in ``ROOT/cifar-100-binary`` first, then in ``ROOT/cifar-100-python``.

    Raises:
        DataError: missing, damaged, or a pickle whose checksum is not that of the published one.

    Source:
        Krizhevsky 2009, Learning multiple layers of features from tiny images.
    """
    folder = Path(config.root) / "cifar-100-binary"
    if folder.is_dir():
        names = _fine_names(folder / "fine_label_names.txt")
        source = _binary("cifar100", [folder / "train.bin"], folder / "test.bin", 2, names)
    else:
        source = _pickled("cifar100", "CIFAR100", config)
    return load("cifar100", source, config, seed=seed, device=device)


def _binary(
    name: str, train: list[Path], test: Path, label_bytes: int, class_names: tuple[str, ...]
) -> Source:
    parts = [_records(name, path, label_bytes) for path in train]
    images = np.concatenate([part[0] for part in parts])
    labels = np.concatenate([part[1] for part in parts])
    return Source(images, labels, class_names, *_records(name, test, label_bytes))


def _records(name: str, path: Path, label_bytes: int) -> _Arrays:
    """Return images and labels; the last of a record's label bytes is the (fine) label."""
    if not path.is_file():
        raise missing(name, path.name, [path.parent])
    data = read_bytes(name, path)
    record = label_bytes + PIXELS
    if data.size == 0 or data.size % record:
        raise damaged(name, path, f"got {data.size} bytes, expected a multiple of {record}")
    rows = data.reshape(-1, record)
    return rows[:, label_bytes:].reshape(-1, 3, 32, 32), rows[:, label_bytes - 1]


def _fine_names(path: Path) -> tuple[str, ...]:
    if path.is_file():
        names = tuple(path.read_text(encoding="utf-8", errors="replace").split())
        if len(names) == 100:
            return names
    return tuple(str(i) for i in range(100))


def _pickled(name: str, torchvision_name: str, config: DownloadConfig) -> Source:
    from torchvision import datasets

    kind = getattr(datasets, torchvision_name)
    fetch(name, config, lambda: kind(config.root, download=True))
    _verify(name, kind, Path(config.root) / kind.base_folder)
    with warnings.catch_warnings():
        # NumPy's notices about how these old pickles were written concern nobody here.
        warnings.simplefilter("ignore")
        train, test = (kind(config.root, train=part, download=False) for part in (True, False))
    return Source(
        train.data.transpose(0, 3, 1, 2),
        np.asarray(train.targets),
        tuple(train.classes),
        test.data.transpose(0, 3, 1, 2),
        np.asarray(test.targets),
    )


def _verify(name: str, kind: Any, folder: Path) -> None:
    # Unpickling runs whatever the file says, so only the published bytes may get that far.
    published = [*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"])]
    for file, md5 in published:
        path = folder / file
        if not path.is_file():
            raise missing(name, file, [folder])
        try:
            found = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        except OSError as error:
            raise damaged(name, path, error.strerror or "cannot be read") from None
        if found != md5:
            raise DataError(
                f"data set '{name}': {path}: its MD5 is {found}, expected {md5}; this file is a "
                "pickle, which could run code, and was not opened",
                "get the published file again, or use the binary version of the set",
            )
