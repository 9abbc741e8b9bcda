"""SVHN, from its MATLAB files."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nastk.data.config import DownloadConfig
from nastk.data.files import damaged, fetch, missing
from nastk.data.memory import InMemoryDataset, Source, load
from nastk.errors import DataError


def svhn(config: DownloadConfig, *, seed: int, device: str) -> InMemoryDataset:
    """Return SVHN: 73,257 and 26,032 32x32 RGB crops of house numbers, 10 classes.

    Looked for as ``ROOT/train_32x32.mat`` and ``ROOT/test_32x32.mat``.

    Raises:
        DataError: a file is missing or damaged, or SciPy is not installed.

    Source:
        Netzer et al. 2011, Reading digits in natural images. Differs: the digit 0, labelled 10 in
        the files, has label 0.
    """

    def download() -> None:
        from torchvision.datasets import SVHN

        for part in ("train", "test"):
            SVHN(config.root, split=part, download=True)

    fetch("svhn", config, download)
    root = Path(config.root)
    source = Source(
        *_read(root / "train_32x32.mat"),
        tuple(str(i) for i in range(10)),
        *_read(root / "test_32x32.mat"),
    )
    return load("svhn", source, config, seed=seed, device=device)


def _read(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    if not path.is_file():
        raise missing("svhn", path.name, [path.parent])
    try:
        matlab = import_module("scipy.io")
    except ImportError:
        raise DataError("data set 'svhn': SciPy is not installed", "pip install scipy") from None
    try:
        content = matlab.loadmat(path, variable_names=("X", "y"))
        images, labels = content["X"], content["y"].astype(np.int64).reshape(-1)
    except Exception as error:  # loadmat raises nearly anything on a damaged file
        reason = " ".join(str(error).split())[:120]
        raise damaged(
            "svhn", path, f"not a MATLAB file of images X and labels y: {reason}"
        ) from None
    if images.dtype != np.uint8 or images.shape != (32, 32, 3, labels.size) or not labels.size:
        raise damaged("svhn", path, f"got X of shape {images.shape} for {labels.size} labels")
    if labels.min() < 1 or labels.max() > 10:
        raise damaged("svhn", path, "got labels outside 1 to 10")
    return images.transpose(3, 2, 0, 1), labels % 10
