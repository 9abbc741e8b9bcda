"""Runs that differ in their seed, one after the other under the user's eyes, and their mean."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from nastk.cli.common import App, print_table, say
from nastk.cli.execute import NOTHING_FOUND, execute, print_summary, reading
from nastk.records import SCHEMA, to_json

if TYPE_CHECKING:
    from nastk.engine import Result, StopRequest
    from nastk.events import Sink
    from nastk.series import Average, Part


def execute_parts(app: App, as_json: bool, parts: Sequence[Part]) -> tuple[int, list[Result]]:
    """Begin or continue each part; return the exit code and the results, as far as they came.

    A part that was finished before is skipped. A failed training does not keep the next from its
    turn; an interrupt does.
    """
    worst = 0
    results: list[Result] = []
    for part in parts:
        code, result = execute_part(app, as_json, part)
        if result is None or result.interrupted:
            say("the same command continues with the seeds that are left")
            return code, results
        worst = max(worst, code)
        results.append(result)
    return worst, results


def execute_part(
    app: App, as_json: bool, part: Part, show: Callable[[Result], None] | None = None
) -> tuple[int, Result | None]:
    """Begin or continue one part, or read what it came to; return the exit code and its result.

    ``show`` writes the result of a part that was at work; None: in full.
    """
    from nastk import series

    known = series.finished(part, app.registry)
    if known is not None:
        say(f"{part.folder}: finished before")
        if as_json:
            print_summary(known)
        return 0 if known.architecture is not None else NOTHING_FOUND, known
    found: list[Result] = []

    def work(sinks: Sequence[Sink], stop: StopRequest) -> Result:
        found.append(series.carry_on(part, app.registry, sinks, stop))
        return found[0]

    code = execute(app, as_json, work, show)
    return code, found[0] if found else None


def print_averages(averages: Sequence[Average], count: int, as_json: bool) -> None:
    """Write mean and deviation of every metric over ``count`` runs, each with its protocol."""
    if as_json:
        metrics = {average.name: _document(average) for average in averages}
        line = {"schema": SCHEMA, "type": "series", "runs": count, "metrics": metrics}
        click.echo(json.dumps(line))
        return
    head = (f"over {count} seeds", "mean", "", "protocol")
    print_table([head, *map(_row, averages)])


def _row(average: Average) -> tuple[str, str, str, str]:
    better, protocol = reading(average.metric)
    if average.problem:
        return average.name, "none", better, average.problem
    spread = "" if average.deviation is None else f" ± {average.deviation:.2g}"
    own = f"per seed: {', '.join(average.varies)}" if average.varies else ""
    told = "; ".join(text for text in (protocol, own) if text)
    return average.name, f"{average.mean:.5g}{spread}", better, told


def _document(average: Average) -> dict[str, Any]:
    return {
        "mean": average.mean,
        "deviation": average.deviation,
        "runs": average.count,
        "direction": average.metric.direction,
        "card": to_json(average.metric.card),
        "varies": list(average.varies),
        "problem": average.problem,
    }
