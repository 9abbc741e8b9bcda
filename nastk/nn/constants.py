"""Small matrices that depend on shapes alone, kept with the network that uses them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch

Arguments = ParamSpec("Arguments")
Made = TypeVar("Made")


class Constants(dict[Any, Any]):
    """What was made so far; a deep copy begins without it."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Constants:
        return Constants()


_KEPT: ContextVar[tuple[dict[Any, Any], torch.device] | None] = ContextVar(
    "constants", default=None
)


@contextmanager
def kept_in(store: dict[Any, Any], device: torch.device) -> Iterator[None]:
    """Look constants up in ``store``, and add to it what is missing, made on ``device``."""
    token = _KEPT.set((store, device))
    try:
        yield
    finally:
        _KEPT.reset(token)


def constant(make: Callable[Arguments, Made]) -> Callable[Arguments, Made]:
    """Return ``make`` so that, inside :func:`kept_in`, it runs once per arguments (hashable).

    A device among the arguments gives way to that of the pass: tensors that are asked for theirs
    deep inside of another operation do not always know it (``nastk.testing.pretend_cuda``).
    """

    @wraps(make)
    def found(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Made:
        kept = _KEPT.get()
        if kept is None:
            return make(*args, **kwargs)
        store, device = kept
        placed: Any = tuple(device if isinstance(a, torch.device) else a for a in args)
        key = (make.__module__, make.__name__, placed, *kwargs.items())
        if key not in store:
            store[key] = make(*placed, **kwargs)
        result: Made = store[key]
        return result

    return found
