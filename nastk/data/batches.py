"""Batches drawn on the device from a split that lives there; pixel ranges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from nastk.dataset import HIDDEN, Split
from nastk.errors import DataError, ShapeError


def to_float(images: Tensor) -> Tensor:
    """Return uint8 pixels 0…255 as float32 in [-1, 1], same shape and device."""
    return images.to(torch.float32).div(127.5).sub_(1.0)


def to_uint8(images: Tensor, *, truncate: bool = False) -> Tensor:
    """Return images in [-1, 1] as uint8 pixels 0…255, same shape and device.

    Args:
        images: finite floats; values outside [-1, 1] are clipped.
        truncate: drop the fraction, as several published protocols do, instead of rounding.
    """
    scaled = images.detach().to(torch.float32).add(1.0).mul_(127.5).clamp_(0.0, 255.0)
    return (scaled if truncate else scaled.round_()).to(torch.uint8)


def halves(split: Split, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return the sorted indices ``(n,)`` of two disjoint random halves that make up the split.

    For strategies that train weights on one half and decide the architecture on the other. The
    first is one larger when the split is odd.

    Args:
        split: at least two images.
        generator: advanced by one permutation; pass a fixed one to get the same halves again.

    Raises:
        DataError: fewer than two images.
    """
    if len(split) < 2:
        raise DataError(f"split '{split.name}' has {len(split)} image, expected two to halve")
    order = _permutation(len(split), generator).to(split.images.device)
    middle = (len(split) + 1) // 2
    return order[:middle].sort().values, order[middle:].sort().values


def labelled(split: Split) -> Tensor:
    """Return the ``(L,)`` int64 indices of the images whose label may be seen."""
    return torch.nonzero(split.labels != HIDDEN).flatten()


class Batches:
    """An endless sequence of batches of one split.

    Nothing waits for the device: images are drawn where they live, and pinned images of the host
    are copied while the device works.

    Args:
        split: on the training device, or on the host where it is too large for that.
        batch_size: images a batch, >= 1.
        generator: where the images are; its state is saved by its owner. Advanced at the first
            batch of an epoch (every batch with replacement), and every batch with flips.
        replacement: draw each image independently; otherwise epochs, each a new permutation.
        flips: mirror each image left to right with probability one half.
        subset: ``(S,)`` indices to draw from; None: all.
        drop_last: leave out the last partial batch of an epoch (epochs only).
        device: where batches go; None: where the images are.

    Raises:
        DataError: no images, batch size below 1, or fewer images than a batch with ``drop_last``.
    """

    def __init__(
        self,
        split: Split,
        batch_size: int,
        *,
        generator: torch.Generator,
        replacement: bool = False,
        flips: bool = False,
        subset: Tensor | None = None,
        drop_last: bool = False,
        device: torch.device | None = None,
    ) -> None:
        self.split = split
        self.device = split.images.device if device is None else device
        self.batch_size = batch_size
        self._generator = generator
        self._replacement = replacement
        self._flips = flips
        device = split.images.device
        self._pool = None if subset is None else subset.to(device, torch.int64)
        self._count = len(split) if subset is None else int(subset.numel())
        self._check(drop_last)
        self._end = self._count - self._count % batch_size if drop_last else self._count
        self._order = torch.empty(0, dtype=torch.int64, device=device)
        self._position = self._end

    @property
    def batches_per_epoch(self) -> int:
        """Batches until every image was shown once (with replacement: as many images shown)."""
        return -(-self._end // self.batch_size)

    def next(self) -> tuple[Tensor, Tensor]:
        """Return ``(B, C, H, W)`` float32 in [-1, 1] and ``(B,)`` int64 labels, HIDDEN (-1) if so.

        B is the batch size, less for the last batch of an epoch unless that is dropped.
        """
        chosen = self._draw() if self._replacement else self._advance()
        images = to_float(self._taken(self.split.images, chosen))
        return self._mirrored(images), self._taken(self.split.labels, chosen)

    def state_dict(self) -> dict[str, Any]:
        """Return the permutation of the epoch and the position in it, not the generator's state."""
        return {"order": self._order, "position": self._position}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned for the same split, subset and batch size.

        Raises:
            ShapeError: the state belongs to other data; nothing was changed.
        """
        order = state["order"].to(self._order.device, torch.int64)
        position = int(state["position"])
        if order.numel() and not torch.equal(order.sort().values, self._members().sort().values):
            raise ShapeError(
                f"saved data position is over {order.numel()} other images than the "
                f"{self._count} of split '{self.split.name}'"
            )
        if not 0 <= position <= self._end or (not order.numel() and position != self._end):
            raise ShapeError(f"saved data position is {position}, expected 0 to {self._end}")
        self._order, self._position = order, position

    def _taken(self, source: Tensor, chosen: Tensor) -> Tensor:
        """Return rows on the device of the batches; from the host by way of pinned memory."""
        rows = source.index_select(0, chosen)
        if rows.device == self.device:
            return rows
        return rows.pin_memory().to(self.device, non_blocking=True)

    def _draw(self) -> Tensor:
        shape = (self.batch_size,)
        source = self._generator.device
        drawn = torch.randint(self._count, shape, generator=self._generator, device=source)
        drawn = drawn.to(self._order.device)
        return drawn if self._pool is None else self._pool[drawn]

    def _advance(self) -> Tensor:
        if self._position >= self._end:
            order = _permutation(self._count, self._generator).to(self._order.device)
            self._order = order if self._pool is None else self._pool[order]
            self._position = 0
        stop = min(self._position + self.batch_size, self._end)
        chosen = self._order[self._position : stop]
        self._position = stop
        return chosen

    def _mirrored(self, images: Tensor) -> Tensor:
        if not self._flips:
            return images
        source = self._generator.device
        coins = torch.rand(len(images), 1, 1, 1, generator=self._generator, device=source)
        return torch.where(coins.to(images.device) < 0.5, images.flip(-1), images)

    def _members(self) -> Tensor:
        if self._pool is not None:
            return self._pool
        return torch.arange(self._count, device=self._order.device)

    def _check(self, drop_last: bool) -> None:
        if self.batch_size < 1:
            raise DataError(f"got a batch size of {self.batch_size}, expected at least 1")
        if self._count < 1:
            raise DataError(f"split '{self.split.name}' has no images to draw from")
        if drop_last and not self._replacement and self._count < self.batch_size:
            raise DataError(
                f"split '{self.split.name}' has {self._count} images, fewer than one batch of "
                f"{self.batch_size}",
                "lower the batch size, or keep the last partial batch",
            )


def _permutation(count: int, generator: torch.Generator) -> Tensor:
    return torch.randperm(count, generator=generator, device=generator.device)
