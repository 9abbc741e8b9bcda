"""Every change of a run folder on disk passes through here, one call a change.

One narrow place, so that whatever a disk does wrong is told in one line and ends the run like any
other mistake that a user can mend, and so that a test can stop the process, or break the disk, at
every single change (:mod:`nastk.testing.faults`).
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from nastk.errors import DiskError

_NUMBER = re.compile(r"os error (\d{1,5})")
_HINTS = {
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room",
    errno.EROFS: "make it writable",
    errno.EACCES: "let this user write there",
}


class Disk:
    """Changes files and folders; whatever is raised is an OSError or a library's own error."""

    def make(self, path: Path) -> None:
        """Make a folder and those above it; one that is there will do."""
        path.mkdir(parents=True, exist_ok=True)

    def write(self, path: Path, content: bytes) -> None:
        """Give a file this content; a kill in between leaves a part of it."""
        path.write_bytes(content)

    def produce(self, path: Path, writer: Callable[[Path], None]) -> None:
        """Have ``writer`` write a file; likewise."""
        writer(path)

    def append(self, file: IO[bytes], content: bytes) -> None:
        """Add to an unbuffered file; what cannot be added whole is taken back."""
        before = file.seek(0, os.SEEK_END)
        rest = memoryview(content)
        try:
            while rest:
                rest = rest[file.write(rest) :]
        except OSError:
            file.truncate(before)
            raise

    def rename(self, old: Path, new: Path) -> None:
        """Rename a file, replacing one, or a folder to a name that is free; whole or not at all."""
        old.replace(new)

    def truncate(self, path: Path, size: int) -> None:
        """Cut a file to ``size`` bytes."""
        os.truncate(path, size)

    def remove(self, path: Path) -> None:
        """Remove a file, or a folder with all that is in it; nothing there will do."""
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def sync(self, *paths: Path) -> None:
        """Make files and folders survive a power cut; many wait about as long as one."""
        if len(paths) == 1:
            _sync(paths[0])
            return
        with ThreadPoolExecutor(len(paths)) as pool:
            list(pool.map(_sync, paths))

    def free(self, path: Path) -> int:
        """Return the bytes that this user may still write where ``path`` is."""
        return shutil.disk_usage(path).free


_disks: list[Disk] = [Disk()]


@contextmanager
def replaced(disk: Disk) -> Iterator[None]:
    """Let ``disk`` do all changes of this process for a ``with`` block; for tests."""
    _disks.append(disk)
    try:
        yield
    finally:
        _disks.remove(disk)


@contextmanager
def telling(path: Path) -> Iterator[Disk]:
    """Yield the disk; what it or a library raises becomes one line about ``path``.

    Raises:
        DiskError: says what the system said, and what to do where that is known.
    """
    try:
        yield _disks[-1]
    except OSError as error:
        raise cannot(path, error) from None
    except Exception as error:
        found = _NUMBER.search(str(error))  # safetensors tells the system's errors in its text
        if found is None:
            raise
        number = int(found[1])
        raise cannot(path, OSError(number, os.strerror(number))) from None


def cannot(path: Path, error: OSError) -> DiskError:
    """Return the error that says that ``path`` cannot be written, and what to do."""
    what = error.strerror or type(error).__name__
    return DiskError(f"{path}: cannot be written: {what}", _HINTS.get(error.errno or 0, ""))


def make(path: Path) -> None:
    """Make a folder and those above it."""
    with telling(path) as disk:
        disk.make(path)


def write(path: Path, content: bytes) -> None:
    """Give a file this content; a kill in between leaves a part of it."""
    with telling(path) as disk:
        disk.write(path, content)


def produce(path: Path, writer: Callable[[Path], None]) -> None:
    """Have ``writer`` write a file; a kill in between leaves a part of it."""
    with telling(path) as disk:
        disk.produce(path, writer)


def append(path: Path, file: IO[bytes], content: bytes) -> None:
    """Add to the unbuffered ``file`` at ``path``; it survives a kill, not yet a power cut."""
    with telling(path) as disk:
        disk.append(file, content)


def rename(old: Path, new: Path) -> None:
    """Rename a file, replacing one, or a folder to a name that is free; whole or not at all."""
    with telling(new) as disk:
        disk.rename(old, new)


def truncate(path: Path, size: int) -> None:
    """Cut a file to ``size`` bytes."""
    with telling(path) as disk:
        disk.truncate(path, size)


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it; nothing there will do."""
    with telling(path) as disk:
        disk.remove(path)


def sync(*paths: Path) -> None:
    """Make files and folders survive a power cut."""
    with telling(paths[0]) as disk:
        disk.sync(*paths)


def free(path: Path) -> int:
    """Return the bytes that this user may still write where ``path`` is."""
    with telling(path) as disk:
        return disk.free(path)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
