"""A run under the eyes of somebody in Python: progress in a notebook or terminal, Ctrl-C."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from nastk.cli.common import App
from nastk.cli.progress import Meter, screen
from nastk.engine import StopRequest
from nastk.report.cells import progress_cell

INTERVAL = 0.5
"""Seconds between two drawings in a notebook."""

Show = Callable[[str], None]
"""Shows some HTML in the place of what it showed before."""


class Screen(Protocol):
    """A sink of events that gives the screen back at the end."""

    def emit(self, event: Mapping[str, Any]) -> None:
        """Show an event."""

    def close(self) -> None:
        """Give the screen back."""


class NotebookCell:
    """Bar, facts and newest pictures of a run in the output of a notebook's cell.

    Args:
        show: puts HTML into the cell, in the place of what stood there.
        folder: of a run that is continued; a new one tells its own.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        show: Show,
        folder: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._show = show
        self._clock = clock
        self._meter = Meter(clock)
        self._folder = folder
        self._sheet = ""
        self._last = -INTERVAL

    def emit(self, event: Mapping[str, Any]) -> None:
        """Draw again, at most every :data:`INTERVAL` seconds."""
        self._meter.take(event)
        kind = event.get("type")
        if kind == "folder":
            self._folder = Path(str(event["folder"]))
        if kind == "generation" and event.get("sheet"):
            self._sheet = str(event["sheet"])
        now = self._clock()
        if kind in ("stage", "generation") or now - self._last >= INTERVAL:
            self._last = now
            self._draw()

    def close(self) -> None:
        """Empty the cell: what the run came to shows itself."""
        self._show("")

    def _draw(self) -> None:
        sheet = self._folder / self._sheet if self._folder and self._sheet else None
        self._show(progress_cell(self._meter.line(), self._meter.share, sheet))


class _Silent:
    def emit(self, event: Mapping[str, Any]) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Nothing to give back."""


def make_screen(wanted: bool | None, folder: Path) -> Screen:
    """Return what shows a run: a notebook's cell, a bar on a terminal, else plain lines.

    Args:
        wanted: False: nothing; True or None: what fits.
        folder: of the run.
    """
    if wanted is False:
        return _Silent()
    show = _notebook()
    return NotebookCell(show, folder) if show is not None else screen(App())


@contextmanager
def patience(stop: StopRequest) -> Iterator[None]:
    """Let the first Ctrl-C (a notebook's stop button) stop the run in good order, the second now.

    Only the main thread hears of signals; in another one nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def threads_kept() -> Iterator[None]:
    """Give torch's number of threads back, which a run sets for itself."""
    import torch

    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _notebook() -> Show | None:
    """Return how to show HTML in the notebook that this is; None elsewhere."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None or not hasattr(shell, "kernel"):
        return None
    from IPython.display import HTML, display

    handle: Any = display(HTML(""), display_id=True)
    return lambda html: handle.update(HTML(html))
