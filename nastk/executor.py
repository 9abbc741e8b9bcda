"""``Executor``: where independent candidates run, and whole programs such as cells of a table."""

from __future__ import annotations

import os
import subprocess
import sys
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import frozen

from nastk.errors import ConfigError

if TYPE_CHECKING:
    from nastk.assembly import World

T = TypeVar("T")
R = TypeVar("R")

LOOK = 0.5
"""Seconds between two looks whether a program is to end."""


@frozen
class Program:
    """A program that runs apart from this process: ``python -m MODULE WORDS``.

    Attributes:
        module: a package; its ``__main__`` has ``answer(words, stop)`` besides, which returns exit
            code and last words and ends early once ``stop`` is set.
        words: of its command line; paths are seen from the working directory of this process.
        name: by which a user knows it.
        device: where it computes, in the words of ``run.device``.
    """

    module: str
    words: tuple[str, ...]
    name: str = ""
    device: str = "cpu"


@frozen
class Ended:
    """How a program came to its end.

    Attributes:
        code: that it exited with.
        said: the last line that it said, or how it was lost.
    """

    code: int
    said: str


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

    def places(self, device: str) -> int:
        """Return how many programs have room at a time; asked in the main thread, before the first.

        Args:
            device: of the programs.

        Raises:
            ConfigError: there is no room for one of them, or no such device.
        """
        return 2

    def run_apart(self, program: Program, stopped: Callable[[], bool]) -> Ended:
        """Run a program in a process of its own, which its crash takes down alone.

        Needs no :meth:`start`. Several threads may wait for a program each.

        Args:
            program: what to run.
            stopped: whether it is to end early; asked now and then, also while it waits for room.

        Raises:
            NastkError: no further program can run.
        """
        return in_a_process(program, stopped)

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


def in_a_process(program: Program, stopped: Callable[[], bool], **env: str) -> Ended:
    """Run a program in a process of this machine, with one thread and more of an environment."""
    command = [sys.executable, "-m", program.module, *program.words]
    around = {**os.environ, "OMP_NUM_THREADS": "1", **env}
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=around)
    while True:
        try:
            _, said = child.communicate(timeout=LOOK)
            break
        except subprocess.TimeoutExpired:
            if stopped() and child.poll() is None:
                child.terminate()
    how = f"its process ended with {child.returncode}"
    return Ended(child.returncode, (said.strip().splitlines() or [how])[-1])


def check_lent(name: str, device: str) -> None:
    """Refuse a device by its number, where programs see only the one that they are lent.

    Args:
        name: of the executor that lends.
        device: in the words of ``run.device``.

    Raises:
        ConfigError: it has another number than 0.
    """
    if device not in ("auto", "cpu", "cuda", "cuda:0"):
        raise ConfigError(
            f"executor '{name}': got device '{device}', but every cell sees its own as 'cuda:0'",
            "use --device cuda",
        )
