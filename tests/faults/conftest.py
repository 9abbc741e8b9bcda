from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from nastk import engine
from nastk.disk import replaced
from nastk.errors import NastkError
from nastk.testing import toys
from nastk.testing.faults import Fault, FaultyDisk, in_child
from nastk.testing.folders import result_files

RUNS: dict[str, dict[str, Any]] = {
    "toy-random": {"strategy.candidates": 4, "final.steps": 200},
    "toy-growing": {"space.blocks": 2, "final.steps": 100},
    "toy-random in rungs": {
        "strategy.candidates": 4,
        "final.steps": 100,
        "search.halving": 2,
        "search.inherit": "nearest",
    },
}


@frozen
class Whole:
    """A run that nothing happened to."""

    name: str
    points: tuple[str, ...]
    files: dict[str, Any]

    def start(self, folder: Path) -> Any:
        flags = {"engine.commit_every": 1, **RUNS[self.name]}
        return engine.run(toys.config(self.name.split()[0], **flags), toys.registry(), folder)

    def with_fault(self, folder: Path, fault: Fault) -> int:
        """Return the exit code of a process that runs it on a faulty disk."""

        def work() -> int:
            try:
                with replaced(FaultyDisk(fault)):
                    self.start(folder)
            except NastkError as error:
                print(f"error: {error}")
                return 2
            return 0

        return in_child(work, folder.with_suffix(".said"))

    def continued(self, folder: Path) -> dict[str, Any]:
        """Return the files of the run once it has been continued."""
        with replaced(FaultyDisk()):
            if (folder / "run.json").exists():
                engine.resume(folder, toys.registry())
            else:
                self.start(folder)
        return result_files(folder)


@pytest.fixture(scope="session", params=list(RUNS))
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder, disk = tmp_path_factory.mktemp("whole") / "r", FaultyDisk()
    run = Whole(request.param, (), {})
    with replaced(disk):
        run.start(folder)
    return Whole(request.param, tuple(disk.points), result_files(folder))
