"""Where the CPU seconds of the default search go, from the command to the report."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks import stopwatch
from benchmarks.page import table

NAME = "phases"
TITLE = "The default search, phase by phase"


def _one_of(*labels: str) -> Callable[[str], bool]:
    return lambda label: label in labels


GROUPS: dict[str, Callable[[str], bool]] = {
    "start: interpreter, imports, data, feature network": _one_of(stopwatch.START),
    "search: training": lambda label: (
        label.startswith(stopwatch.TRAINING) and not label.endswith(" retrain")
    ),
    "search: rating candidates": _one_of(stopwatch.RATING),
    "search: counting candidates' parameters and MACs": _one_of(stopwatch.PRICING),
    "search: the strategy's own work": _one_of(stopwatch.STRATEGY),
    "building networks and trainings": _one_of(stopwatch.BUILDING),
    "retraining the winner": _one_of(f"{stopwatch.TRAINING}retrain"),
    "measuring on validation": _one_of("measuring"),
    "evaluating on test": _one_of("evaluating"),
    "generations": _one_of(stopwatch.COMMITS),
    "the rest of the engine": _one_of(
        *(label for label in stopwatch.ENGINE if label != stopwatch.COMMITS)
    ),
    "report": _one_of(stopwatch.REPORT),
}
"""Row of the table → the labels that it sums; every label is in one."""


def run(quick: bool = False) -> dict[str, Any]:
    """Return CPU seconds by group, and those of each phase of the search's training."""
    spent = stopwatch.default_search(quick=quick)["cpu"]
    groups = {name: sum(spent[x] for x in spent if own(x)) for name, own in GROUPS.items()}
    training = {
        label.removeprefix(stopwatch.TRAINING): seconds
        for label, seconds in spent.items()
        if label.startswith(stopwatch.TRAINING)
    }
    return {"seconds": groups, "training": training, "total": sum(spent.values())}


def section(result: dict[str, Any]) -> str:
    """Return what the page says of a result."""
    total = result["total"]
    rows = [[name, *_cells(seconds, total)] for name, seconds in result["seconds"].items()]
    parts = ", ".join(f"{name} {s:.0f} s" for name, s in result["training"].items())
    return f"""`nastk run` with its defaults, one thread, in a process of its own whose clock starts
with it: {total:.0f} CPU seconds. Each is counted once.

{table(("phase", "CPU seconds", "share"), rows)}

Training by phase: {parts}.
"""


def _cells(seconds: float, total: float) -> tuple[str, str]:
    return f"{seconds:.1f}", f"{100 * seconds / total:.1f} %"
