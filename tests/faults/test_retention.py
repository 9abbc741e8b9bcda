from __future__ import annotations

from pathlib import Path

import pytest

from nastk import disk, engine
from nastk.disk import Disk, replaced
from nastk.errors import DiskError
from nastk.retention import thin_out
from nastk.rundir import RunFolder
from nastk.testing import toys
from nastk.testing.folders import result_files
from nastk.testing.toys import config


def sheets(folder: RunFolder) -> list[int]:
    return sorted(int(p.stem) for p in folder.path.glob("sheets/*.png"))


def shown(folder: RunFolder, numbers: range, most: int) -> None:
    (folder.path / "sheets").mkdir(exist_ok=True)
    for number in numbers:
        (folder.path / f"sheets/{number:05d}.png").write_bytes(b"")
        thin_out(folder, number, most)


@pytest.mark.parametrize("stopped", [1, 7, 8, 9, 33, 63])
def test_sheets_are_bounded_and_the_same_after_a_resume(tmp_path: Path, stopped: int) -> None:
    with RunFolder.create(tmp_path / "a", {}) as whole:
        shown(whole, range(1, 70), 8)
        assert sheets(whole) == [8, 16, 24, 32, 40, 48, 56, 64, 69]
    with RunFolder.create(tmp_path / "b", {}) as resumed:
        shown(resumed, range(1, stopped + 5), 8)
        for later in [n for n in sheets(resumed) if n > stopped]:
            (resumed.path / f"sheets/{later:05d}.png").unlink()
        shown(resumed, range(stopped + 1, 70), 8)
        assert sheets(resumed) == sheets(whole)


class Small(Disk):
    """A disk with little room."""

    def __init__(self, free: int) -> None:
        self.left = free

    def free(self, path: Path) -> int:
        return self.left


def test_run_stops_before_the_disk_is_full_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    engine.run(config(), toys.registry(), tmp_path / "whole")
    with (
        replaced(Small(199 * 2**20)),
        pytest.raises(DiskError, match=r"got 199 MB free, expected 201 MB .*nastk resume"),
    ):
        engine.run(config(), toys.registry(), tmp_path / "r")
    engine.resume(tmp_path / "r", toys.registry())
    assert result_files(tmp_path / "r") == result_files(tmp_path / "whole")
    with replaced(Small(2**20)):
        engine.run(config(**{"engine.reserve_mb": 0}), toys.registry(), tmp_path / "brave")


def test_free_room_is_that_of_the_disk(tmp_path: Path) -> None:
    assert disk.free(tmp_path) > 0
