"""What a run keeps on its disk, and what it leaves free."""

from __future__ import annotations

from nastk import disk
from nastk.errors import DiskError
from nastk.rundir import RunFolder


def check_room(folder: RunFolder, reserve: int) -> None:
    """Check that another generation like the last leaves ``reserve`` bytes on the disk.

    Raises:
        DiskError: it would not.
    """
    last = max(folder.generations(), default=0)
    files = (folder.path / "generations" / f"{last:05d}").glob("*")
    needed = reserve + sum(file.stat().st_size for file in files)
    free = disk.free(folder.path)
    if free < needed:
        raise DiskError(
            f"{folder.path}: got {free >> 20} MB free, expected {(needed >> 20) + 1} MB to commit "
            "and leave engine.reserve_mb",
            "make room",
        )


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
