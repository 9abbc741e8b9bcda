"""Untrusted JSON taken for what it should be: anything else is empty, never an error."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

LIMIT = 300
"""Characters of a text that are shown."""


def mapping(value: object) -> Mapping[str, Any]:
    """Return ``value`` where it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def entries(value: object) -> list[Any]:
    """Return ``value`` where it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def number(value: object) -> float | None:
    """Return ``value`` where it is a finite number that fits a float, else None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def text(value: object, limit: int = LIMIT) -> str:
    """Return a string on one line, printable and at most ``limit`` long; else ``""``."""
    if not isinstance(value, str):
        return ""
    words = " ".join(value[: 4 * limit].split())
    clean = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in words)
    return clean if len(clean) <= limit else f"{clean[: limit - 1]}…"


def shown(value: object, limit: int = LIMIT) -> str:
    """Return any plain value as one line: text as it is, the rest as JSON."""
    if isinstance(value, str):
        return text(value, limit)
    try:
        return text(json.dumps(value), limit)
    except (TypeError, ValueError, RecursionError):
        return "…"


def figure(value: object, digits: int = 4) -> str:
    """Return a number for a table: ``12,345``, ``0.1235``, ``1.2e+09``; ``""`` for no number."""
    found = number(value)
    if found is None:
        return ""
    whole = found == int(found) and abs(found) < 1e7
    return f"{int(found):,}" if whole else f"{found:.{digits}g}"


def short(value: float) -> str:
    """Return a number for an axis: ``1.5k``, ``20M``, ``0.25``."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.4g}{letter}"
    return f"{value:.4g}"


def duration(seconds: object) -> str:
    """Return seconds as ``40 s``, ``12 min`` or ``3 h 5 min``."""
    whole = int(number(seconds) or 0)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60} min"
