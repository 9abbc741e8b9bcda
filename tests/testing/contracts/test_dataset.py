"""Faults of data sets: each breaks the law that it is for."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from attrs import field, frozen

from nastk.data.memory import InMemoryDataset, Shares, Source
from nastk.dataset import Split
from nastk.testing.contracts import DatasetContract
from tests.testing.contracts.conftest import cases, caught, component


@frozen
class DataConfig:
    labels: float = field(default=1.0, metadata={"help": "share of visible labels"})


class Numbers(InMemoryDataset):
    def __init__(self, config: DataConfig, *, seed: int, device: str) -> None:
        images = np.random.default_rng(0).integers(0, 256, (60, 1, 4, 4), dtype=np.uint8)
        source = Source(images, np.arange(60) % 3, ("a", "b", "c"))
        shares = Shares(labels=config.labels)
        super().__init__("planted", source, shares=shares, seed=seed, device=device)


def altered(split: Split, **changes: Any) -> Split:
    parts = {n: getattr(split, n) for n in ("name", "images", "labels", "content")}
    return Split(**{**parts, **changes})


class Floats(Numbers):
    def split(self, name: Any, device: Any = None) -> Split:
        found = super().split(name, device)
        return altered(found, images=found.images.float())


class OtherClasses(Numbers):
    def split(self, name: Any, device: Any = None) -> Split:
        found = super().split(name, device)
        return altered(found, labels=found.labels + 1)


class Overlapping(Numbers):
    def split(self, name: Any, device: Any = None) -> Split:
        return altered(super().split("train", device), name=name, content=f"{len(name):012x}")


class Unseeded(Numbers):
    def __init__(self, config: DataConfig, *, seed: int, device: str) -> None:
        super().__init__(config, seed=random.SystemRandom().randrange(10**6), device=device)


class SeedBlind(Numbers):
    def __init__(self, config: DataConfig, *, seed: int, device: str) -> None:
        super().__init__(config, seed=0, device=device)


class OneHash(Numbers):
    def split(self, name: Any, device: Any = None) -> Split:
        return altered(super().split(name, device), content="0" * 12)


class Reopens(Numbers):
    def split(self, name: Any, device: Any = None) -> Split:
        self._held = getattr(self, "_held", {})
        if name not in self._held:
            self._held[name] = super().split(name, device)
        return self._held[name]


class BudgetBlind(Numbers):
    def __init__(self, config: DataConfig, *, seed: int, device: str) -> None:
        super().__init__(DataConfig(), seed=seed, device=device)


class BudgetHidesAll(Numbers):
    def __init__(self, config: DataConfig, *, seed: int, device: str) -> None:
        super().__init__(config, seed=seed, device=device)
        self._few = config.labels < 1

    def split(self, name: Any, device: Any = None) -> Split:
        found = super().split(name, device)
        return altered(found, labels=found.labels.clone().fill_(-1)) if self._few else found


class Stays(Numbers):
    def split(self, name: Any, device: Any = None) -> Split:
        return super().split(name, "cpu")


@cases(
    ("images_are_uint8_of_the_stated_shape", Floats),
    ("images_are_uint8_of_the_stated_shape", OtherClasses),
    ("splits_share_no_image", Overlapping),
    ("same_seed_gives_the_same_splits", Unseeded),
    ("same_seed_gives_the_same_splits", SeedBlind),
    ("content_hashes_are_of_the_content", OneHash),
    ("the_test_split_opens_once", Reopens),
    ("a_label_budget_hides_training_labels_only", BudgetBlind),
    ("a_label_budget_hides_training_labels_only", BudgetHidesAll),
    ("splits_come_to_the_device", Stays),
)
def test_faults_of_data_sets_are_caught(name: str, factory: type) -> None:
    caught(DatasetContract, name, component("dataset", factory, DataConfig))
