"""A comparison as one HTML file that needs nothing else: no network, no server, no script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nastk.comparing import drawing, tables
from nastk.comparing.cells import Cell
from nastk.comparing.checklist import Practice
from nastk.comparing.planning import Plan
from nastk.comparing.proxies import Foresight
from nastk.comparing.statistics import LEVEL, RESAMPLES
from nastk.comparing.verdicts import Verdict


def render(
    plan: Plan,
    verdicts: Sequence[Verdict],
    cells: Mapping[str, Sequence[Cell]],
    foresights: Mapping[str, Sequence[Foresight]],
    practices: Sequence[Practice],
    whole: str,
) -> str:
    """Return the page; every text that comes from cells is escaped.

    Args:
        plan: of the comparison.
        verdicts: of its tables.
        cells: table → its cells.
        foresights: table → of its rows.
        practices: the checklist.
        whole: hash of the bundle.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    pages = Environment(
        loader=PackageLoader("nastk.comparing"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = (Path(__file__).parent / "templates" / "comparison.css").read_text(encoding="utf-8")
    return pages.get_template("comparison.html").render(
        plan=plan,
        sections=[_section(v, cells[v.name], foresights.get(v.name, ())) for v in verdicts],
        practices=practices,
        whole=whole,
        style=style,
        level=f"{1 - LEVEL:.0%}",
        resamples=f"{RESAMPLES:,}",
        size=drawing,
        proxy_title=tables.PROXY_TITLE,
        proxy_head=tables.PROXY_HEAD,
    )


def _section(verdict: Verdict, cells: Sequence[Cell], found: Sequence[Foresight]) -> dict[str, Any]:
    rows = [(row, tables.row_of(row, verdict)) for row in verdict.rows]
    return {
        "verdict": verdict,
        "summary": tables.summary(verdict),
        "head": tables.head(verdict),
        "fair": [pair for pair in rows if not pair[0].barred],
        "barred": [pair for pair in rows if pair[0].barred],
        "absences": tables.absences(verdict),
        "scale": drawing.scale_words(verdict.scale),
        "charts": drawing.incumbent_charts(verdict, cells),
        "unit": tables.unit_name(verdict.unit),
        "strips": drawing.strips(verdict),
        "splits": [_split(row) for row in verdict.rows if row.split is not None],
        "proxies": [tables.proxy_row(foresight) for foresight in found],
        "costs": [_costs(row) for row in verdict.rows if not row.absent],
        "problems": [(row.label, p) for row in verdict.rows for p in row.problems],
    }


def _split(row: Any) -> tuple[str, str, str, str]:
    between, within = row.split
    share = between / (between + within) if between + within else 0.0
    return row.label, tables.number(between), tables.number(within), f"{share:.0%}"


def _costs(row: Any) -> tuple[str, ...]:
    parts = (row.search, row.validation, row.final, row.failed, row.repeated)
    told = [f"{tables.amount(c, 'macs')} / {c.seconds:,.0f}" for c in parts]
    return (row.label, str(row.k), *told)
