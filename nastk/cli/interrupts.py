"""Ctrl-C and SIGTERM: the first asks the engine to commit and stop, the second stops at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from attrs import define

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
"""Signal → exit code of a run that it stopped."""
_STOPPING = b"stopping: this step is finished and committed first (once more stops at once)\n"


@define
class Interrupt:
    """Which signal came.

    Attributes:
        code: exit code for it; that of Ctrl-C when none came.
    """

    code: int = CODES[signal.SIGINT]


@contextmanager
def interrupts(ask: Callable[[], None]) -> Iterator[Interrupt]:
    """Call ``ask`` on the first SIGINT or SIGTERM of the block; exit at the second.

    Raises:
        SystemExit: at the second signal, with its code.
    """
    seen = Interrupt()
    asked = False

    def handle(number: int, _: FrameType | None) -> None:
        nonlocal asked
        seen.code = CODES[signal.Signals(number)]
        if asked:
            raise SystemExit(seen.code)
        asked = True
        ask()
        os.write(2, _STOPPING)  # not through a stream: it may be in the middle of a write

    before = {number: signal.signal(number, handle) for number in CODES}
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
