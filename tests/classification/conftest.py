"""A comparison on digits of 8x8 pixels, three updates long."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nastk.classification.cells import Asked, Cell, plan
from nastk.plugins import load
from nastk.registry import Registry

SMALLEST = "0 / 0 0 / 0 0 0 0 0"
TINY = {
    "dataset.image_size": 16,
    "space.generator_width": 2,
    "space.discriminator_width": 4,
    "dataset.labels": "0.1",
}


@pytest.fixture(scope="session")
def registry() -> Registry:
    return load()


@pytest.fixture
def planned(registry: Registry, tmp_path: Path) -> Callable[..., list[Cell]]:
    def make(seeds: int = 1, **flags: Any) -> list[Cell]:
        words = {key.replace("__", "."): value for key, value in flags.items()}
        asked = Asked(SMALLEST, {**TINY, **words}, budget="3steps", seeds=seeds)
        return plan(asked, registry, tmp_path / "out", "cpu")

    return make
