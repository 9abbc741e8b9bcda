"""From cells to conclusions: verdicts, checklist, table, page and bundle."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from nastk.comparing.bundle import write_bundle
from nastk.comparing.cells import Cell
from nastk.comparing.checklist import Facts, Practice, checklist
from nastk.comparing.page import render
from nastk.comparing.proxies import MARK, Foresight, foresights
from nastk.comparing.store import Store
from nastk.comparing.tables import markdown
from nastk.comparing.verdicts import Verdict, judge
from nastk.records import to_json

NAME = "comparison"


@frozen
class Conclusion:
    """What a comparison came to.

    Attributes:
        verdicts: a table each.
        practices: the fourteen.
        foresights: table → of its rows.
        files: the page, the table and the bundle.
        hash: of the bundle.
    """

    verdicts: tuple[Verdict, ...]
    practices: tuple[Practice, ...]
    foresights: dict[str, list[Foresight]]
    files: tuple[Path, ...] = ()
    hash: str = ""

    @property
    def troubles(self) -> list[str]:
        """A line for everything that keeps a table from being a fair comparison."""
        return [line for verdict in self.verdicts for line in verdict.troubles]

    def to_json(self) -> dict[str, Any]:
        """Return verdicts, practices and foresights as plain JSON data."""
        return {
            "tables": [to_json(verdict) for verdict in self.verdicts],
            "practices": [to_json(practice) for practice in self.practices],
            "proxies": {n: [to_json(f) for f in found] for n, found in self.foresights.items()},
            "troubles": self.troubles,
        }


def conclude(store: Store) -> Conclusion:
    """Judge the cells that came to an end, and write page, table and bundle into the folder."""
    cells = {table.name: dict(store.cells(table)) for table in store.plan.tables}
    own = {name: searched(found) for name, found in cells.items()}
    verdicts = [judge(store.plan, table, own[table.name]) for table in store.plan.tables]
    seen = {table.name: foresights(store, table) for table in store.plan.tables}
    every = [cell for found in own.values() for cell in found]
    told = [f for found in seen.values() for f in found]
    practices = checklist(Facts(store.plan, verdicts, every, told))
    found = Conclusion(tuple(verdicts), tuple(practices), seen)
    files = [store.path / f"{NAME}.{end}" for end in ("html", "md", "zip")]
    whole = write_bundle(files[2], store.plan, cells, found.to_json())
    _write(files[0], render(store.plan, found.verdicts, own, seen, practices, whole))
    _write(files[1], markdown(verdicts, seen) + _hash_line(whole))
    return Conclusion(found.verdicts, found.practices, seen, tuple(files), whole)


def searched(cells: dict[str, Cell]) -> list[Cell]:
    """Return all cells but those that were trained to judge search-time scores."""
    return [cell for name, cell in cells.items() if MARK not in name]


def practices_of(conclusion: Conclusion, state: str) -> Sequence[Practice]:
    """Return the practices of one state."""
    return [practice for practice in conclusion.practices if practice.state == state]


def _hash_line(whole: str) -> str:
    return f"\nBundle: sha256 {whole}\n"


def _write(path: Path, text: str) -> None:
    new = path.with_name(f".{path.name}.new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)
