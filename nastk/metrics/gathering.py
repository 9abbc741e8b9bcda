"""What the distances need of many images, gathered batch by batch in bounded memory."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from nastk.errors import ShapeError
from nastk.metrics import generative
from nastk.metrics.extractors import Extracted
from nastk.metrics.moments import Moments, Statistics

KEPT = 10_000
"""Features that are held where there are more than :data:`generative.STREAM_FROM` of them."""


class Gathered:
    """What an extractor said of N images, as far as it is needed.

    Attributes:
        count: N.
        features: ``(K, F)`` float32: of all images, or of evenly spaced ones where there are more
            than :data:`nastk.metrics.generative.STREAM_FROM`.
    """

    def __init__(
        self,
        count: int,
        features: Tensor,
        logits: Tensor | None = None,
        moments: Moments | None = None,
        scores: SplitScores | None = None,
    ) -> None:
        self.count = count
        self.features = features
        self._logits = logits
        self._moments = moments
        self._scores = scores

    @cached_property
    def statistics(self) -> Statistics:
        """Mean ``(F,)`` and covariance ``(F, F)`` of the features of all images, float64."""
        if self._moments is not None:
            return self._moments.statistics()
        return generative.statistics(self.features)

    def score(self, splits: int) -> tuple[float, float] | None:
        """Return mean and deviation of the inception score; None without logits.

        Raises:
            ShapeError: the logits were gathered for another number of splits.
        """
        if self._scores is not None:
            return self._scores.score(splits)
        return None if self._logits is None else generative.inception_score(self._logits, splits)


class Gathering:
    """Takes in what an extractor says of images, batch by batch, in a fixed order.

    Up to :data:`nastk.metrics.generative.STREAM_FROM` images all features and logits are held, and
    every number is computed by torch-fidelity from all of them. Beyond, only float64 moments, the
    sums of the inception score and :data:`KEPT` features are held; distances and scores are those
    of all images up to rounding, kernel distance, precision and recall those of the kept ones.

    Args:
        total: number of images that will come, >= 1.
        splits: of the inception score.
    """

    def __init__(self, total: int, splits: int = 1) -> None:
        self._total = total
        self._splits = splits
        self._seen = 0
        streams = total > generative.STREAM_FROM
        kept = min(KEPT, total) if streams else total
        self._places = torch.arange(kept) * total // kept
        self._features: Tensor | None = None
        self._logits: Tensor | None = None
        self._moments = Moments() if streams else None
        self._scores: SplitScores | None = None

    def add(self, found: Extracted) -> None:
        """Take in one batch.

        Raises:
            ShapeError: more images than were announced.
        """
        first, last = self._seen, self._seen + len(found.features)
        if last > self._total:
            raise ShapeError(f"images: got {last} so far, expected {self._total}")
        begin, end = torch.searchsorted(self._places, torch.tensor([first, last])).tolist()
        mine = self._places[begin:end] - first
        self._features = _filled(self._features, len(self._places), begin, found.features[mine])
        if self._moments is not None:
            self._moments.add(found.features)
            self._add_scores(found.logits)
        elif found.logits is not None:
            self._logits = _filled(self._logits, self._total, first, found.logits)
        self._seen = last

    def done(self) -> Gathered:
        """Return what was gathered.

        Raises:
            ShapeError: fewer images came than were announced.
        """
        if self._features is None or self._seen != self._total:
            raise ShapeError(f"images: got {self._seen}, expected {self._total}")
        return Gathered(self._total, self._features, self._logits, self._moments, self._scores)

    def _add_scores(self, logits: Tensor | None) -> None:
        if logits is None:
            return
        if self._scores is None:
            self._scores = SplitScores(self._total, self._splits)
        self._scores.add(logits)


class SplitScores:
    """The inception score of images whose logits come batch by batch and are not held.

    Which image belongs to which split is what torch-fidelity's shuffle makes of it.

    Args:
        total: number of images that will come.
        splits: parts whose scores are averaged, 1 to ``total``.

    Source:
        Salimans et al. 2016 (arXiv:1606.03498). Differs: the mean divergence is taken apart into
        mean negative entropy and entropy of the mean, so that sums suffice.
    """

    def __init__(self, total: int, splits: int) -> None:
        order = np.random.RandomState(generative.SEED).permutation(total)
        self._split = torch.empty(total, dtype=torch.int64)
        for i in range(splits):
            mine = order[i * total // splits : (i + 1) * total // splits]
            self._split[torch.from_numpy(mine)] = i
        self._splits = splits
        self._seen = 0
        self._sums: Tensor | None = None
        self._negative = torch.zeros(splits, dtype=torch.float64)

    def add(self, logits: Tensor) -> None:
        """Take in ``(N, L)`` logits of the next N images."""
        wide = logits.double()
        p, log_p = wide.softmax(dim=1), wide.log_softmax(dim=1)
        split = self._split[self._seen : self._seen + len(logits)]
        if self._sums is None:
            self._sums = torch.zeros(self._splits, logits.shape[1], dtype=torch.float64)
        self._sums.index_add_(0, split, p)
        self._negative.index_add_(0, split, (p * log_p).sum(dim=1))
        self._seen += len(logits)

    def score(self, splits: int) -> tuple[float, float]:
        """Return mean and standard deviation of the score over the splits.

        Raises:
            ShapeError: another number of splits than was announced, or images are missing.
        """
        if splits != self._splits or self._sums is None or self._seen != len(self._split):
            raise ShapeError(f"inception score: got {splits} splits, expected {self._splits}")
        counts = torch.bincount(self._split, minlength=splits).double()
        mean = self._sums / counts[:, None]
        divergence = self._negative / counts - torch.xlogy(mean, mean).sum(dim=1)
        scores = divergence.exp()
        return float(scores.mean()), float(scores.std(correction=0))


def gathered(found: Extracted, splits: int = 1) -> Gathered:
    """Return what was extracted of all images at once as :class:`Gathered`."""
    gathering = Gathering(len(found.features), splits)
    gathering.add(found)
    return gathering.done()


def _filled(whole: Tensor | None, rows: int, first: int, part: Tensor) -> Tensor:
    """Write ``part`` into rows of ``whole``, which is made where it is not there yet."""
    if whole is None:
        whole = torch.empty(rows, *part.shape[1:], dtype=part.dtype)
    whole[first : first + len(part)] = part
    return whole
