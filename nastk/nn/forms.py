"""Whether networks run in faster exact forms, or as they are defined."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_PLAIN: ContextVar[bool] = ContextVar("plain forms", default=False)


@contextmanager
def plain_forms() -> Iterator[None]:
    """Evaluate every network as it is defined: what counts costs, and what others are held to."""
    token = _PLAIN.set(True)
    try:
        yield
    finally:
        _PLAIN.reset(token)


def plain() -> bool:
    """Return whether :func:`plain_forms` is in force."""
    return _PLAIN.get()
