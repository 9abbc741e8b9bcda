"""Dynamic reset: shared networks whose losses stand still have collapsed and start anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nastk.errors import TrialError
from nastk.gan.health import HealthPolicy, Observation, check_finite


class RunningVariance:
    """Mean and population variance of the last values.

    Args:
        window: how many, >= 2.
    """

    def __init__(self, window: int) -> None:
        self._values = np.zeros(window)
        self._count = 0

    def push(self, value: float) -> None:
        """Take a value in; the oldest goes once the window is full."""
        self._values[self._count % len(self._values)] = value
        self._count += 1

    def clear(self) -> None:
        """Forget everything."""
        self._count = 0

    @property
    def full(self) -> bool:
        """Whether the window is full."""
        return self._count >= len(self._values)

    @property
    def mean(self) -> float:
        """Mean of the values held, NaN without any."""
        return float(self._held.mean()) if self._count else float("nan")

    @property
    def variance(self) -> float:
        """Population variance of the values held, NaN without any."""
        return float(self._held.var()) if self._count else float("nan")

    @property
    def _held(self) -> np.ndarray[Any, Any]:
        return self._values[: min(self._count, len(self._values))]

    def state_dict(self) -> dict[str, Any]:
        """Return window and position."""
        return {"values": self._values.copy(), "count": self._count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self._values[:] = state["values"]
        self._count = int(state["count"])


class DynamicReset(HealthPolicy):
    """Gives the pair up when the variance of G's or of D's recent losses falls below a threshold.

    Nothing is judged before G's window is full. The variance, not the standard deviation, is
    compared, as in the public code of X. Gong et al. 2019.

    Args:
        threshold: of the variance; 0: never.
        window: losses of each network.
    """

    def __init__(self, threshold: float, window: int) -> None:
        self._threshold = threshold
        self.g, self.d = RunningVariance(window), RunningVariance(window)

    def observe(self, observation: Observation) -> Mapping[str, float]:
        """Return both variances (those of windows that are full).

        Raises:
            TrialError: ``collapsed``, or ``diverged`` when weights, images or losses are not
                finite.
        """
        check_finite(observation.losses, observation.steps)
        if not observation.finite:
            raise TrialError(
                f"step {observation.steps}: weights or images are not finite", "diverged"
            )
        self.take(observation.losses.get("g", []), observation.losses.get("d", []))
        windows = {"g_variance": self.g, "d_variance": self.d}
        return {name: w.variance for name, w in windows.items() if w.full}

    def take(self, g: Sequence[float], d: Sequence[float]) -> None:
        """Take losses in, step by step; D has as many per step of G as it has turns.

        Raises:
            TrialError: ``collapsed``; both windows are empty then.
        """
        turns = len(d) // max(1, len(g))
        for i, loss in enumerate(g):
            for other in d[i * turns : (i + 1) * turns]:
                self.d.push(other)
            self.g.push(loss)
            self._judge()

    def _judge(self) -> None:
        if not self.g.full or self._threshold == 0.0:
            return
        lowest = min(self.g.variance, self.d.variance)
        if lowest < self._threshold:
            self.g.clear()
            self.d.clear()
            raise TrialError(
                f"the losses stand still: variance {lowest:.2g} below {self._threshold:g}",
                "collapsed",
            )

    def state_dict(self) -> dict[str, Any]:
        """Return both windows."""
        return {"g": self.g.state_dict(), "d": self.d.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.g.load_state_dict(state["g"])
        self.d.load_state_dict(state["d"])
