"""Who read labels: every part of a run gets the data set through a view that counts.

Labels leave a data set in one place, :meth:`nastk.dataset.Dataset.split`. A component that opens
the files of a data set by itself is not seen here.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING, Any

from attrs import asdict, frozen

from nastk.dataset import HIDDEN, Dataset, Split, SplitName

if TYPE_CHECKING:
    import torch


@frozen
class Read:
    """What somebody was handed of a split's labels.

    Attributes:
        reader: part of the run, e.g. ``trainer``.
        split: which images.
        images: in the split.
        visible: labels among them that are not hidden.
        labels: hash of all labels in order, see :func:`label_hash`.
    """

    reader: str
    split: str
    images: int
    visible: int
    labels: str


class LabelBook:
    """Counts the reads of one process.

    Attributes:
        reads: how often each read happened.
    """

    def __init__(self) -> None:
        self.reads: Counter[Read] = Counter()

    def reader(self, dataset: Dataset, name: str) -> Dataset:
        """Return ``dataset`` as ``name`` may see it: the same, every read entered here."""
        return _Seen(dataset, name, self)

    def enter(self, reader: str, split: Split) -> None:
        """Count a read of ``split``."""
        visible, content = _visible(split.labels), label_hash(split.labels)
        self.reads[Read(reader, split.name, len(split), visible, content)] += 1

    def told(self) -> list[dict[str, Any]]:
        """Return the reads with their ``count``, as JSON data."""
        return [{**asdict(read), "count": count} for read, count in self.reads.items()]


class _Seen(Dataset):
    """A data set as one reader sees it."""

    def __init__(self, dataset: Dataset, reader: str, book: LabelBook) -> None:
        self._dataset = dataset
        self._reader = reader
        self._book = book
        self.name = dataset.name
        self.shape = dataset.shape
        self.classes = dataset.classes
        self.class_names = dataset.class_names

    def split(self, name: SplitName, device: torch.device | str | None = None) -> Split:
        """Return a split of the data set, and enter the read."""
        split = self._dataset.split(name) if device is None else self._dataset.split(name, device)
        self._book.enter(self._reader, split)
        return split

    @property
    def content(self) -> str:
        """Hash of the data set."""
        return self._dataset.content

    def __getattr__(self, name: str) -> Any:
        """Return what a data set has beyond the interface."""
        if name.startswith("_"):  # also while this object is copied and has no data set yet
            raise AttributeError(name)
        return getattr(self._dataset, name)


def label_hash(labels: Any) -> str:
    """Return 12 hex digits of the SHA-256 of labels ``(N,)`` as little-endian int64, in order."""
    return hashlib.sha256(_numbers(labels).tobytes()).hexdigest()[:12]


def _visible(labels: Any) -> int:
    return int((_numbers(labels) != HIDDEN).sum())


def _numbers(labels: Any) -> Any:
    import numpy as np

    return np.asarray(labels.cpu() if hasattr(labels, "cpu") else labels).astype("<i8")
