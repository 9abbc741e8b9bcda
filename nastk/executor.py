"""``Executor``: where independent candidates run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from nastk.assembly import World

T = TypeVar("T")
R = TypeVar("R")


class Executor(ABC):
    """Runs independent tasks: all of a batch, or one after another while others still run.

    Life: made from its settings → ``start`` → any number of ``map`` and ``submit`` with
    ``collect`` → ``close``, after which it may be used again.

    Attributes:
        name: registered name.
        listener: told of worker losses and the like, one line each; None: nobody listens.
    """

    name: str
    listener: Callable[[str], None] | None = None

    def start(self, world: World) -> None:  # noqa: B027
        """Take the run whose candidates are tried; nothing is started or spent yet.

        Called once, when the run is put together.
        """

    @abstractmethod
    def map(self, function: Callable[[T], R], tasks: Sequence[T]) -> Iterator[R]:
        """Yield ``function(task)`` for each task, in order."""

    def submit(self, function: Callable[[T], R], task: T) -> None:
        """Take a task whose result :meth:`collect` will give."""
        self._submitted.append((function, task))

    def collect(self) -> tuple[Any, Any]:
        """Return a submitted task and its result, those that are done first.

        Raises:
            IndexError: nothing is submitted that was not collected.
        """
        function, task = self._submitted.popleft()
        return task, next(iter(self.map(function, [task])))

    def close(self) -> None:
        """Forget what is submitted and let go of everything held; no task runs after."""
        self._submitted.clear()

    @property
    def _submitted(self) -> deque[tuple[Callable[[Any], Any], Any]]:
        # Made when first needed: executors need not call a constructor of ours.
        queue: deque[tuple[Callable[[Any], Any], Any]] = self.__dict__.setdefault("_queue", deque())
        return queue


class InProcess(Executor):
    """Runs one task after another in this process.

    Attributes:
        guard: does each task in place of a plain call, ``guard(function, task)``; None: nobody.
    """

    name = "in-process"
    guard: Callable[[Callable[[Any], Any], Any], Any] | None = None

    def map(self, function: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Any]:
        """Yield ``function(task)`` for each task, in order."""
        for task in tasks:
            yield function(task) if self.guard is None else self.guard(function, task)


def in_process(config: None = None) -> InProcess:
    """Return the executor that runs everything in this process."""
    return InProcess()
