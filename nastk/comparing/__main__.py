"""A process that runs some cells of a comparison: ``python -m nastk.comparing FOLDER TASK…``."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from nastk.comparing.running import INTERRUPTED, Here, task_of
from nastk.comparing.store import Store
from nastk.engine import StopRequest
from nastk.errors import NastkError
from nastk.plugins import load


def main(words: list[str]) -> int:
    """Run the tasks; return 0 when all came to an end, 130 when asked to stop, else 1."""
    stop = StopRequest()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        work = Here(Store.open(Path(words[0])), load(warn=_drop), stop)
        trouble = work([task_of(word) for word in words[1:]])
    except NastkError as error:
        print(f"{error}", file=sys.stderr)
        return 1
    return INTERRUPTED if trouble else 0


def _drop(line: str) -> None:
    pass


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
