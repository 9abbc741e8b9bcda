"""A comparison on disk: its plan, and a JSON file for each cell that came to an end.

::

    plan.json                       what is compared; never changes
    SPACE/cells/ROW-seedN.json      what a cell came to
    SPACE/runs/ROW-seedN/           its run folder; none for tabulated benchmarks
    comparison.html, .md, .zip      the report, the table, and the bundle of all JSON
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from attrs import frozen

from nastk.comparing.cells import Cell
from nastk.comparing.planning import Comparison, Plan
from nastk.errors import RunFolderError, SpaceError
from nastk.records import SCHEMA, document, from_json
from nastk.rundir import write_json
from nastk.state import read_json

PLAN = "plan.json"
KIND = "comparison"
MAX_PLAN = 16 * 2**20
MAX_CELL = 8 * 2**20


@frozen
class Store:
    """The folder of a comparison.

    Attributes:
        path: of the folder.
        plan: what is compared in it.
    """

    path: Path
    plan: Plan

    @classmethod
    def make(cls, path: Path, plan: Plan) -> Store:
        """Return the store of ``plan``, begun or found as it was left.

        Raises:
            RunFolderError: the folder holds another comparison, or something else.
        """
        file = path / PLAN
        if file.is_file():
            held = cls.open(path)
            if held.plan.identity != plan.identity:
                raise RunFolderError(
                    f"{path}: holds another comparison: {difference(held.plan, plan)}",
                    "nothing is added to one that was begun: choose another folder with --out",
                )
            return held
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise RunFolderError(f"{path}: is not empty", "choose another folder with --out")
        try:
            path.mkdir(parents=True, exist_ok=True)
            write_json(file, document(KIND, plan))
        except OSError as error:
            raise RunFolderError(f"{path}: cannot be written: {error.strerror}") from None
        return cls(path, plan)

    @classmethod
    def open(cls, path: Path) -> Store:
        """Return a comparison that was begun before.

        Raises:
            RunFolderError: no comparison, or malformed.
        """
        return cls(path, plan_from(read_json(path / PLAN, KIND, MAX_PLAN), str(path / PLAN)))

    def cell_file(self, table: Comparison, name: str) -> Path:
        """Return where a cell is kept, finished or not."""
        return self.path / table.name / "cells" / f"{name}.json"

    def run_folder(self, table: Comparison, name: str) -> Path:
        """Return the run folder of a cell."""
        return self.path / table.name / "runs" / name

    def write(self, table: Comparison, name: str, cell: Cell) -> None:
        """Keep what a cell came to, whole or not at all."""
        file = self.cell_file(table, name)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, document("cell", cell))

    def read(self, table: Comparison, name: str) -> Cell | None:
        """Return what a cell came to; None while it has not.

        Raises:
            RunFolderError: its file is malformed.
        """
        file = self.cell_file(table, name)
        return cell_from(read_json(file, "cell", MAX_CELL), str(file)) if file.is_file() else None

    def cells(self, table: Comparison) -> Iterator[tuple[str, Cell]]:
        """Yield name and content of every cell of a table that came to an end, by name."""
        folder = self.path / table.name / "cells"
        for file in sorted(folder.glob("*.json")) if folder.is_dir() else ():
            cell = self.read(table, file.stem)
            if cell is not None:
                yield file.stem, cell


def difference(held: Plan, asked: Plan) -> str:
    """Return the first thing in which two plans differ, for a reader."""
    for name in ("metric", "baselines", "trainings", "proxy", "tolerance"):
        was, now = getattr(held, name), getattr(asked, name)
        if was != now:
            return f"its {name} is {was!r}, got {now!r}"
    facts: dict[str, Callable[[Comparison], Any]] = {
        "tables": lambda t: t.name,
        "seeds": lambda t: list(t.seeds),
        "budget": lambda t: t.budget,
        "rows": lambda t: [row.label for row in t.rows],
        "benchmark": lambda t: t.benchmark,
    }
    for name, fact in facts.items():
        was, now = ([fact(t) for t in plan.tables] for plan in (held, asked))
        if was != now:
            was, now = (", ".join(dict.fromkeys(map(str, found))) for found in (was, now))
            return f"{name} {was}, got {now}"
    return "a row has other settings"


def plan_from(data: dict[str, Any], where: str) -> Plan:
    """Return the plan in a JSON document.

    Raises:
        RunFolderError: malformed.
    """
    found: Plan = _record(Plan, data, where)
    return found


def cell_from(data: dict[str, Any], where: str) -> Cell:
    """Return the cell in a JSON document.

    Raises:
        RunFolderError: malformed.
    """
    found: Cell = _record(Cell, data, where)
    return found


def _record(cls: type[Any], data: dict[str, Any], where: str) -> Any:
    plain = {key: value for key, value in data.items() if key not in ("schema", "kind")}
    try:
        if data.get("schema") != SCHEMA:
            raise SpaceError(f"schema {data.get('schema')!r}, expected {SCHEMA}")
        return from_json(cls, plain)
    except SpaceError as error:
        raise RunFolderError(f"{where}: {error.message}") from None
