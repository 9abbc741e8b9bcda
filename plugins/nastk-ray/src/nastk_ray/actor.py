"""The worker's side; imported on the nodes of the cluster."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path

from nastk.engine import StopRequest
from nastk.workers.errands import Servant


class Actor:
    """Answers the messages of one run, one after another."""

    def __init__(self) -> None:
        self._servant = Servant()

    def answer(self, message: bytes) -> bytes:
        """Return the answer to a message; failures are answers too."""
        return self._servant(message)


class Stage:
    """A process for one program; needs a second thread, in which it is asked to end.

    The program runs in the worker itself, not in a child, so that it ends with the worker.
    """

    def __init__(self) -> None:
        self._stop = StopRequest()

    def run(
        self, folder: str, env: Mapping[str, str], module: str, words: Sequence[str]
    ) -> tuple[int | None, str]:
        """Return exit code and last words of a program; no code where the folder is missing here.

        Args:
            folder: to work in.
            env: more of an environment.
            module: of the program, see :class:`nastk.executor.Program`.
            words: its command line.
        """
        host = socket.gethostname()
        if not Path(folder).is_dir():
            return None, f"{host} has no folder {folder}"
        os.chdir(folder)
        os.environ.update(env)
        try:
            code, said = import_module(f"{module}.__main__").answer(words, self._stop)
        except Exception as error:  # a defect, of which a process would print the traceback
            code, said = 1, f"{type(error).__name__}: {error}"
        return code, f"{host}: {said}" if said else ""

    def end(self) -> None:
        """Ask the program to end early."""
        self._stop.set()
