"""Faults on purpose: a process killed, or a disk broken, at any chosen change of a run folder.

Every change goes through :mod:`nastk.disk` and is a *point*, numbered from 0 in the order of the
run. A process killed here is really killed; whoever looks on needs a process of its own::

    python -m nastk.testing.faults kill 17 middle -- run --out demo
    nastk resume demo

Within a test, :func:`in_child` forks one. Nothing on disk, and no variable, switches a fault on.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import random
import runpy
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Literal, cast, get_args

from attrs import frozen

from nastk.disk import Disk, replaced

Kind = Literal["kill", "full", "read-only", "failing", "slow"]
Moment = Literal["before", "middle", "after"]
Damage = Literal["truncated", "empty", "flipped"]

SLOW_SECONDS = 0.02
"""How long every change takes on a slow disk."""

_ERRORS = {"full": errno.ENOSPC, "read-only": errno.EROFS, "failing": errno.EIO}
_NEED_ROOM = ("make", "write", "produce", "append")


@frozen
class Fault:
    """What goes wrong, and when.

    Attributes:
        kind: ``kill`` ends the process without a word. ``full``, ``read-only``, ``failing`` and
            ``slow`` are what the disk is from then on.
        point: number of the change at which it happens.
        moment: of that change; only for ``kill``. A change that is whole or not at all has no
            middle: the process is killed before it.
    """

    kind: Kind
    point: int
    moment: Moment = "before"


class FaultyDisk(Disk):
    """A disk that counts its changes, and has one fault.

    Attributes:
        points: what each change so far was, e.g. ``append events.jsonl``.
    """

    def __init__(self, fault: Fault | None = None) -> None:
        self.fault = fault
        self.points: list[str] = []

    def make(self, path: Path) -> None:
        """Make a folder."""
        self._change("make", path, lambda: super(FaultyDisk, self).make(path))

    def write(self, path: Path, content: bytes) -> None:
        """Give a file this content, or half of it."""
        whole = super().write
        self._change(
            "write", path, lambda: whole(path, content),
            lambda: whole(path, content[: len(content) // 2]),
        )  # fmt: skip

    def produce(self, path: Path, writer: Callable[[Path], None]) -> None:
        """Have a file written, or half of it."""

        def half() -> None:
            writer(path)
            os.truncate(path, path.stat().st_size // 2)

        self._change("produce", path, lambda: writer(path), half)

    def append(self, file: IO[bytes], content: bytes) -> None:
        """Add to a file, all or half of it."""
        whole, start = super().append, content[: len(content) // 2]
        half = _HalfFull(file)
        torn = (lambda: file.write(start)) if self._kills else (lambda: whole(half, content))  # type: ignore[arg-type]
        self._change("append", Path(file.name), lambda: whole(file, content), torn)

    def rename(self, old: Path, new: Path) -> None:
        """Rename."""
        whole = super().rename
        self._change("rename", new, lambda: whole(old, new))

    def truncate(self, path: Path, size: int) -> None:
        """Cut a file."""
        whole = super().truncate
        self._change("truncate", path, lambda: whole(path, size))

    def remove(self, path: Path) -> None:
        """Remove; of a folder first one half of its files."""

        def half() -> None:
            files = sorted(path.iterdir()) if path.is_dir() else []
            for file in files[: len(files) // 2]:
                file.unlink()

        whole = super().remove
        if path.exists():
            self._change("remove", path, lambda: whole(path), half)

    def sync(self, *paths: Path) -> None:
        """Do nothing but count: what a killed process wrote is there, synced or not."""
        self._change("sync", paths[-1], lambda: None)

    @property
    def _kills(self) -> bool:
        return self.fault is not None and self.fault.kind == "kill"

    def _change(
        self, what: str, path: Path, whole: Callable[[], Any], half: Callable[[], Any] | None = None
    ) -> None:
        fault, number = self.fault, len(self.points)
        self.points.append(f"{what} {path.name}")
        if fault is None or number < fault.point:
            whole()
        elif fault.kind == "kill":
            if fault.moment == "middle" and half is not None:
                half()
            elif fault.moment == "after":
                whole()
            die()
        elif fault.kind == "slow":
            time.sleep(SLOW_SECONDS)
            whole()
        elif fault.kind == "full" and what not in _NEED_ROOM:
            whole()
        else:
            if fault.kind == "full" and half is not None:
                half()
            raise OSError(_ERRORS[fault.kind], os.strerror(_ERRORS[fault.kind]))


class _HalfFull:
    """A file on a disk that has room for one short write only."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._room = True

    def write(self, content: bytes) -> int:
        if not self._room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._room = False
        return self._file.write(bytes(content[: len(content) // 2]))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def die() -> None:
    """End this process at once, as ``kill -9`` does; never returns."""
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()


@contextmanager
def killed_in(place: str, call: int = 0) -> Iterator[None]:
    """Kill the process as the function at ``place`` is called for that time, from 0.

    Args:
        place: ``module:Class.method``, e.g. ``nastk.gan.loop:GanTraining._train_generator``, which
            is between an update of D and one of G.
        call: before which call.
    """
    module, _, path = place.partition(":")
    *owners, name = path.split(".")
    owner: Any = importlib.import_module(module)
    for word in owners:
        owner = getattr(owner, word)
    original, calls = getattr(owner, name), 0

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        if calls == call:
            die()
        calls += 1
        return original(*args, **kwargs)

    setattr(owner, name, counted)
    try:
        yield
    finally:
        setattr(owner, name, original)


def in_child(work: Callable[[], Any], said: Path | None = None) -> int:
    """Return the exit code of a forked process that does ``work``; minus the signal that ended it.

    Args:
        work: its return value is the exit code, anything but an int being 0. An exception is 70,
            with its traceback.
        said: file for what the process writes to stdout and stderr.
    """
    return os.waitstatus_to_exitcode(os.waitpid(forked(work, said), 0)[1])


def forked(work: Callable[[], Any], said: Path | None = None) -> int:
    """Return the number of a forked process that does ``work``, as :func:`in_child` does."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(ValueError):
            stream.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of threads: the ones here hold nothing the child needs
        child = os.fork()
    if child == 0:
        _child(work, said)
    return child


def _child(work: Callable[[], Any], said: Path | None) -> None:
    code = 70
    try:
        handle = os.open(said or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        sys.stdout, sys.stderr = (os.fdopen(n, "w", closefd=False) for n in (1, 2))
        result = work()
        code = result if isinstance(result, int) else 0
    except SystemExit as stopped:
        code = stopped.code if isinstance(stopped.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def damaged(folder: Path, damage: Damage, seed: int = 0) -> str:
    """Damage one file, drawn at random, of the newest generation of a run; return which.

    Args:
        folder: of the run.
        damage: ``truncated`` to half, ``empty``, or one bit ``flipped``.
        seed: decides file and bit.
    """
    draw = random.Random(seed)
    newest = max(p for p in (folder / "generations").iterdir() if p.name.isdigit())
    path = draw.choice(sorted(newest.iterdir()))
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    else:
        del content[len(content) // 2 if damage == "truncated" else 0 :]
    path.write_bytes(content)
    return str(path.relative_to(folder))


def main(arguments: list[str] | None = None) -> None:
    """Run the command line of nastk with one fault; never returns."""
    parser = argparse.ArgumentParser(prog="python -m nastk.testing.faults", description=__doc__)
    parser.add_argument("kind", choices=get_args(Kind))
    parser.add_argument("point", type=int)
    parser.add_argument("moment", choices=get_args(Moment), nargs="?", default="before")
    parser.add_argument("words", nargs="+", help="of the nastk command, after --")
    given = parser.parse_args(arguments)
    fault = Fault(cast("Kind", given.kind), given.point, cast("Moment", given.moment))
    sys.argv = ["nastk", *given.words]
    with replaced(FaultyDisk(fault)):
        runpy.run_module("nastk", run_name="__main__")


if __name__ == "__main__":
    main()
