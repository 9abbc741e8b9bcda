"""A process that runs some cells of a comparison: ``python -m nastk.comparing FOLDER TASK…``."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from nastk.comparing.running import INTERRUPTED, NOWHERE, Here, task_of
from nastk.comparing.store import Store
from nastk.engine import StopRequest
from nastk.errors import NastkError
from nastk.plugins import load


def main(words: Sequence[str]) -> int:
    """Run the tasks until a signal asks to end; print why they came to no end."""
    stop = StopRequest()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    code, said = answer(words, stop)
    if said:
        print(said, file=sys.stderr)
    return code


def answer(words: Sequence[str], stop: StopRequest) -> tuple[int, str]:
    """Run the tasks; return an exit code and why they came to no end.

    Args:
        words: folder of the comparison, then a task each.
        stop: asks for an early end.

    Returns:
        0 when all came to an end, :data:`INTERRUPTED` when asked to stop, :data:`NOWHERE` when
        the folder holds no comparison, else 1.
    """
    try:
        store = Store.open(Path(words[0]))
    except NastkError as error:
        return NOWHERE, str(error)
    try:
        trouble = Here(store, load(warn=_drop), stop)([task_of(word) for word in words[1:]])
    except NastkError as error:
        return 1, str(error)
    return (INTERRUPTED, trouble) if trouble else (0, "")


def _drop(line: str) -> None:
    pass


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
