"""``nastk train --task classify``: the class head against its baselines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nastk.cli.common import App, print_table, say
from nastk.cli.execute import NOTHING_FOUND, on_device, usual_folder
from nastk.cli.several import execute_part
from nastk.records import SCHEMA

if TYPE_CHECKING:
    from nastk.classification.cells import Asked, Cell
    from nastk.classification.table import Comparison, Results, Row
    from nastk.result import Result

DOCUMENT = "classification.json"
FAILED = 1


def classify(app: App, as_json: bool, asked: Asked) -> int:
    """Train every cell that is not finished, audit the labels, write table and document.

    Returns:
        The exit code: 0; 1 where the audit failed; 3 where a method has no result; 130 when
        interrupted.
    """
    from nastk.classification import cells
    from nastk.classification.audit import Auditor

    config = on_device(cells.base_config(asked, app.registry))
    out = usual_folder(config, "classify")
    planned = cells.plan(asked, app.registry, out, config.run.device)
    results: list[tuple[Cell, Result]] = []
    for number, cell in enumerate(planned, 1):
        say(f"training {number}/{len(planned)}: {cell.name}")
        code, result = execute_part(app, as_json, cell.part, show=_nothing)
        if result is None or result.interrupted:
            say("the same command continues with the trainings that are left")
            return code
        results.append((cell, result))
    auditor = Auditor(app.registry)
    audits = [auditor.audit(cell.part.folder, cell.part.config) for cell in planned]
    return _tell(results, audits, out, as_json)


def _nothing(result: Result) -> None:
    """The table says it."""


def _tell(results: Results, audits: Sequence[Mapping[str, Any]], out: Path, as_json: bool) -> int:
    from nastk.classification import table
    from nastk.rundir import write_json

    found = table.rows(results, {a["cell"]: a["visible"] for a in audits})
    compared = table.comparisons(found)
    document = {
        "schema": SCHEMA,
        "kind": "classification",
        **table.document(found, compared, audits),
    }
    write_json(out / DOCUMENT, document)
    if as_json:
        click.echo(json.dumps({**document, "type": "classification"}))
    else:
        _print(found, compared, audits, out / DOCUMENT)
    if not document["audit"]["passed"]:
        say("error: the audit of the labels failed, see above")
        return FAILED
    return 0 if all(row.seeds for row in found) else NOTHING_FOUND


def _print(
    found: Sequence[Row],
    compared: Sequence[Comparison],
    audits: Sequence[Mapping[str, Any]],
    file: Path,
) -> None:
    head = ("labels", "method", "test accuracy %", "balanced %", "seeds", "labels seen",
            "updates", "images", "GMACs")  # fmt: skip
    print_table([head, *map(_row, found)])
    click.echo()
    baseline = ("labels", "semi-supervised against", "difference %", "p", "verdict")
    print_table([baseline, *map(_comparison, compared)])
    click.echo()
    _print_audit(audits)
    click.echo()
    print_table([("document", str(file))])


def _row(row: Row) -> tuple[str, ...]:
    from nastk.classification.table import spread

    failed = f" ({len(row.failed)} failed)" if row.failed else ""
    return (
        f"{100 * row.labels:g} %",
        row.method,
        spread(row.accuracy),
        spread(row.balanced_accuracy),
        f"{len(row.seeds)}{failed}",
        "-".join(f"{n:,}" for n in sorted({min(row.visible), max(row.visible)}))
        if row.visible
        else "none",
        f"{row.steps:,}",
        f"{row.images:,}",
        f"{row.macs / 1e9:,.0f}",
    )


def _comparison(comparison: Comparison) -> tuple[str, ...]:
    difference, p = comparison.difference, comparison.p
    return (
        f"{100 * comparison.labels:g} %",
        comparison.baseline,
        "none" if difference is None else f"{100 * difference:+.1f}",
        "none" if p is None else f"{p:.2g}",
        comparison.verdict,
    )


def _print_audit(audits: Sequence[Mapping[str, Any]]) -> None:
    """Write what is known of the labels: equal cells on one line, every problem on its own."""
    head = ("audit of labels", "exist", "visible", "a class", "hidden", "hash", "read by")
    lines: dict[tuple[str, ...], None] = {}
    for audit in audits:
        lines.setdefault(_audit_row(audit))
    print_table([head, *lines])
    killed = sum(audit["unrecorded_sessions"] for audit in audits)
    if killed:
        click.echo(f"{killed} processes were killed before they could tell what they read")
    for audit in audits:
        for problem in audit["problems"]:
            click.echo(f"FAILED {audit['cell']}: {problem}")
    if all(audit["passed"] for audit in audits):
        click.echo(
            "passed: everybody was handed the visible labels only; no hidden label is in the data "
            "set's memory or in a file of the runs"
        )


def _audit_row(audit: Mapping[str, Any]) -> tuple[str, ...]:
    counts = audit["per_class"]
    few, many = min(counts, default=0), max(counts, default=0)
    readers = sorted({f"{r['reader']} ({r['split']})" for r in audit["reads"]})
    return (
        f"{audit['data']}, {100 * audit['budget']:g} %",
        f"{audit['exist']:,}",
        f"{audit['visible']:,}",
        f"{few}-{many}" if few != many else f"{few}",
        f"{audit['hidden']:,}",
        audit["visible_hash"],
        ", ".join(readers),
    )
