"""Several runs side by side; numbers of unlike protocols are shown, never ranked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from nastk.report.curves import COLOURS
from nastk.report.reading import figure, mapping, number, shown, text

MAX_METRICS = 24
MAX_FACTS = 6
"""Facts in which protocols differ that are named."""


@frozen
class Cell:
    """One run's number: as text, as a number for sorting, and whether it is the best."""

    text: str
    value: float | None
    best: bool = False


@frozen
class Column:
    """One metric of several runs.

    Attributes:
        name: of the metric.
        better: which way is better; empty for no direction.
        cells: one for each run, in order.
        unlike: why the numbers are not ranked; empty where they are.
    """

    name: str
    better: str
    cells: tuple[Cell, ...]
    unlike: str


def columns(results: Sequence[Mapping[str, Any]]) -> list[Column]:
    """Return a column for each metric that any of the runs has.

    Args:
        results: metrics of each run's winner, name → metric with its card.
    """
    names = list(dict.fromkeys(name for metrics in results for name in metrics))
    return [_column(name, [mapping(metrics.get(name)) for metrics in results])
            for name in names[:MAX_METRICS]]  # fmt: skip


def _column(name: str, metrics: Sequence[Mapping[str, Any]]) -> Column:
    values = [number(metric.get("value")) for metric in metrics]
    known = [metric for metric, value in zip(metrics, values, strict=True) if value is not None]
    directions = {text(metric.get("direction"), 20) for metric in known}
    unlike = _unlike(known)
    if len(directions) > 1:
        unlike = "directions differ"
    best = _best([v for v in values if v is not None], directions) if not unlike else None
    ranked = len(known) > 1
    cells = [Cell(_told(metric, value), value, ranked and value is not None and value == best)
             for metric, value in zip(metrics, values, strict=True)]  # fmt: skip
    words = {"minimise": "lower is better", "maximise": "higher is better"}
    better = words.get(next(iter(directions), ""), "") if len(directions) == 1 else ""
    return Column(text(name, 40), better, tuple(cells), unlike)


def _best(values: Sequence[float], directions: set[str]) -> float | None:
    if not values or directions not in ({"minimise"}, {"maximise"}):
        return None
    return min(values) if directions == {"minimise"} else max(values)


def _told(metric: Mapping[str, Any], value: float | None) -> str:
    spread = figure(metric.get("spread"), 2)
    return (figure(value, 5) if value is not None else "") + (f" ± {spread}" if spread else "")


def _unlike(metrics: Sequence[Mapping[str, Any]]) -> str:
    """Return in what the cards differ, empty where they are alike."""
    cards = [_flat(mapping(metric.get("card"))) for metric in metrics]
    names = list(dict.fromkeys(name for card in cards for name in card))
    told = []
    for name in names:
        found = list(dict.fromkeys(card.get(name, "none") for card in cards))
        if len(found) > 1:
            told.append(f"{name} {', '.join(found[:4])}{' …' if len(found) > 4 else ''}")
    return "; ".join(told[:MAX_FACTS]) + (" …" if len(told) > MAX_FACTS else "")


def _flat(card: Mapping[str, Any]) -> dict[str, str]:
    extra = mapping(card.get("extra"))
    plain = {text(k, 40): v for k, v in card.items() if k != "extra"}
    return {
        k: shown(v, 60) for k, v in {**plain, **{text(k, 40): v for k, v in extra.items()}}.items()
    }


# -- the page's section ------------------------------------------------------------------------


def comparison(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the page shows of several runs together.

    Args:
        runs: what :func:`nastk.report.facts.facts_of` says of each.
    """
    bars = [_bar(unit, [run["ledger"].get("phases", []) for run in runs]) for unit in (1, 2)]
    found = columns([run["results"] for run in runs])
    return {
        "columns": found,
        "ranked": any(cell.best for column in found for cell in column.cells),
        "bars": [bar for bar in bars if bar is not None],
    }


def _bar(unit: int, ledgers: Sequence[Sequence[tuple[str, int, float]]]) -> dict[str, Any] | None:
    """Return the runs' costs in MACs (1) or seconds (2), all drawn to one scale."""
    totals = [sum(float(phase[unit]) for phase in phases) for phases in ledgers]
    most = max(totals, default=0.0)
    if most <= 0:
        return None
    names = list(dict.fromkeys(phase[0] for phases in ledgers for phase in phases))
    rows = [
        {"total": figure(total, 3), "rest": f"{100 - 100 * total / most:.3f}",
         "parts": [_piece(names, phase, unit, most) for phase in phases if phase[unit]]}
        for phases, total in zip(ledgers, totals, strict=True)
    ]  # fmt: skip
    legend = [(i % COLOURS, name) for i, name in enumerate(names)]
    return {"unit": ("MACs", "seconds")[unit - 1], "rows": rows, "legend": legend}


def _piece(
    names: Sequence[str], phase: tuple[str, int, float], unit: int, most: float
) -> dict[str, Any]:
    share = f"{100 * float(phase[unit]) / most:.3f}"
    told = f"{phase[0]}: {figure(phase[unit])}"
    return {"colour": names.index(phase[0]) % COLOURS, "share": share, "told": told}
