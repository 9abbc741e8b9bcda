"""Metrics of images that have a true counterpart, and of predicted classes."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from nastk.dataset import HIDDEN
from nastk.errors import ShapeError

PEAK = 2.0
"""Width of the image range [-1, 1]."""


class HiddenErrors:
    """Errors over the pixels hidden from a generator, gathered batch by batch in float64."""

    def __init__(self) -> None:
        self._absolute = 0.0
        self._squared = 0.0
        self._pixels = 0

    def add(self, fake: Tensor, real: Tensor, mask: Tensor) -> None:
        """Gather one batch.

        Args:
            fake: ``(N, C, H, W)`` in [-1, 1].
            real: same shape and range, the images that ``fake`` completes.
            mask: ``(N, 1, H, W)`` 1 where the image was hidden from the generator.

        Raises:
            ShapeError: the shapes do not belong together.
        """
        if fake.shape != real.shape:
            raise ShapeError(f"paired images: got {tuple(fake.shape)} against {tuple(real.shape)}")
        if mask.shape != (fake.shape[0], 1, *fake.shape[2:]):
            raise ShapeError(
                f"mask: got {tuple(mask.shape)}, expected (N, 1, H, W) of {tuple(fake.shape)}"
            )
        errors = (fake.double() - real.double())[mask.bool().expand_as(fake)]
        self._absolute += float(errors.abs().sum())
        self._squared += float(errors.square().sum())
        self._pixels += errors.numel()

    def masked_l1(self) -> float:
        """Return the mean absolute error over all hidden pixels, see :func:`masked_l1`."""
        return self._absolute / self._count()

    def psnr(self) -> float:
        """Return the signal-to-noise ratio over all hidden pixels, see :func:`psnr`."""
        error = self._squared / self._count()
        return math.inf if error == 0 else 10 * math.log10(PEAK**2 / error)

    def _count(self) -> int:
        if not self._pixels:
            raise ShapeError("mask: hides no pixel, expected at least one")
        return self._pixels


def masked_l1(fake: Tensor, real: Tensor, mask: Tensor) -> float:
    """Return the mean absolute error over hidden pixels.

    Args:
        fake: ``(N, C, H, W)`` in [-1, 1].
        real: same shape and range, the images that ``fake`` completes.
        mask: ``(N, 1, H, W)`` 1 where the image was hidden from the generator.

    Returns:
        0 to 2 in units of the image range, lower is better.

    Raises:
        ShapeError: shapes do not belong together, or nothing is hidden.
    """
    errors = HiddenErrors()
    errors.add(fake, real, mask)
    return errors.masked_l1()


def psnr(fake: Tensor, real: Tensor, mask: Tensor) -> float:
    """Return the peak signal-to-noise ratio over hidden pixels, pooled over all images.

    The squared error is averaged over all images before the logarithm, so that a single perfect
    image does not make the number infinite.

    Args:
        fake: ``(N, C, H, W)`` in [-1, 1].
        real: same shape and range.
        mask: ``(N, 1, H, W)`` 1 where the image was hidden from the generator.

    Returns:
        Decibels, higher is better; infinite when nothing differs.

    Raises:
        ShapeError: shapes do not belong together, or nothing is hidden.
    """
    errors = HiddenErrors()
    errors.add(fake, real, mask)
    return errors.psnr()


def accuracy(logits: Tensor, labels: Tensor, classes: int) -> float | None:
    """Return the share of labelled images whose class is predicted.

    Args:
        logits: ``(N, K)`` or ``(N, K + 1)``; only the first K count, so that a class for
            generated images never wins.
        labels: ``(N,)`` int64, hidden ones are left out.
        classes: K.

    Returns:
        0 to 1, higher is better; None when no label is visible.

    Raises:
        ShapeError: fewer than K logits, or another number of labels.
    """
    _check_logits(logits, labels, classes)
    seen = labels != HIDDEN
    if not bool(seen.any()):
        return None
    predicted = logits[seen, :classes].argmax(dim=1)
    return float((predicted == labels[seen]).double().mean())


def balanced_accuracy(logits: Tensor, labels: Tensor, classes: int) -> float | None:
    """Return the mean over the classes that occur of the share of their images recognised.

    Errors as for :func:`accuracy`.

    Args:
        logits: ``(N, K)`` or ``(N, K + 1)``; only the first K count.
        labels: ``(N,)`` int64, hidden ones are left out.
        classes: K.

    Returns:
        0 to 1, higher is better; None when no label is visible.
    """
    shares = [
        accuracy(logits[labels == code], labels[labels == code], classes)
        for code in range(classes)
        if bool((labels == code).any())
    ]
    known = [share for share in shares if share is not None]
    return sum(known) / len(known) if known else None


def class_cross_entropy(logits: Tensor, labels: Tensor, classes: int) -> float | None:
    """Return the mean cross-entropy of the true class among the first K.

    Args:
        logits: ``(N, K)`` or more; only the first K are normalised.
        labels: ``(N,)`` int64, hidden ones are left out.
        classes: K.

    Returns:
        Nats, >= 0, lower is better; None when no label is visible.

    Raises:
        ShapeError: fewer than K logits, or another number of labels.
    """
    _check_logits(logits, labels, classes)
    seen = labels != HIDDEN
    if not bool(seen.any()):
        return None
    return float(functional.cross_entropy(logits[seen, :classes].double(), labels[seen]))


def _check_logits(logits: Tensor, labels: Tensor, classes: int) -> None:
    if logits.ndim != 2 or logits.shape[1] < classes or logits.shape[0] != labels.shape[0]:
        raise ShapeError(
            f"class logits: got {tuple(logits.shape)} for {labels.shape[0]} labels, "
            f"expected (N, K) with K >= {classes}"
        )
    if labels.dtype != torch.int64:
        raise ShapeError(f"labels: got {labels.dtype}, expected torch.int64")
