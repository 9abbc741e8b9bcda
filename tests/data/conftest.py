from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from nastk.data.memory import Source


def make_source(counts: list[int], *, official: int = 0, size: int = 4) -> Source:
    """Images that all differ, stored class by class, as a folder would be."""
    total, classes = sum(counts), len(counts)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (total, 1, size, size), dtype=np.uint8)
    images[:, 0, 0, 0] = np.arange(total) % 256
    images[:, 0, 0, 1] = np.arange(total) // 256
    labels = np.repeat(np.arange(classes), counts)
    names = tuple(f"class {i}" for i in range(classes))
    if not official:
        return Source(images, labels, names)
    test = rng.integers(0, 256, (official, 1, size, size), dtype=np.uint8)
    return Source(images, labels, names, test, np.arange(official) % classes)


@pytest.fixture(scope="session")
def source() -> Callable[..., Source]:
    return make_source
