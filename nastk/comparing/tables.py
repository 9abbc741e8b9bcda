"""Verdicts as rows of text: for the screen, for Markdown and for the page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from nastk.comparing.proxies import ENOUGH, TOP, Foresight
from nastk.comparing.statistics import LEVEL, Interval
from nastk.comparing.verdicts import Judged, Verdict
from nastk.records import Cost


def head(verdict: Verdict) -> tuple[str, ...]:
    """Return the headings of a table."""
    scale = verdict.scale
    arrow = "" if scale is None else ("↓" if scale.direction == "minimise" else "↑")
    metric = "result" if scale is None else f"{scale.metric} {arrow}"
    against = "ratio to random" if scale is None or scale.ratio else "difference to random"
    return (
        "strategy",
        "verdict",
        f"{metric} mean ± sd",
        "median",
        "seeds",
        f"{against} (95 %)",
        "p (Holm)",
        "beats random (95 %)",
        "better than sampling",
        f"cost, {unit_name(verdict.unit)}",
    )


def row_of(row: Judged, verdict: Verdict) -> tuple[str, ...]:
    """Return one row of a table."""
    if row.absent:
        return (row.label, "left out", *[""] * 8)
    standing = row.standing
    return (
        row.label,
        row.word,
        _spread(row),
        number(row.median),
        _seeds(row),
        "" if standing is None else interval(standing.effect),
        "" if standing is None else _p(standing.corrected),
        "" if standing is None else interval(standing.beats, percent=True),
        "" if row.improvement is None else interval(row.improvement, percent=True),
        cost(row, verdict.unit),
    )


PROXY_TITLE = "Search-time scores against stand-alone training"
PROXY_HEAD = (
    "strategy",
    "score",
    "candidates",
    f"Kendall's τ ({1 - LEVEL:.0%})",
    f"top-{TOP} recall",
)


def proxy_row(found: Foresight) -> tuple[str, ...]:
    """Return one row of the table below :data:`PROXY_HEAD`."""
    tau = "—" if found.tau is None else interval(found.tau)
    few = "" if found.count >= ENOUGH else f" (fewer than {ENOUGH})"
    return found.row, found.score, f"{found.count}{few}", tau, f"{found.recall:.0%}"


def markdown(verdicts: Sequence[Verdict], foresights: Mapping[str, Sequence[Foresight]]) -> str:
    """Return the tables as a Markdown page, with everything that is wrong with them.

    Args:
        verdicts: of the tables.
        foresights: table → of its rows.
    """
    parts = ["# Comparison\n"]
    for verdict in verdicts:
        parts += [f"## {verdict.name}\n", f"{summary(verdict)}\n"]
        parts.append(_markdown_table(head(verdict), [row_of(r, verdict) for r in verdict.rows]))
        told = [f"* {line}" for line in absences(verdict)]
        told += [f"* {r.label}: {p.text}" for r in verdict.rows for p in r.problems]
        parts += ["", *told, ""] if told else [""]
        proxies = [proxy_row(found) for found in foresights.get(verdict.name, ())]
        if proxies:
            parts += [f"### {PROXY_TITLE}\n", _markdown_table(PROXY_HEAD, proxies), ""]
    return "\n".join(parts)


def absences(verdict: Verdict) -> list[str]:
    """Return a line for every row that was left out, with the reason."""
    return [f"{row.label} was left out: {row.absent}" for row in verdict.rows if row.absent]


def summary(verdict: Verdict) -> str:
    """Return in one line what a table holds."""
    metric = "nothing" if verdict.scale is None else verdict.scale.metric
    missing = "" if verdict.baselines else " NO BASELINES: nothing here shows that searching helps."
    return (
        f"Benchmark {verdict.benchmark}, {len(verdict.seeds)} seeds, budget "
        f"{budget(verdict)}, judged by {metric}.{missing}"
    )


def budget(verdict: Verdict) -> str:
    """Return the budget of a table for a reader."""
    return verdict.budget or "of each strategy's own plan"


def cost(row: Judged, unit: str) -> str:
    """Return k · (search + validation) + final, and by how much the budget was overrun."""
    search, valid, final = (amount(c, unit) for c in (row.search, row.validation, row.final))
    text = f"{row.k}·({search} + {valid}) + {final}"
    if row.overrun is not None and abs(row.overrun) >= 0.005:
        text += f" ({row.overrun:+.0%})"
    return text


def amount(spent: Cost, unit: str) -> str:
    """Return a cost in the unit that :func:`unit_name` names."""
    value = float(getattr(spent, unit))
    return number(value / 1e9 if unit == "macs" else value)


def unit_name(unit: str) -> str:
    """Return what costs are told in."""
    return "GMACs" if unit == "macs" else unit


def number(value: float | None) -> str:
    """Return a number of four digits, or a dash."""
    return "—" if value is None else f"{value:,.4g}"


def interval(found: Interval, *, percent: bool = False) -> str:
    """Return an estimate with its interval."""
    if percent:
        return f"{found.value:.0%} [{found.low:.0%}, {found.high:.0%}]"
    return f"{found.value:.3g} [{found.low:.3g}, {found.high:.3g}]"


def _spread(row: Judged) -> str:
    if row.deviation is None:
        return number(row.mean)
    return f"{number(row.mean)} ± {row.deviation:{',.0f' if row.deviation >= 100 else '.2g'}}"


def _seeds(row: Judged) -> str:
    bad = sum(value is None for value in row.values)
    return f"{len(row.values)}" + (f", {bad} worst" if bad else "")


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _markdown_table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join(f"| {' | '.join(c.replace('|', '/') for c in line)} |" for line in lines)
