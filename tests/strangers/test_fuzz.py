"""Files spoiled at random; ``python -m benchmarks.fuzz`` does the same for longer."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.doors import DOORS, Door
from benchmarks.fuzz import Tally, attempt, fuzz
from nastk.errors import DataError
from nastk.registry import Registry
from nastk.testing.folders import content

TOLERANT = ("page of a winner", "cache", "cached weights")
"""Doors that pass over what they cannot read."""


@pytest.mark.filterwarnings("ignore")
def test_500_spoiled_files_are_read_or_refused_in_a_line(
    strangers: tuple[Path, Registry],
) -> None:
    root, registry = strangers
    (root / "page.html").unlink(missing_ok=True)
    before = content(root)
    tally = fuzz(root, registry, 500)
    assert tally.defects == []
    assert sum(tally.read.values()) + sum(tally.refused.values()) == 500
    assert all(tally.refused[door.name] for door in DOORS if door.name not in TOLERANT)
    (root / "page.html").unlink(missing_ok=True)
    assert content(root) == before


def test_readers_that_break_hang_or_ramble_are_defects(
    strangers: tuple[Path, Registry], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.fuzz.SECONDS", 0.05)

    def hang(root: Path, known: Registry) -> None:
        while True:
            pass

    def ramble(root: Path, known: Registry) -> None:
        raise DataError("one\ntwo")

    readers = {"division by zero": lambda root, known: 1 / 0, "took more": hang, "line": ramble}
    for what, read in readers.items():
        tally = Tally()
        attempt(Door("broken", "arch.json", read), 0, *strangers, tally)
        (line,) = tally.defects
        assert what in line
