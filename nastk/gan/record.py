"""Per-step losses kept on the device and read in one go; multiply-accumulates per path."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nastk.nn.complexity import count

if TYPE_CHECKING:
    from nastk.nn.choice import Network

MAX_PATHS = 32
"""Distinct paths of one network whose cost is counted; later ones cost the mean of these."""

Values = dict[str, list[float]]


class Recorder:
    """Named scalars, gathered on the device without waiting for it."""

    def __init__(self) -> None:
        self._open: dict[str, list[Tensor]] = {}

    def add(self, name: str, value: Tensor) -> None:
        """Keep a scalar tensor until the next :meth:`flush`."""
        self._open.setdefault(name, []).append(value.detach())

    def flush(self) -> Values:
        """Return what was added since the last call, in order; one synchronisation."""
        rows, self._open = self._open, {}
        if not rows:
            return {}
        numbers = torch.stack([v.double() for row in rows.values() for v in row]).tolist()
        result, start = {}, 0
        for name, row in rows.items():
            result[name] = numbers[start : start + len(row)]
            start += len(row)
        return result


def extend(values: Values, more: Mapping[str, list[float]]) -> None:
    """Append the lists of ``more`` to those of ``values``, in place."""
    for name, numbers in more.items():
        values.setdefault(name, []).extend(numbers)


def means(values: Mapping[str, list[float]]) -> dict[str, float]:
    """Return the mean of every named list."""
    return {name: sum(numbers) / len(numbers) for name, numbers in values.items() if numbers}


class MacMeter:
    """Forward multiply-accumulates of a network's active path for one sample, counted once."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def of(self, network: Network, shape: tuple[int, ...]) -> int:
        """Return the cost of what ``network`` runs now on one input of ``shape``.

        After :data:`MAX_PATHS` distinct paths, the mean of those counted.
        """
        key = _digest((network.selection.key(), bool(network.selection.weights), shape))
        if key not in self._known:
            if len(self._known) >= MAX_PATHS:
                return sum(self._known.values()) // len(self._known)
            self._known[key] = count(network, shape).macs
        return self._known[key]

    def state_dict(self) -> dict[str, Any]:
        """Return the counted paths."""
        return dict(self._known)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self._known = {key: int(macs) for key, macs in state.items()}


def _digest(key: object) -> str:
    return hashlib.sha256(repr(key).encode()).hexdigest()[:16]
