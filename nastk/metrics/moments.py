"""Mean and covariance of features that come batch by batch, in float64."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from nastk.errors import ShapeError

Statistics = Mapping[str, NDArray[np.float64]]
"""``mu`` of shape (F,) and ``sigma`` of shape (F, F)."""


class Moments:
    """Moments of all rows added so far; holds F + F² numbers, however many rows there were.

    Source:
        Chan, Golub, LeVeque 1979, "Updating formulae and a pairwise algorithm".
    """

    def __init__(self) -> None:
        self.count = 0
        self._mean: NDArray[np.float64] = np.zeros(0)
        self._scatter: NDArray[np.float64] = np.zeros((0, 0))

    def add(self, features: Tensor) -> None:
        """Take in rows.

        Args:
            features: ``(N, F)`` floats on the CPU, N >= 1, the same F at every call.

        Raises:
            ShapeError: no matrix, no rows, or another width than before.
        """
        if not self.count and features.ndim == 2:
            width = features.shape[1]
            self._mean, self._scatter = np.zeros(width), np.zeros((width, width))
        if features.ndim != 2 or not len(features) or features.shape[1] != len(self._mean):
            raise ShapeError(
                f"features: got {tuple(features.shape)}, expected (N, {len(self._mean)}), N >= 1"
            )
        rows = features.double().numpy()
        n, centre = len(rows), rows.mean(axis=0)
        step, spread = centre - self._mean, rows - centre
        total = self.count + n
        self._scatter += spread.T @ spread + np.outer(step, step) * (self.count * n / total)
        self._mean += step * (n / total)
        self.count = total

    def statistics(self) -> Statistics:
        """Return mean ``mu`` ``(F,)`` and covariance ``sigma`` ``(F, F)`` (divided by N - 1).

        Raises:
            ShapeError: fewer than two rows were added.
        """
        if self.count < 2:
            raise ShapeError(f"features: got {self.count} rows, expected at least 2")
        return {"mu": self._mean.copy(), "sigma": self._scatter / (self.count - 1)}
