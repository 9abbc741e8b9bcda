"""Generated images beside their nearest training images, so that memorising is seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from attrs import frozen
from torch import Tensor

from nastk.errors import ShapeError

if TYPE_CHECKING:
    from nastk.metrics.extractors import Extractor

MOST = 500
"""Generated images, and as many real ones, whose neighbours are looked for."""

CHUNK = 512
"""Training images that are looked at together."""

TAIL = 0.05
"""The share of unseen real images that counts as unusually near."""

ALARM = 0.25
"""Share of generated images as near as that, from which the verdict warns."""

SHOWN = 30
"""Generated images on a sheet."""


@frozen(eq=False)
class Nearest:
    """The nearest training image of each query.

    Attributes:
        distance: ``(Q,)`` float64, Euclidean.
        index: ``(Q,)`` int64, into the training images.
    """

    distance: Tensor
    index: Tensor


@frozen(eq=False)
class Nearness:
    """How near generated images are to training images, beside unseen real images.

    Attributes:
        where: ``features`` or ``pixels``.
        generated: of generated images.
        unseen: of real images outside the training split.
    """

    where: str
    generated: Nearest
    unseen: Nearest

    @property
    def nearer(self) -> float:
        """Share of generated images nearer than half of the unseen ones are; 0.5 is expected."""
        return self._share(0.5)

    @property
    def nearest(self) -> float:
        """Share of generated images nearer than the nearest 5 % of the unseen ones; 0.05 too."""
        return self._share(TAIL)

    @property
    def alarming(self) -> bool:
        """Whether far more generated images than expected are unusually near."""
        return self.nearest >= ALARM

    def facts(self) -> dict[str, Any]:
        """Return the numbers as JSON data."""
        return {
            "median_generated": float(self.generated.distance.median()),
            "median_unseen": float(self.unseen.distance.median()),
            "share_nearer_than_median": self.nearer,
            "share_nearer_than_nearest_twentieth": self.nearest,
        }

    def _share(self, quantile: float) -> float:
        # "As near" counts only when nearer: equal sets of images are no sign of memorising.
        limit = torch.quantile(self.unseen.distance, quantile)
        return float((self.generated.distance < limit).double().mean())


@frozen(eq=False)
class Neighbours:
    """What is nearest to generated images, in two senses.

    Attributes:
        features: by the extractor.
        pixels: by the images themselves.
        images: ``(Q, C, H, W)`` uint8 generated images.
        train: ``(N, C, H, W)`` uint8 training images.
    """

    features: Nearness
    pixels: Nearness
    images: Tensor
    train: Tensor

    @property
    def verdict(self) -> str:
        """One line: whether the generated images look copied."""
        told = ", ".join(f"{near.nearest:.0%} in {near.where}" for near in self._both)
        lead = (
            "nearer to training images than unseen images are: memorised, or plainer than real "
            "ones; look at the sheet"
            if any(near.alarming for near in self._both)
            else "no sign of memorising"
        )
        return f"{lead}: {told} are nearer than the nearest {TAIL:.0%} of unseen real images"

    def facts(self) -> dict[str, Any]:
        """Return verdict and numbers as JSON data."""
        return {
            "verdict": self.verdict,
            "alarming": any(near.alarming for near in self._both),
            "generated": len(self.images),
            "unseen": len(self.features.unseen.distance),
            "train": len(self.train),
            **{near.where: near.facts() for near in self._both},
        }

    def sheet(self) -> Tensor:
        """Return ``(3 · K, C, H, W)`` uint8: generated, nearest in features, nearest in pixels, ….

        The K generated images nearest in features, nearest first; K is at most :data:`SHOWN`.
        """
        order = self.features.generated.distance.argsort(stable=True)[:SHOWN]
        pairs = [near.generated.index[order] for near in self._both]
        rows = [self.images[order].cpu(), *(self.train[i.to(self.train.device)] for i in pairs)]
        return torch.stack([row.cpu() for row in rows], dim=1).flatten(0, 1)

    @property
    def _both(self) -> tuple[Nearness, Nearness]:
        return self.features, self.pixels


def neighbours(
    extractor: Extractor, generated: Tensor, unseen: Tensor, train: Tensor
) -> Neighbours:
    """Return what is nearest to generated and to unseen real images among training images.

    Distances in pixels are root mean squares in levels of 0 to 255. The training images are
    walked through in chunks.

    Args:
        extractor: that tells features.
        generated: ``(G, C, H, W)`` uint8; the first :data:`MOST` are used.
        unseen: ``(U, C, H, W)`` uint8 real images outside ``train``; likewise.
        train: ``(N, C, H, W)`` uint8.

    Raises:
        ShapeError: images of different sizes.
    """
    shapes = {tuple(images.shape[1:]) for images in (generated, unseen, train)}
    if len(shapes) > 1:
        raise ShapeError(f"neighbours: got images of {sorted(shapes)}, expected one size")
    generated, unseen = generated[:MOST], unseen[:MOST]
    queries = torch.cat([generated.cpu(), unseen.cpu()])
    found = [
        _nearness(where, view, queries, len(generated), train)
        for where, view in (("features", extractor.features), ("pixels", _pixels))
    ]
    return Neighbours(found[0], found[1], generated, train)


def _nearness(
    where: str, view: Callable[[Tensor], Tensor], queries: Tensor, count: int, train: Tensor
) -> Nearness:
    found = nearest(view(queries), (view(some) for some in torch.split(train, CHUNK)))
    first, second = (
        Nearest(found.distance[part], found.index[part])
        for part in (slice(None, count), slice(count, None))
    )
    return Nearness(where, first, second)


def nearest(queries: Tensor, batches: Iterator[Tensor]) -> Nearest:
    """Return the nearest row of ``batches`` of each query; the first of equals.

    Args:
        queries: ``(Q, F)`` float32.
        batches: ``(N, F)`` each, same F.
    """
    best = torch.full((len(queries),), float("inf"))
    index = torch.zeros(len(queries), dtype=torch.int64)
    rows = torch.zeros_like(queries)
    first = 0
    for batch in batches:
        near = torch.cdist(queries, batch).min(dim=1)
        better = near.values < best
        best[better] = near.values[better]
        index[better] = near.indices[better] + first
        rows[better] = batch[near.indices[better]]
        first += len(batch)
    # What found them is quick and rounds; two equal rows are at distance 0.
    return Nearest((queries.double() - rows.double()).norm(dim=1), index)


def _pixels(images: Tensor) -> Tensor:
    flat = images.cpu().flatten(1).float()
    return flat.div(flat.shape[1] ** 0.5)
