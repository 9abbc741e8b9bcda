"""``Executor``: where independent candidates run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Executor(ABC):
    """Runs independent tasks; results come back in the order of the tasks."""

    name: str

    @abstractmethod
    def map(self, function: Callable[[T], R], tasks: Sequence[T]) -> Iterator[R]:
        """Yield ``function(task)`` for each task, in order."""


class InProcess(Executor):
    """Runs one task after another in this process."""

    name = "in-process"

    def map(self, function: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Any]:
        """Yield ``function(task)`` for each task, in order."""
        for task in tasks:
            yield function(task)


def in_process(config: None = None) -> InProcess:
    """Return the executor that runs everything in this process."""
    return InProcess()
