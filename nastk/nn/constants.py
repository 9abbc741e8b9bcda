"""Small matrices that depend on shapes alone, kept with the network that uses them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Made = TypeVar("Made")


class Constants(dict[Any, Any]):
    """What was made so far; a deep copy begins without it."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Constants:
        return Constants()


_KEPT: ContextVar[dict[Any, Any] | None] = ContextVar("constants", default=None)


@contextmanager
def kept_in(store: dict[Any, Any]) -> Iterator[None]:
    """Look constants up in ``store``, and add to it what is missing."""
    token = _KEPT.set(store)
    try:
        yield
    finally:
        _KEPT.reset(token)


def constant(make: Callable[Arguments, Made]) -> Callable[Arguments, Made]:
    """Return ``make`` so that, inside :func:`kept_in`, it runs once per arguments (hashable)."""

    @wraps(make)
    def found(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Made:
        store = _KEPT.get()
        if store is None:
            return make(*args, **kwargs)
        key = (make.__module__, make.__name__, args, *kwargs.items())
        if key not in store:
            store[key] = make(*args, **kwargs)
        result: Made = store[key]
        return result

    return found
