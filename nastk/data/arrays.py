"""Images that a caller holds in memory, as a data set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nastk.data.config import ArraysConfig
from nastk.data.memory import InMemoryDataset, Pixels, Source, load
from nastk.errors import DataError

LAYOUTS = "uint8 (N, H, W), (N, C, H, W) or (N, H, W, C) with C 1 or 3"


def from_arrays(images: Any, labels: Any = None) -> Callable[..., InMemoryDataset]:
    """Return what makes a data set of images and, where there are some, their labels.

    Args:
        images: tensor or array, uint8, ``(N, H, W)``, ``(N, C, H, W)`` or ``(N, H, W, C)`` with C
            1 or 3; of ``(N, 3, H, 3)`` the second axis is taken for the channels. Copied.
        labels: ``(N,)`` integers from 0, each class at least three times; None: no labels.

    Raises:
        DataError: of another type or shape.
    """
    pixels = _pixels(_array(images))
    codes = None if labels is None else _codes(_array(labels), len(pixels))
    names = () if codes is None else tuple(map(str, range(int(codes.max()) + 1)))
    source = Source(pixels, codes, names)

    def made(config: ArraysConfig, *, seed: int, device: str) -> InMemoryDataset:
        return load("arrays", source, config, seed=seed, device=device)

    return made


def _array(given: Any) -> NDArray[Any]:
    held = given.detach().cpu().numpy() if hasattr(given, "detach") else given
    return np.asarray(held)


def _pixels(array: NDArray[Any]) -> Pixels:
    if array.dtype != np.uint8:
        raise DataError(
            f"data: got images of {array.dtype}, expected {LAYOUTS}",
            "bring them to 0..255 and use astype(numpy.uint8)",
        )
    if array.ndim == 3:
        array = array[:, None]
    elif array.ndim == 4 and array.shape[1] not in (1, 3) and array.shape[3] in (1, 3):
        array = array.transpose(0, 3, 1, 2)
    if array.ndim != 4 or array.shape[1] not in (1, 3) or 0 in array.shape:
        raise DataError(f"data: got images of shape {array.shape}, expected {LAYOUTS}")
    return np.array(array, order="C")  # a copy: the caller may go on changing his


def _codes(array: NDArray[Any], count: int) -> NDArray[np.int64]:
    whole = array.dtype.kind in "iu" and array.shape == (count,)
    if not whole or int(array.min()) < 0:
        raise DataError(
            f"data: got labels of {array.dtype} and shape {array.shape}, expected {count} integers "
            "from 0",
            "give (images, labels), or the images alone",
        )
    return array.astype(np.int64)
