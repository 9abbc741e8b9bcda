"""What the engine costs: the share of the default search outside training and evaluation."""

from __future__ import annotations

from typing import Any

from benchmarks import stopwatch
from benchmarks.page import table

NAME = "overhead"
TITLE = "The engine's overhead"
AIM = 0.02
MEANING = {
    stopwatch.COMMITS: "generations: state to files, checksums, `fsync`, rename, the old removed",
    stopwatch.PICTURES: "sheets: 64 images of the network in training, as PNG",
    stopwatch.EVENTS: "journals, and telling the screen and plugins",
    stopwatch.SCREEN: "the thread that redraws the progress bar",
    stopwatch.LOOP: "the rest: the loop, copies of states, writing `best/`",
}


def run(quick: bool = False) -> dict[str, Any]:
    """Return the seconds that the engine adds to the default search."""
    found = stopwatch.default_search(quick=quick)
    clocks = {clock: _shares(found[clock]) for clock in ("cpu", "wall")}
    return {"generations": found["generations"], "events": found["calls"]["events"], **clocks}


def _shares(spent: dict[str, float]) -> dict[str, Any]:
    """Return seconds by part and their share of everything between start and report."""
    whole = sum(spent.values()) - spent[stopwatch.START] - spent[stopwatch.REPORT]
    parts = {label: spent.get(label, 0.0) for label in stopwatch.ENGINE}
    return {"whole": whole, "parts": parts, "share": sum(parts.values()) / whole}


def section(result: dict[str, Any]) -> str:
    """Return what the page says of a result."""
    cpu, wall = result["cpu"], result["wall"]
    rows = [
        [MEANING[label], *(_cell(clock, label) for clock in (cpu, wall))]
        for label in sorted(MEANING, key=lambda part: -cpu["parts"][part])
    ]
    total = ["**together**", f"**{100 * cpu['share']:.2f} %**", f"**{100 * wall['share']:.2f} %**"]
    kept = "within" if max(cpu["share"], wall["share"]) < AIM else "above"
    return f"""`nastk run` on a terminal, {cpu["whole"]:.0f} CPU seconds from the first step to the
last. Everything that is neither training nor evaluating nor the strategy's own work is the
engine's: {result["generations"]} generations with a sheet each, {result["events"]} events. It is
{kept} the {100 * AIM:g} % that we allow it. Waiting for the disk counts in the second column, where
other work on the machine lengthens everything alike.

{table(("part", "share of CPU time", "share of wall time"), [*rows, total])}
"""


def _cell(clock: dict[str, Any], label: str) -> str:
    seconds = clock["parts"][label]
    return f"{100 * seconds / clock['whole']:.2f} % ({seconds:.2f} s)" if seconds else "—"
