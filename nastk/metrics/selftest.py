"""Can the extractor tell images from noise at all? Asked before anything is measured with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from attrs import frozen
from torch import Tensor

from nastk.errors import DataError, NastkError
from nastk.metrics.extractors import Extracted
from nastk.metrics.gathering import Gathered, Gathering
from nastk.metrics.generative import frechet_distance
from nastk.randomness import Randomness

if TYPE_CHECKING:
    from nastk.metrics.extractors import Extractor

MOST = 2000
"""Real images that a self-test looks at."""

RATIO = 2.0
"""How many times as far as real images noise must be."""


@frozen
class SelfTest:
    """Fréchet distances whose order is known beforehand.

    Attributes:
        near: between two halves of the real images.
        far: between the first half and as many images of uniform noise.
        images: real images in both halves together.
    """

    near: float
    far: float
    images: int

    @property
    def passed(self) -> bool:
        """Whether noise is at least :data:`RATIO` times as far as real images are."""
        return self.far > 0 and self.far >= RATIO * self.near

    def check(self, name: str) -> None:
        """Return if the extractor called ``name`` passed.

        Raises:
            NastkError: it did not; nothing that it judges means anything.
        """
        if not self.passed:
            raise NastkError(
                f"self-test: extractor '{name}' cannot tell noise from images: real against real "
                f"{self.near:.4g}, real against noise {self.far:.4g}, expected at least {RATIO:g} "
                "times as much",
                "choose another evaluator.extractor, take more real images, or leave the test out",
            )


def self_test(extractor: Extractor, images: Tensor, batch_size: int = 128) -> SelfTest:
    """Return how far real images are from real ones and from noise under an extractor.

    Args:
        extractor: on trial.
        images: ``(N, C, H, W)`` uint8 real images in random order, N >= 4; at most
            :data:`MOST` of them are used.
        batch_size: images per forward pass.

    Raises:
        DataError: fewer than 4 images.
    """
    if len(images) < 4:
        raise DataError(f"self-test: got {len(images)} real images, expected at least 4")
    count = min(MOST, len(images)) // 2 * 2
    real = images[torch.arange(count, device=images.device) * len(images) // count]
    source = Randomness(0).fixed("self-test/noise")
    shape = (count // 2, *images.shape[1:])
    noise = torch.randint(0, 256, shape, dtype=torch.uint8, generator=source)
    first, second, other = (
        _gathered(extractor, some, batch_size)
        for some in (real[::2], real[1::2], noise.to(images.device))
    )
    near = frechet_distance(first.statistics, second.statistics)
    return SelfTest(near, frechet_distance(first.statistics, other.statistics), count)


def _gathered(extractor: Extractor, images: Tensor, batch_size: int) -> Gathered:
    gathering = Gathering(len(images))
    for some in torch.split(images, batch_size):
        gathering.add(Extracted(extractor.extract(some, batch_size).features))
    return gathering.done()
