from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from nastk.disk import replaced
from nastk.testing.faults import Fault, FaultyDisk, in_child

from .conftest import Whole

HALVES = ("write", "produce", "append", "remove")
WRITES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "shutil.rmtree"}
SHARES = {"toy-random": 5, "toy-growing": 20, "toy-random in rungs": 20}
"""One of so many points is tried in CI; ``python -m benchmarks.reliability`` tries all."""


def test_process_killed_at_any_change_of_the_disk_is_resumed_to_the_same_end(
    tmp_path: Path, whole: Whole
) -> None:
    for point in range(0, len(whole.points), SHARES[whole.name]):
        what = whole.points[point]
        for moment in ("before", "middle") if what.split()[0] in HALVES else ("before",):
            folder = tmp_path / f"{point}-{moment}"
            fault = Fault("kill", point, moment)
            assert whole.with_fault(folder, fault) == -signal.SIGKILL
            assert whole.continued(folder) == whole.files, (what, fault)
            shutil.rmtree(folder)


@pytest.mark.parametrize("kind", ["full", "read-only", "failing"])
def test_disk_that_breaks_ends_the_run_in_one_line_and_costs_nothing(
    tmp_path: Path, whole: Whole, kind: Any
) -> None:
    said = {"full": "No space left", "read-only": "Read-only file", "failing": "Input/output"}
    for point in range(1, len(whole.points) - 20, 4 * SHARES[whole.name]):
        folder = tmp_path / str(point)
        assert whole.with_fault(folder, Fault(kind, point)) == 2, whole.points[point]
        line = folder.with_suffix(".said").read_text()
        assert line.count("\n") == 1
        assert f"cannot be written: {said[kind]}" in line
        if point > 8:
            assert f"nastk resume {folder}" in line
        assert whole.continued(folder) == whole.files, whole.points[point]


def test_slow_disk_changes_nothing(tmp_path: Path, whole: Whole) -> None:
    assert whole.with_fault(tmp_path / "r", Fault("slow", len(whole.points) - 20)) == 0
    assert whole.continued(tmp_path / "r") == whole.files


class Watched(FaultyDisk):
    """Knows whether a change is under way."""

    inside = 0

    def _change(self, *args: Any) -> None:
        self.inside += 1
        try:
            super()._change(*args)
        finally:
            self.inside -= 1


def test_nothing_is_written_into_a_run_folder_but_through_the_one_place(
    tmp_path: Path, whole: Whole
) -> None:
    """Also shows that killing at every point is killing at every write."""
    folder = tmp_path / "r"

    def work() -> None:
        disk = Watched()

        def told(event: str, given: tuple[Any, ...]) -> None:
            writes = event in WRITES
            if event == "open" and isinstance(given[2], int):
                writes = bool(given[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
            path = str(given[0]) if given else ""
            if writes and not disk.inside and str(folder) in path:
                os.write(1, f"{event} {path}\n".encode())

        sys.addaudithook(told)
        with replaced(disk):
            whole.start(folder)

    assert in_child(work, tmp_path / "said") == 0
    outside = {line.rpartition("/")[2] for line in (tmp_path / "said").read_text().splitlines()}
    journals = {"events.jsonl", "candidates.jsonl", "sessions.jsonl"}  # opened once, empty
    assert outside <= journals | {"run.lock", "r"}  # the lock asks for its folder
