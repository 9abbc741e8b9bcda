"""What a notebook shows of a run, a drawing, a comparison: one piece of HTML each, no script.

It needs nothing from anywhere, and all text in it is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from nastk.report.architecture import laid_out
from nastk.report.facts import facts_of
from nastk.report.sheets import picture
from nastk.rundir import RunFolder


def run_cell(folder: Path) -> str:
    """Return the winner of a run with its samples, metrics, cost and drawing, or how far it is.

    Raises:
        RunFolderError: no run, or a malformed journal.
    """
    facts = facts_of(RunFolder.open(folder), room=0)
    ledger = facts["ledger"]
    rows = [*ledger["rows"], ledger["total"]] if ledger["rows"] else []
    columns = ("name", "steps", "images", "gmacs", "seconds")
    metrics = [(m["name"], m["value"], m["better"], m["protocol"])
               for m in facts["answer"]["metrics"]]  # fmt: skip
    costs = [tuple(row[name] for name in columns) for row in rows]
    return _cell("run", **facts, folder=str(folder), metrics=metrics, costs=costs)


def drawing_cell(codes: str, told: Mapping[str, Any]) -> str:
    """Return the drawings of both networks, as :func:`nastk.nn.drawing.drawing` tells of them."""
    return _cell("drawing", codes=codes, drawings=laid_out(told))


def tables_cell(
    tables: Sequence[tuple[str, str, Sequence[str], Sequence[Sequence[str]]]],
    troubles: Sequence[str],
) -> str:
    """Return tables, each a name, a line, headings and rows, and the lines below them."""
    return _cell("tables", tables=tables, troubles=troubles)


def progress_cell(line: str, share: float | None, sheet: Path | None) -> str:
    """Return how far a run is.

    Args:
        line: in words.
        share: 0 to 1; None: unknown.
        sheet: its newest pictures, a PNG; None or unreadable: none are shown.
    """
    shown = None if sheet is None else picture(sheet, "newest samples")
    return _cell("progress", line=line, share=share, sheet=shown)


def _cell(kind: str, **facts: Any) -> str:
    text: str = _template().render(kind=kind, style=_style(), **facts)
    return text


@cache
def _template() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    pages = Environment(
        loader=PackageLoader("nastk.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return pages.get_template("cells.html")


@cache
def _style() -> Any:
    from markupsafe import Markup

    return Markup((Path(__file__).parent / "templates" / "cells.css").read_text("utf-8"))
