"""MNIST and Fashion-MNIST, read from their IDX files, packed or not."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nastk.data.config import DownloadConfig
from nastk.data.files import damaged, fetch, missing
from nastk.data.memory import InMemoryDataset, Source, load

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
MAX_BYTES = 1 << 30
"""Largest array that a header may promise: a packed file could claim anything."""

_DIGITS = tuple(str(i) for i in range(10))
_CLOTHES = (
    "t-shirt",
    "trousers",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "boot",
)


def mnist(config: DownloadConfig, *, seed: int, device: str) -> InMemoryDataset:
    """Return MNIST: 60,000 and 10,000 28x28 grey handwritten digits.

    The files are looked for in ``ROOT/MNIST/raw`` and ``ROOT``.

    Raises:
        DataError: a file is missing or damaged.

    Source:
        LeCun et al. 1998.
    """

    def download() -> None:
        from torchvision.datasets import MNIST

        MNIST(config.root, download=True)

    fetch("mnist", config, download)
    root = Path(config.root)
    source = _read("mnist", [root / "MNIST" / "raw", root], _DIGITS)
    return load("mnist", source, config, seed=seed, device=device)


def fashion_mnist(config: DownloadConfig, *, seed: int, device: str) -> InMemoryDataset:
    """Return Fashion-MNIST: 60,000 and 10,000 28x28 grey pieces of clothing.

    The files are looked for in ``ROOT/FashionMNIST/raw``, ``ROOT``, and where Debian's package
    ``dataset-fashion-mnist`` puts them.

    Raises:
        DataError: a file is missing or damaged.

    Source:
        Xiao et al. 2017 (arXiv:1708.07747).
    """

    def download() -> None:
        from torchvision.datasets import FashionMNIST

        FashionMNIST(config.root, download=True)

    fetch("fashion-mnist", config, download)
    root = Path(config.root)
    folders = [root / "FashionMNIST" / "raw", root, DEBIAN]
    extra = "'apt install dataset-fashion-mnist' on Debian"
    source = _read("fashion-mnist", folders, _CLOTHES, extra)
    return load("fashion-mnist", source, config, seed=seed, device=device)


def read_idx(name: str, path: Path) -> NDArray[np.uint8]:
    """Return the uint8 array in an IDX file, gzipped or not.

    Args:
        name: registered name of the set, for messages.
        path: ``.gz`` at the end means gzipped.

    Returns:
        Of any shape that the file states, of one to four axes.

    Raises:
        DataError: not an IDX file of bytes, cut short, too long, or badly packed.
    """
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            magic = file.read(4)
            if len(magic) < 4 or magic[:3] != b"\0\0\x08" or not 1 <= magic[3] <= 4:
                raise damaged(name, path, "expected an IDX file of bytes, got something else")
            shape = tuple(int(n) for n in np.frombuffer(file.read(4 * magic[3]), dtype=">u4"))
            size = int(np.prod(np.array(shape, dtype=object)))
            if len(shape) != magic[3] or size > MAX_BYTES:
                raise damaged(name, path, f"its header promises an array of shape {shape}")
            data = file.read(size + 1)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise damaged(name, path, " ".join(str(error).split()) or "cannot be read") from None
    if len(data) != size:
        raise damaged(name, path, f"got {len(data)} bytes of pixels or labels, expected {size}")
    return np.frombuffer(data, dtype=np.uint8).reshape(shape)


def _read(name: str, folders: list[Path], names: tuple[str, ...], extra: str = "") -> Source:
    images, labels = _part(name, folders, "train", extra)
    test_images, test_labels = _part(name, folders, "t10k", extra)
    return Source(images, labels, names, test_images, test_labels)


def _part(
    name: str, folders: list[Path], part: str, extra: str
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    image_file = _find(name, folders, f"{part}-images-idx3-ubyte", extra)
    label_file = _find(name, [image_file.parent], f"{part}-labels-idx1-ubyte", extra)
    images, labels = read_idx(name, image_file), read_idx(name, label_file)
    if images.ndim != 3 or images.size == 0:
        raise damaged(name, image_file, f"got an array of shape {images.shape}, expected images")
    if labels.shape != images.shape[:1]:
        raise damaged(name, label_file, f"got {labels.size} labels for {len(images)} images")
    return images[:, None], labels


def _find(name: str, folders: list[Path], stem: str, extra: str) -> Path:
    for folder in folders:
        for file in (folder / stem, folder / f"{stem}.gz"):
            if file.is_file():
                return file
    raise missing(name, f"{stem} (or .gz)", folders, extra)
