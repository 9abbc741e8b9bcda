"""``Dataset``: images with splits and a label budget."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Literal

from attrs import define

if TYPE_CHECKING:
    import torch
    from torch import Tensor

SplitName = Literal["train", "validation", "test"]

HIDDEN = -1
"""Label of an image whose label is outside the budget."""


@define
class Split:
    """One split, resident on one device.

    Attributes:
        name: which split.
        images: ``(N, C, H, W)`` uint8.
        labels: ``(N,)`` int64; :data:`HIDDEN` where the label budget hides it, and everywhere
            in an unlabelled set. A hidden label is not kept anywhere.
        content: SHA-256 of images and labels, 12 hex digits.
    """

    name: SplitName
    images: Tensor
    labels: Tensor
    content: str

    def __len__(self) -> int:
        return int(self.images.shape[0])


class Dataset(ABC):
    """Images in three disjoint splits that depend on the seed and nothing else.

    Attributes:
        name: registered name.
        shape: (channels, height, width).
        classes: number of classes, 0 without labels.
        class_names: one per class; empty without labels.
    """

    name: str
    shape: tuple[int, int, int]
    classes: int
    class_names: tuple[str, ...] = ()

    @abstractmethod
    def split(self, name: SplitName, device: torch.device | str = "cpu") -> Split:
        """Return a split on ``device``.

        The training split has its labels cut to the label budget; validation is fully labelled
        unless the data has no labels.

        Raises:
            DataError: the test split was already opened by this object.
        """

    @property
    @abstractmethod
    def content(self) -> str:
        """Hash of all images, labels, the splits and the label budget (12 hex digits)."""
