"""What a run keeps on its disk, and what it leaves free."""

from __future__ import annotations

from pathlib import Path

from nastk import disk
from nastk.errors import DiskError
from nastk.rundir import RunFolder


def check_room(folder: RunFolder, reserve: int, most: int = 0) -> None:
    """Check that what comes leaves ``reserve`` bytes on the disk.

    Args:
        folder: of the run.
        reserve: bytes that stay free.
        most: bytes that the folder grows to; 0: another generation like the last is to come.

    Raises:
        DiskError: it would not.
    """
    if most:
        what, ahead = "to train the winner", max(0, most - generations_size(folder))
    else:
        last = max(folder.generations(), default=0)
        what, ahead = "to commit", _size(folder.path / "generations" / f"{last:05d}")
    if problem := shortage(folder.path, reserve + ahead, what):
        raise DiskError(problem, "make room")


def shortage(path: Path, needed: int, what: str) -> str:
    """Return a line where fewer than ``needed`` bytes are free at ``path``, else empty.

    Args:
        path: of a folder that is there, or will be.
        needed: bytes for what comes, and those that stay free.
        what: comes.
    """
    there = next((p for p in (path, *path.absolute().parents) if p.exists()), path)
    free = disk.free(there)
    if free >= needed:
        return ""
    return (
        f"{path}: got {free >> 20} MB free, expected {(needed >> 20) + 1} MB {what} "
        "and leave engine.reserve_mb"
    )


def generations_size(folder: RunFolder) -> int:
    """Return the bytes of the generations on disk."""
    return _size(folder.path / "generations")


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def thin_out(folder: RunFolder, newest: int, most: int) -> None:
    """Remove sheets so that about ``most`` stay, spread over the run.

    Which ones stay depends on the newest one's number alone, so that a run that is resumed keeps
    the same ones as one that is not.
    """
    stride = 1
    while newest // stride > most:
        stride *= 2
    for sheet in sorted(folder.path.glob("sheets/*.png")) if stride > 1 else ():
        if sheet.stem.isdecimal() and int(sheet.stem) % stride and int(sheet.stem) != newest:
            disk.remove(sheet)
