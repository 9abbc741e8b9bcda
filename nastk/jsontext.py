"""JSON that somebody else wrote, parsed within limits of size, depth and number of values."""

from __future__ import annotations

import json
from typing import Any

MAX_DEPTH = 100
"""Containers in containers, unless a reader says otherwise."""
MAX_VALUES = 4_000_000
"""Values in one text: each takes up to about 100 bytes of memory, 30 times what it has on disk."""


def parse(
    text: bytes | str, *, depth: int = MAX_DEPTH, values: int = MAX_VALUES, unique: bool = False
) -> Any:
    """Return what a JSON text says; NaN and infinities are no JSON.

    Args:
        text: of a size that the caller has checked.
        depth: most containers in containers.
        values: most values of all kinds; commas and brackets within strings count too.
        unique: refuse an object in which a key stands twice.

    Raises:
        ValueError: no JSON, or beyond the limits; one line.
    """
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if sum(data.count(mark) for mark in (b",", b"[", b"{")) > values:
        raise ValueError(f"got more than {values} values")
    hook = _unique if unique else None
    try:
        document = json.loads(text, object_pairs_hook=hook, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    _check_depth(document, depth)
    return document


def _check_depth(document: Any, depth: int) -> None:
    level = [document] if isinstance(document, (dict, list)) else []
    while level:
        if depth == 0:
            raise ValueError("nested too deeply")
        depth -= 1
        parts = [c.values() if isinstance(c, dict) else c for c in level]
        level = [v for part in parts for v in part if isinstance(v, (dict, list))]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key stands twice")
    return document


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")
