"""Pareto dominance."""

from __future__ import annotations

from collections.abc import Sequence


def dominates(a: Sequence[float], b: Sequence[float]) -> bool:
    """Return whether ``a`` is nowhere larger than ``b`` and somewhere smaller."""
    pairs = list(zip(a, b, strict=True))
    return all(x <= y for x, y in pairs) and any(x < y for x, y in pairs)


def front(vectors: Sequence[Sequence[float]]) -> list[int]:
    """Return the indices of the vectors that no other dominates; smaller is better."""
    return [i for i, v in enumerate(vectors) if not any(dominates(w, v) for w in vectors)]
