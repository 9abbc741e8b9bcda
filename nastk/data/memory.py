"""``InMemoryDataset``: images as uint8 tensors, split by seed, labels cut to a budget."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import torch
from attrs import frozen
from numpy.typing import NDArray

from nastk.data.config import DatasetConfig
from nastk.data.content import content_hash
from nastk.data.resize import convert_channels, resize_images
from nastk.data.splits import Indices, Partition, Shares, make_partition
from nastk.dataset import HIDDEN, Dataset, Split, SplitName
from nastk.errors import DataError, ShapeError, nearest
from nastk.records import digest

Pixels = NDArray[np.uint8]


@frozen(eq=False)
class Source:
    """Raw arrays of a set, thrown away once the splits are made.

    Attributes:
        images: ``(N, C, H, W)`` uint8, C 1 or 3.
        labels: ``(N,)`` integers in [0, classes), HIDDEN (-1) where there is none; None for a set
            without labels.
        class_names: one per class; empty for a set without labels.
        test_images: ``(M, C, H, W)`` uint8 of the official test set; None: taken from ``images``.
        test_labels: ``(M,)`` integers in [0, classes); None as for ``labels``.
        validation: images at the end of ``images`` that are the official validation split; 0: it
            is taken from ``images`` by its share.
    """

    images: Pixels
    labels: NDArray[Any] | None = None
    class_names: tuple[str, ...] = ()
    test_images: Pixels | None = None
    test_labels: NDArray[Any] | None = None
    validation: int = 0


class InMemoryDataset(Dataset):
    """Arrays in memory as a data set with three disjoint splits.

    A training label outside the budget is overwritten before this object keeps anything, and the
    arrays it was made of are not kept.

    Args:
        name: registered name, for messages.
        source: the raw arrays; copied, not changed.
        shares: how to divide and how many labels to show.
        seed: fixes the splits and which labels are shown.
        device: where splits go unless :meth:`split` is told otherwise.
        partition: used instead of one made from ``shares`` and ``seed``.

    Raises:
        ShapeError: the arrays do not fit together.
        DataError: a label outside the classes, a class too small for every split, or a label
            budget for a set without labels.
    """

    def __init__(
        self,
        name: str,
        source: Source,
        *,
        shares: Shares | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
        partition: Partition | None = None,
    ) -> None:
        shares = shares or Shares()
        _check(name, source, shares)
        self.name = name
        self.device = device
        self.class_names = source.class_names
        self.classes = len(source.class_names)
        channels, height, width = source.images.shape[1:]
        self.shape = (channels, height, width)
        if partition is None:
            partition = _partition(name, source, shares, seed)
        self._splits = _build(source, partition)
        self._moved: dict[tuple[str, str], Split] = {}
        self._content = digest(
            {
                "splits": {n: s.content for n, s in self._splits.items()},
                "classes": list(self.class_names),
                "labels": float(shares.labels),
            }
        )[:12]

    def split(self, name: SplitName, device: torch.device | str | None = None) -> Split:
        """Return a split on ``device`` (None: the device of the data set).

        The same tensors are returned at every call; do not change them in place.

        Raises:
            DataError: no such split, or the test split was already opened by this object.
        """
        if name not in get_args(SplitName):
            raise DataError(f"no split is named '{name}'", nearest(name, get_args(SplitName)))
        where = str(self.device if device is None else device)
        if name == "test":
            return _moved(self._open_test(), where)
        if (name, where) not in self._moved:
            self._moved[name, where] = _moved(self._splits[name], where)
        return self._moved[name, where]

    @property
    def content(self) -> str:
        """Hash of all images, visible labels, splits and the label budget (12 hex digits)."""
        return self._content

    def _open_test(self) -> Split:
        if "test" not in self._splits:
            raise DataError(
                f"the test split of '{self.name}' was already opened",
                "it is for one final evaluation; use the validation split before that",
            )
        return self._splits.pop("test")


def load(
    name: str, source: Source, config: DatasetConfig, *, seed: int, device: str
) -> InMemoryDataset:
    """Return the data set of ``source`` with the size, channels, shares and labels of ``config``.

    Args:
        name: registered name.
        source: the raw arrays as they were read.
        config: ``test`` is its share of the pool, where it has that field.
        seed: fixes the splits.
        device: where splits go.
    """
    shaped = Source(
        _shaped(source.images, config),
        source.labels,
        source.class_names,
        None if source.test_images is None else _shaped(source.test_images, config),
        source.test_labels,
        source.validation,
    )
    shares = Shares(
        validation=config.validation, test=getattr(config, "test", 0.25), labels=config.labels
    )
    return InMemoryDataset(name, shaped, shares=shares, seed=seed, device=device)


def _shaped(images: Pixels, config: DatasetConfig) -> Pixels:
    if config.image_size is not None:
        images = resize_images(images, config.image_size)
    return images if config.channels is None else convert_channels(images, config.channels)


def _partition(name: str, source: Source, shares: Shares, seed: int) -> Partition:
    official = None if source.test_images is None else len(source.test_images)
    try:
        return make_partition(
            _codes(source.labels, len(source.images)),
            shares,
            seed,
            official_test=official,
            official_validation=source.validation,
        )
    except DataError as error:
        raise DataError(f"data set '{name}': {error.message}", error.hint) from None


def _build(source: Source, partition: Partition) -> dict[str, Split]:
    labels = _codes(source.labels, len(source.images))
    visible = labels[partition.train]
    visible[~partition.labelled] = HIDDEN
    if source.test_images is None:
        test_images, test_labels = source.images, labels
    else:
        test_images = source.test_images
        test_labels = _codes(source.test_labels, len(test_images))
    return {
        "train": _split("train", source.images, partition.train, visible),
        "validation": _split(
            "validation", source.images, partition.validation, labels[partition.validation]
        ),
        "test": _split("test", test_images, partition.test, test_labels[partition.test]),
    }


def _split(name: SplitName, images: Pixels, chosen: Indices, labels: Indices) -> Split:
    # Fancy indexing copies, so no tensor shares memory with an array of the source.
    pixels = torch.from_numpy(np.ascontiguousarray(images[chosen]))
    codes = torch.from_numpy(labels)
    return Split(name, pixels, codes, content_hash(pixels, codes))


def _moved(split: Split, device: str) -> Split:
    return Split(split.name, split.images.to(device), split.labels.to(device), split.content)


def _codes(labels: NDArray[Any] | None, count: int) -> Indices:
    if labels is None:
        return np.full(count, HIDDEN, dtype=np.int64)
    return np.array(labels, dtype=np.int64)


def _check(name: str, source: Source, shares: Shares) -> None:
    _check_pair(name, "pool", source.images, source.labels)
    if source.test_images is not None:
        _check_pair(name, "test set", source.test_images, source.test_labels)
        if source.test_images.shape[1:] != source.images.shape[1:]:
            raise ShapeError(
                f"data set '{name}': test images are {source.test_images.shape[1:]}, expected "
                f"{source.images.shape[1:]} as in the pool"
            )
    if source.labels is None and (source.class_names or source.test_labels is not None):
        raise ShapeError(f"data set '{name}': classes without labels, expected both or none")
    if source.labels is not None and source.test_images is not None and source.test_labels is None:
        raise ShapeError(
            f"data set '{name}': the test set has no labels, expected them as the pool"
        )
    if source.labels is None and shares.labels != 1.0:
        raise DataError(
            f"data set '{name}': got a label budget of {shares.labels:g}, but it has no labels",
            "leave the label budget at 1",
        )
    _check_codes(name, source.labels, len(source.class_names), lowest=HIDDEN)
    _check_codes(name, source.test_labels, len(source.class_names), lowest=0)


def _check_pair(name: str, where: str, images: Pixels, labels: NDArray[Any] | None) -> None:
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ShapeError(
            f"data set '{name}', {where}: got {images.dtype} of shape {images.shape}, "
            "expected uint8 (N, 1 or 3, H, W)"
        )
    if labels is not None and labels.shape != (len(images),):
        raise ShapeError(
            f"data set '{name}', {where}: got labels of shape {labels.shape} for "
            f"{len(images)} images, expected one each"
        )


def _check_codes(name: str, labels: NDArray[Any] | None, classes: int, *, lowest: int) -> None:
    if (
        labels is not None
        and len(labels)
        and not (labels.min() >= lowest and labels.max() < classes)
    ):
        raise DataError(
            f"data set '{name}': got labels from {labels.min()} to {labels.max()}, expected "
            f"{lowest} to {classes - 1}"
        )
