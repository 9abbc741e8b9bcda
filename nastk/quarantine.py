"""Work that ends its process is not begun for ever: what was under way when the last one died.

Before a candidate is tried in this process, ``under-way.json`` names it; afterwards the file is
gone. A process that a fault in native code ends (segmentation fault, abort, bus error) writes where
into ``fatal.log`` with its last breath, and the kernel counts whom it kills for want of memory.
Whoever resumes the run reads both. Only such deaths count against the work that was under way: a
``kill -9``, a power cut and an interrupt say nothing about it.
"""

from __future__ import annotations

import faulthandler
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from nastk import disk
from nastk.errors import DiskError, RunFolderError, TrialError
from nastk.records import SCHEMA
from nastk.rundir import RunFolder, write_json
from nastk.state import read_json

UNDER_WAY, FATAL = "under-way.json", "fatal.log"
CRASHED = "crashed"
MAX_BYTES = 4096


class Quarantine:
    """What may not be tried any more in one run.

    Args:
        folder: of the run, held.
        limit: deaths after which some work is given up, at least 1.
    """

    def __init__(self, folder: RunFolder, limit: int) -> None:
        self.folder = folder
        self.limit = limit
        self._deaths: Counter[str] = Counter()
        self._causes: dict[str, str] = {}
        self._log: IO[bytes] | None = None

    def inquest(self) -> str:
        """Learn what the processes before died of; return a line about the last, or nothing.

        Called once, before any work.
        """
        cause, where = self._cause()
        work = self._under_way()
        if cause:
            crash = {"type": CRASHED, "work": work, "cause": cause, "where": where}
            self.folder.append("sessions", crash)
        for record in self.folder.read("sessions"):
            if record.get("type") == CRASHED:
                self._deaths[str(record.get("work"))] += 1
                self._causes[str(record.get("work"))] = str(record.get("cause"))[:200]
        for name in (UNDER_WAY, FATAL):
            disk.remove(self.folder.path / name)
        if not cause:
            return ""
        told = f"{self.folder.path / 'sessions.jsonl'} says where, if that is known"
        if not work:
            return f"the process before ended by itself ({cause}); {told}"
        count = f"{self._deaths[work]} of at most {self.limit} times"
        return f"{work} ended the process before ({cause}), {count}; {told}"

    @contextmanager
    def trying(self, work: str) -> Iterator[None]:
        """Note that ``work`` is under way for a ``with`` block.

        Raises:
            TrialError: it ended the process too often; it is not begun.
        """
        if self._deaths[work] >= self.limit:
            raise TrialError(self.verdict(work))
        path = self.folder.path / UNDER_WAY
        document = {"schema": SCHEMA, "kind": "under-way", "work": work, "killed": _killed()}
        write_json(path, document, synced=False)
        try:
            yield
        finally:
            with suppress(DiskError):
                disk.remove(path)

    def verdict(self, work: str) -> str:
        """Return why ``work`` is not begun, empty where it may be."""
        deaths = self._deaths[work]
        if deaths < self.limit:
            return ""
        return f"ended the process {deaths} times ({self._causes[work]}) and is given up"

    @contextmanager
    def ended_after(self, seconds: float) -> Iterator[None]:
        """End the process where a ``with`` block takes longer, whatever it is in."""
        if self._log is None:
            yield
            return
        faulthandler.dump_traceback_later(seconds, exit=True, file=self._log)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Have native faults of this process written down, unless somebody else has."""
        if faulthandler.is_enabled():
            yield
            return
        path = self.folder.path / FATAL
        with disk.telling(path):
            log = path.open("wb")
        with log:
            faulthandler.enable(log)
            self._log = log
            try:
                yield
            finally:
                faulthandler.disable()
                self._log = None
        with suppress(DiskError):
            disk.remove(path)

    def _cause(self) -> tuple[str, str]:
        """Return what ended the last process, and where, as far as it left a trace."""
        with suppress(OSError), (self.folder.path / FATAL).open("rb") as log:
            text = log.read(MAX_BYTES).decode(errors="replace").strip()
            if text:
                return text.splitlines()[0].removeprefix("Fatal Python error: ")[:200], text
        found = self._left()
        if found is not None and found.get("killed", [])[:1] == _killed()[:1] != [""]:
            before, now = found["killed"][1], _killed()[1]
            if isinstance(before, int) and now > before:
                return "killed for want of memory", ""
        return "", ""

    def _under_way(self) -> str:
        found = self._left()
        return "" if found is None else str(found.get("work", ""))[:200]

    def _left(self) -> dict[str, Any] | None:
        try:
            found = read_json(self.folder.path / UNDER_WAY, "under-way", MAX_BYTES)
            boot, count = found["killed"]
            return {**found, "killed": [boot, count]}
        except (RunFolderError, KeyError, TypeError, ValueError):
            return None


class Guard:
    """Tries the candidates of one process under a quarantine; see :class:`InProcess`.

    A candidate that takes longer than it may is ended between two operations of Python. One that
    hangs in native code for twice as long ends the process, and counts as one that crashed it.

    Args:
        quarantine: of the run.
        seconds: that a candidate may take; 0: any time.
    """

    def __init__(self, quarantine: Quarantine, seconds: float = 0.0) -> None:
        self.quarantine = quarantine
        self.seconds = seconds

    def __call__(self, function: Callable[[Any], Any], task: Any) -> Any:
        """Return ``function(task)``, or what it says of a task that may not be tried any more."""
        refused = getattr(function, "refused", None)
        if refused is None:
            return function(task)
        try:
            with self.quarantine.trying(f"candidate {task.number}"), self._timed():
                return function(task)
        except TrialError as error:
            return refused(task, error.message, error.status)

    @contextmanager
    def _timed(self) -> Iterator[None]:
        if not self.seconds or threading.current_thread() is not threading.main_thread():
            yield
            return

        def over(*_: object) -> None:
            raise TrialError(f"took longer than {self.seconds:g} seconds", "timed-out")

        before = signal.signal(signal.SIGALRM, over)
        signal.setitimer(signal.ITIMER_REAL, self.seconds)
        try:
            with self.quarantine.ended_after(2 * self.seconds):
                yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)


def _killed() -> list[Any]:
    """Return this boot, and how many processes its kernel has killed for want of memory."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return [boot, int(line.split()[1])]
    except OSError:
        pass
    return ["", 0]
