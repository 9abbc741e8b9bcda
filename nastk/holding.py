"""Who works in a run folder, told apart from who once did without looking at a clock.

The system's lock on ``run.lock`` keeps two processes apart, and ends with its process. Beside it
``holder.json`` names the holder: process, the tick of its machine at which it was started, the boot
of that machine, host. So neither another process that was given the same number since, nor a
process of before a reboot is taken for the holder, and a clock that jumps means nothing.

Some file systems that machines share keep a lock on one machine only. There a heartbeat decides:
the holder touches its file every :data:`BEAT` seconds, and whoever finds the file of a process
that cannot be seen from here watches it for :data:`WATCH` seconds.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

BEAT = 2.0
"""Seconds between two beats of a holder's heart."""
WATCH = 7.0
"""Seconds without a beat after which a holder elsewhere is taken for dead."""
DYING = 1.0
"""Seconds that a killed process may take to go; its lock goes before."""
MAX_BYTES = 4096

Life = Literal["alive", "dead", "out of sight"]


def myself() -> dict[str, Any]:
    """Return what ``holder.json`` says of this process."""
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "ticks": _ticks(os.getpid()),
        "boot": _boot(),
        "space": _space(),
        "started": round(time.time(), 3),
    }


def life(holder: Mapping[str, Any]) -> Life:
    """Return whether a holder lives, as far as this process can see."""
    if (holder.get("boot"), holder.get("space")) != (_boot(), _space()) or not _boot():
        return "out of sight"
    ticks = _ticks(int(holder["pid"]))
    return "alive" if ticks is not None and ticks == holder.get("ticks") else "dead"


def living(path: Path) -> str:
    """Return who works here although the lock is free, e.g. ``process 7 on box``; else empty.

    Waits for :data:`WATCH` seconds where the holder of before cannot be seen from here.
    """
    holder = _read(path)
    if holder is None or holder["pid"] == os.getpid():
        return ""
    seen, until = life(holder), time.monotonic() + DYING
    while seen == "alive" and time.monotonic() < until:
        time.sleep(0.02)
        seen = life(holder)
    beats = seen == "out of sight" and _beats(path)
    return _name(holder) if seen == "alive" or beats else ""


def locked_by(path: Path) -> str:
    """Return who holds a lock that is taken, as far as is known."""
    holder = _read(path)
    if holder is None or life(holder) == "dead":  # whoever has the lock has not written it yet
        return "another process"
    return _name(holder)


class Heart:
    """Names this process in ``holder.json``, and beats until it is stopped."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="nastk-heart", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Beat no more."""
        self._stopped.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._stopped.wait(BEAT):
            with suppress(OSError):  # a disk that fails is told where it matters
                os.utime(self._path)


def _beats(path: Path) -> bool:
    """Watch a file for a while; return whether it is touched."""
    first, until = _touched(path), time.monotonic() + WATCH
    while time.monotonic() < until:
        time.sleep(min(0.2, WATCH / 4))
        if _touched(path) != first:
            return True
    return False


def _touched(path: Path) -> int:
    try:
        handle = os.open(path, os.O_RDONLY)  # opened, so that a shared file system asks its server
    except OSError:
        return 0
    try:
        return os.fstat(handle).st_mtime_ns
    finally:
        os.close(handle)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        with path.open("rb") as file:
            holder = json.loads(file.read(MAX_BYTES))
        return {**holder, "pid": int(holder["pid"]), "host": str(holder["host"])[:100]}
    except (OSError, KeyError, TypeError, ValueError, OverflowError, RecursionError):
        return None


def _name(holder: Mapping[str, Any]) -> str:
    return f"process {holder['pid']} on {holder['host']}"


def _ticks(pid: int) -> int | None:
    """Return when a living process was started, in ticks since boot; None where it is not told."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _space() -> str:
    """Return what numbers processes here: containers of one machine number their own."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""
