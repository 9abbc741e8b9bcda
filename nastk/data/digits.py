"""The embedded default: handwritten digits that come with scikit-learn; no network needed."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nastk.data.config import DigitsConfig
from nastk.data.memory import InMemoryDataset, Pixels, Source, load
from nastk.errors import DataError

WHITE = 16
"""Largest pixel value in scikit-learn's arrays."""


def digits(config: DigitsConfig, *, seed: int, device: str) -> InMemoryDataset:
    """Return 1,797 handwritten digits, grey, 10 classes, no official test set.

    Raises:
        DataError: scikit-learn is not installed.

    Source:
        Alpaydin and Kaynak 1998, Optical Recognition of Handwritten Digits (UCI), test part, as
        scikit-learn ships it: 8x8, values 0 to 16. Differs: scaled to 0…255.
    """
    return load("digits", _read(), config, seed=seed, device=device)


def _read() -> Source:
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise DataError(
            "data set 'digits': scikit-learn is not installed", "pip install 'nastk[digits]'"
        ) from None
    images, labels = _read_once(load_digits)
    return Source(images.copy(), labels.copy(), tuple(str(i) for i in range(10)))


@cache
def _read_once(load_digits: Callable[[], Any]) -> tuple[Pixels, NDArray[Any]]:
    """Return images and labels, read once a process, where a comparison begins hundreds of runs."""
    bunch = load_digits()
    images = np.rint(bunch.images[:, None] * (255 / WHITE)).astype(np.uint8)
    return images, bunch.target
