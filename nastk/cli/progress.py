"""Progress on stderr: a bar where there is a terminal, plain status lines elsewhere."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from nastk.cli.common import App, one_line, say

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

INTERVAL = 5.0
"""Seconds between two plain status lines."""
_ALWAYS = ("folder", "stage", "finalist", "resumed", "leaders", "needs", "interrupted", "warning")


class Meter:
    """Rate, best so far, budget used and time left, from the events of this process.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: float | None = None
        self._steps = 0
        self._share = 0.0
        self.stage = ""
        self.message = ""
        self.best: float | None = None
        self.share: float | None = None
        self.rate: float | None = None
        self.left: float | None = None

    def take(self, event: Mapping[str, Any]) -> None:
        """Learn from one event."""
        if event.get("type") == "stage":
            self.stage = str(event.get("stage", event.get("name", "")))
            self._since = self.share = self.rate = self.left = None
        if event.get("type") != "step":
            return
        self.message = str(event.get("message", ""))
        best = (event.get("values") or {}).get("best")
        self.best = best if isinstance(best, (int, float)) else self.best
        share = event.get("share")
        self.share = min(1.0, float(share)) if isinstance(share, (int, float)) else None
        self._estimate(int((event.get("spent") or {}).get("steps", 0)))

    def line(self) -> str:
        """Return the state as one line."""
        parts = [f"{self.stage}: {self.message}" if self.stage else self.message, *self.facts()]
        return " · ".join(part for part in parts if part)

    def facts(self) -> list[str]:
        """Return best, rate, share and time left, each where it is known."""
        facts = []
        if self.best is not None:
            facts.append(f"best {self.best:.4g}")
        if self.rate is not None:
            facts.append(f"{self.rate:.3g} steps/s")
        if self.share is not None:
            facts.append(f"{self.share:.0%} done")
        if self.left is not None:
            facts.append(f"{duration(self.left)} left")
        return facts

    def _estimate(self, steps: int) -> None:
        now = self._clock()
        if self._since is None:
            self._since, self._steps, self._share = now, steps, self.share or 0.0
            return
        passed, gained = now - self._since, (self.share or 0.0) - self._share
        if passed > 0:
            self.rate = (steps - self._steps) / passed
        if self.share is not None and gained > 0:
            self.left = passed / gained * (1.0 - self.share)


class Lines:
    """Plain status lines: at once where something began or ended, else every few seconds."""

    def __init__(self, level: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._level = level
        self._clock = clock
        self._meter = Meter(clock)
        self._last = -INTERVAL

    def emit(self, event: Mapping[str, Any]) -> None:
        """Show an event, or not, by the level of detail."""
        self._meter.take(event)
        kind = str(event.get("type", ""))
        if self._level > 1:
            say(json.dumps(event))
        elif self._tells(kind):
            say(describe(event))
        elif self._level >= 0 and kind == "step" and self._due():
            say(self._meter.line())

    def close(self) -> None:
        """Nothing to give back."""

    def _tells(self, kind: str) -> bool:
        if self._level < 0:
            return kind == "warning"
        return kind in _ALWAYS or (self._level > 0 and kind in ("trial", "generation"))

    def _due(self) -> bool:
        now = self._clock()
        if self._level < 1 and now - self._last < INTERVAL:
            return False
        self._last = now
        return True


class Bar:
    """One bar on a terminal, with lines above it."""

    def __init__(self, level: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

        self._level = level
        self._meter = Meter()
        self._console = Console(stderr=True, highlight=False)
        self._progress: Progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[facts]}", markup=False),
            console=self._console,
            # Ten times a second, which is usual, would take 1 % of a core from the training.
            refresh_per_second=2,
            transient=True,
        )
        self._task: TaskID = self._progress.add_task("starting", total=None, facts="")
        self._progress.start()

    def emit(self, event: Mapping[str, Any]) -> None:
        """Move the bar, and write a line above it where something began or ended."""
        self._meter.take(event)
        kind = str(event.get("type", ""))
        if kind in _ALWAYS or (self._level >= 1 and kind in ("trial", "generation")):
            self._console.print(one_line(describe(event)), markup=False)
        if kind == "step":
            meter = self._meter
            share = meter.share
            self._progress.update(
                self._task,
                description=one_line(f"{meter.stage}: {meter.message}"),
                total=None if share is None else 1.0,
                completed=share or 0.0,
                facts=" · ".join(meter.facts()),
            )

    def close(self) -> None:
        """Remove the bar and give the terminal back."""
        self._progress.stop()


class JsonLines:
    """Every event as one line of JSON on stdout."""

    def emit(self, event: Mapping[str, Any]) -> None:
        """Write the event."""
        click.echo(json.dumps(event, allow_nan=False))


def screen(app: App) -> Lines | Bar:
    """Return the sink that fits the terminal and the wishes of the user."""
    return Bar(app.level) if app.rich and 0 <= app.level <= 1 else Lines(app.level)


def describe(event: Mapping[str, Any]) -> str:
    """Return one line about an event: its type, message and plain values."""
    if event.get("type") in ("stage", "folder"):
        return f"{event['type']} {event.get(event['type'])}"
    if event.get("type") == "leaders":
        leaders = event.get("leaders") or [{}]
        found, going = event.get("found", 0), event.get("going_on", 0)
        goes = "goes" if going == 1 else "go"
        return f"leaders: {found} found, {going} {goes} on · best {leaders[0].get('codes', 'none')}"
    if event.get("type") == "needs":
        return f"the final training takes {needs_line(event)}"
    skip = ("schema", "type", "step", "spent", "time", "message")
    words = [str(event.get("message", ""))]
    words += [f"{k} {v}" for k, v in event.items() if k not in skip and _is_short(v)]
    return f"{event.get('type')}: {' · '.join(w for w in words if w)}"


def needs_line(needs: Mapping[str, Any]) -> str:
    """Return what a run takes of disk and memory, from the least to the most where they differ."""
    least, told = needs.get("least", {}), []
    for name in ("generation", "disk", "memory"):
        low = f"{least[name] / 2**20:,.1f} to " if name in least else ""
        told.append(f"{name} {low}{needs[name] / 2**20:,.1f} MB")
    return ", ".join([*told, *(["by which architecture wins"] if least else [])])


def _is_short(value: Any) -> bool:
    return isinstance(value, (int, float)) or (isinstance(value, str) and 0 < len(value) <= 100)


def duration(seconds: float) -> str:
    """Return a time as a reader says it."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
