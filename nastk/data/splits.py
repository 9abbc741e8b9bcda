"""Which image belongs to which split, and which training labels may be seen."""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from nastk.dataset import HIDDEN
from nastk.errors import DataError
from nastk.randomness import Randomness

Indices = NDArray[np.int64]


@frozen
class Shares:
    """How a set is divided.

    Attributes:
        validation: share of the pool kept for validation, in (0, 0.5].
        test: share of the pool kept for the test, in (0, 0.5]; unused with an official test set.
        labels: fraction of training labels that may be seen, in (0, 1].
    """

    validation: float = 0.15
    test: float = 0.25
    labels: float = 1.0


@frozen(eq=False)
class Partition:
    """Indices of a pool of images, by split.

    The order within a split is random and, given its members, independent of their labels: data
    is often stored class by class, and then a position would give a hidden label away.

    Attributes:
        train: ``(n,)`` indices into the pool.
        labelled: ``(len(train),)``, whether its label may be seen.
        validation: ``(n,)`` likewise.
        test: ``(n,)`` likewise, or into the official test set where there is one.
    """

    train: Indices
    labelled: NDArray[np.bool_]
    validation: Indices
    test: Indices


def make_partition(
    labels: NDArray[Any],
    shares: Shares,
    seed: int,
    *,
    official_test: int | None = None,
    official_validation: int = 0,
) -> Partition:
    """Return a partition, stratified by class, that depends on the arguments only.

    Images labelled :data:`~nastk.dataset.HIDDEN` all go to training where others have labels;
    where none has, they are divided like one class. The label budget moves no image between
    splits, and a smaller budget sees a subset of what a larger one sees.

    Args:
        labels: ``(N,)`` integers of the pool, HIDDEN where there is none.
        shares: how to divide.
        seed: fixes every draw.
        official_test: size of the official test set; None takes the test from the pool.
        official_validation: images at the end of the pool that are the validation split; 0 takes
            it from the pool by its share.

    Raises:
        DataError: a class is too small to be in every split.
    """
    randomness = Randomness(seed).child("data")
    test_share = shares.test if official_test is None else 0.0
    validation_share = 0.0 if official_validation else shares.validation
    total, labels = len(labels), labels[: len(labels) - official_validation]
    parts: dict[str, list[Indices]] = {"train": [], "labelled": [], "validation": [], "test": []}
    for code in np.unique(labels):
        members = np.flatnonzero(labels == code).astype(np.int64)
        shuffled = randomness.numpy(f"class/{int(code)}").permutation(members)
        if code == HIDDEN and bool((labels != HIDDEN).any()):
            parts["train"].append(shuffled)
            continue
        n_test, n_validation = _allocate(len(members), validation_share, test_share, int(code))
        train = shuffled[n_test + n_validation :]
        parts["test"].append(shuffled[:n_test])
        parts["validation"].append(shuffled[n_test : n_test + n_validation])
        parts["train"].append(train)
        if code != HIDDEN:
            parts["labelled"].append(train[: max(1, _round(shares.labels * len(train)))])
    joined = {name: _join(arrays) for name, arrays in parts.items()}
    if official_validation:
        joined["validation"] = np.arange(len(labels), total, dtype=np.int64)
    if official_test is not None:
        joined["test"] = np.arange(official_test, dtype=np.int64)
    train, validation, test = (
        randomness.numpy(f"order/{name}").permutation(np.sort(joined[name]))
        for name in ("train", "validation", "test")
    )
    return Partition(train, np.isin(train, joined["labelled"]), validation, test)


def _allocate(count: int, validation: float, test: float, code: int) -> tuple[int, int]:
    needed = 1 + bool(validation) + bool(test)
    if count < needed:
        what = "the set" if code == HIDDEN else f"class {code}"
        raise DataError(
            f"{what} has {count} image{'' if count == 1 else 's'}, expected at least {needed}, "
            "one for each split made of it",
            "add images or remove the class",
        )
    n_test = max(1, _round(test * count)) if test else 0
    n_validation = max(1, _round(validation * count)) if validation else 0
    while n_test + n_validation >= count:
        if n_test >= n_validation:
            n_test -= 1
        else:
            n_validation -= 1
    return n_test, n_validation


def _round(value: float) -> int:
    return int(value + 0.5)


def _join(arrays: list[Indices]) -> Indices:
    return np.concatenate(arrays) if arrays else np.empty(0, dtype=np.int64)
