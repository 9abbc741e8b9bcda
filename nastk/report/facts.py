"""Everything that a page shows of one run, as plain texts and numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from nastk.errors import RunFolderError
from nastk.records import Cost
from nastk.report.architecture import drawings
from nastk.report.curves import COLOURS, charts, shares
from nastk.report.reading import duration, entries, figure, mapping, number, short, shown, text
from nastk.report.scatter import ordered, plots
from nastk.report.sheets import ROOM, generation_sheets, winner_sheet
from nastk.report.story import (
    MAX_COLUMNS,
    Candidates,
    Story,
    card_facts,
    cost_of,
    protocol,
    read_candidates,
    read_story,
)
from nastk.rundir import RunFolder

MAX_SETTINGS = 1000
"""Settings, versions and choices that are listed."""


def facts_of(run: RunFolder, room: int = ROOM) -> dict[str, Any]:
    """Return everything that the page shows of a run.

    Args:
        run: finished or not.
        room: bytes for sheets of samples.

    Raises:
        RunFolderError: a journal is malformed.
    """
    story, candidates = read_story(run), read_candidates(run)
    remarks: list[str] = []
    ledger = _ledger(run, story, remarks)
    if story.curves_left_out:
        remarks.append("some named values are left out: there are too many names")
    return {
        "title": _title(story),
        "name": text(run.path.resolve().name, 80),
        "seed": figure(story.start.get("seed")),
        "status": "finished" if story.result is not None else "unfinished",
        "where": f"{story.stage}: {story.message}" if story.stage else "",
        "remarks": remarks,
        "asked": _asked(run, story),
        "answer": _answer(story),
        "tried": _tried(story, candidates),
        "winner": winner_sheet(run.path),
        "sheets": generation_sheets(run.path, story.captions, room),
        "charts": charts(story.curves),
        "weights": shares(story.weights),
        "drawings": drawings(run.path),
        "plots": plots(candidates.cloud, _sought(story), _winner(story)),
        "ledger": ledger,
        "results": mapping(mapping(story.result).get("metrics")),
        "rungs": [_rung(event) for event in story.rungs],
        "leaders": [_leader(mapping(leader)) for leader in story.leaders],
        "finalists": [_finalist(event) for event in story.finalists],
        "candidates": candidates,
        "columns": ordered(candidates.protocols, _sought(story)),
        "settings": _settings(run),
        "environment": _environment(run),
    }  # fmt: skip


def _sought(story: Story) -> list[str]:
    leader = mapping(story.leaders[0]) if story.leaders else {}
    return [text(name, 40) for name in mapping(leader.get("objectives"))]


def _winner(story: Story) -> str:
    return text(mapping(story.result).get("fingerprint"), 40)


def _title(story: Story) -> str:
    names = mapping(story.start.get("components"))
    strategy, space, data = (text(names.get(k), 60) for k in ("strategy", "space", "dataset"))
    return f"{strategy or '?'} on {space or '?'}, {data or '?'}"


# -- question and answer -----------------------------------------------------------------------


def _asked(run: RunFolder, story: Story) -> list[tuple[str, str]]:
    start, data = story.start, mapping(run.document.get("data"))
    budget = mapping(start.get("budget"))
    final = mapping(start.get("final"))
    names = mapping(start.get("components"))
    amount = number(budget.get("amount"))
    wanted = "" if amount is None else f"{short(amount)} {text(budget.get('unit'), 20)}"
    best = f"{figure(final.get('leaders'))} retrained for {figure(final.get('steps'))} updates"
    content = text(data.get("content"), 40)
    rows = [(text(kind, 40), text(name, 80)) for kind, name in names.items()]
    rows += [
        ("seed", figure(start.get("seed"))),
        ("budget", wanted or "the strategy's own plan"),
        ("best", best),
        ("device", text(start.get("device"), 40)),
        ("space identity", text(start.get("space"), 80)),
        ("data content", content),
    ]
    return [(name, value) for name, value in rows[:MAX_SETTINGS] if value]


def _answer(story: Story) -> dict[str, Any]:
    result = mapping(story.result)
    architecture = mapping(result.get("architecture"))
    told = list(mapping(result.get("metrics")).items())[:100]
    metrics = [_metric(text(name, 60), mapping(metric)) for name, metric in told]
    return {
        "codes": text(result.get("codes"), 1000),
        "space": text(architecture.get("space"), 60),
        "fingerprint": text(result.get("fingerprint"), 40),
        "choices": _pairs(architecture.get("choices")),
        "metrics": metrics,
        "cards": [(metric["name"], metric["card"]) for metric in metrics],
    }


def _metric(name: str, metric: Mapping[str, Any]) -> dict[str, str]:
    spread = figure(metric.get("spread"), 2)
    directions = {"minimise": "lower is better", "maximise": "higher is better"}
    return {
        "name": name,
        "value": (figure(metric.get("value"), 5) or "none") + (f" ± {spread}" if spread else ""),
        "better": directions.get(text(metric.get("direction")), ""),
        "protocol": protocol(metric),
        "card": card_facts(metric),
    }


def _tried(story: Story, candidates: Candidates) -> list[tuple[str, str]]:
    spent = mapping(story.last.get("spent"))
    return [
        ("candidates", f"{candidates.proposed:,}"),
        ("failed", f"{candidates.failed:,}"),
        ("updates", figure(spent.get("steps")) or "0"),
        ("images", figure(spent.get("images")) or "0"),
        ("work", duration(mapping(story.last.get("time")).get("spent"))),
    ]


def _leader(leader: Mapping[str, Any]) -> dict[str, str]:
    objectives = mapping(leader.get("objectives")).items()
    named = [f"{text(n, 40)} {figure(v)}" for n, v in list(objectives)[:MAX_COLUMNS]]
    codes, score = text(leader.get("codes"), 200), figure(leader.get("score"))
    return {"codes": codes, "score": score, "objectives": ", ".join(named)}


def _finalist(event: Mapping[str, Any]) -> dict[str, str]:
    metrics = mapping(mapping(event.get("evaluation")).get("metrics"))
    told = [f"{text(n, 40)} {figure(mapping(m).get('value'))}" for n, m in metrics.items()]
    return {
        "codes": text(event.get("codes"), 200),
        "status": text(event.get("status"), 40),
        "outcome": ", ".join(told[:MAX_COLUMNS]) or text(event.get("reason"), 400),
    }


# -- cost --------------------------------------------------------------------------------------


def _ledger(run: RunFolder, story: Story, remarks: list[str]) -> dict[str, Any]:
    """Return the phases' costs as of the newest generation, and the bars that show their shares."""
    state = _ledger_state(run, remarks)
    told = list(mapping(state.get("phases")).items())[:100]
    phases = [(text(name, 40), cost_of(cost)) for name, cost in told]
    repeated = _repeated(run)
    total = sum((cost for _, cost in phases), start=Cost())
    failed = cost_of(state.get("failed"))
    rows = [
        {"colour": i % COLOURS, **_cost_row(name, cost)} for i, (name, cost) in enumerate(phases)
    ]
    return {
        "rows": rows,
        "total": _cost_row("total", total),
        "phases": [(name, cost.macs, cost.seconds) for name, cost in phases],
        "beyond": [_cost_row(name, cost) for name, cost in
                   (("of this, failed", failed), ("repeated after kills", repeated))
                   if cost != Cost()],
        "bars": [_bar(unit, phases) for unit in ("seconds", "macs", "images", "steps")
                 if getattr(total, unit)],
        "reused": figure(state.get("reused")) or "0",
        "saved": figure(state.get("saved")) or "0",
    }  # fmt: skip


def _rung(event: Mapping[str, Any]) -> tuple[str, ...]:
    promoted = event.get("promoted")
    named = f"{text(event.get('metric'), 40)} {figure(event.get('best'))}".strip()
    counts = [figure(event.get(k)) for k in ("bracket", "rung", "steps", "candidates", "failed")]
    return (*counts, figure(len(entries(promoted))), named)


def _ledger_state(run: RunFolder, remarks: list[str]) -> Mapping[str, Any]:
    from nastk.state import load_state

    generations = run.generations()
    if not generations:
        return {}
    try:
        return mapping(load_state(run.path / "generations" / f"{generations[-1]:05d}", "ledger"))
    except RunFolderError as error:
        remarks.append(text(f"costs are left out: {error.message}"))
        return {}


def _repeated(run: RunFolder) -> Cost:
    costs = [cost_of(s["repeated"]) for s in run.read("sessions") if "repeated" in s]
    return sum(costs, start=Cost())


def _cost_row(name: str, cost: Cost) -> dict[str, Any]:
    return {
        "name": name,
        "steps": f"{cost.steps:,}",
        "images": f"{cost.images:,}",
        "gmacs": f"{cost.macs / 1e9:,.1f}",
        "seconds": f"{cost.seconds:,.1f}",
    }


def _bar(unit: str, phases: Iterable[tuple[str, Cost]]) -> dict[str, Any]:
    values = [(i % COLOURS, name, max(0.0, float(getattr(cost, unit))))
              for i, (name, cost) in enumerate(phases)]  # fmt: skip
    total = sum(value for *_, value in values) or 1.0
    parts = [
        {
            "colour": colour,
            "name": name,
            "share": f"{100 * value / total:.3f}",
            "told": f"{name}: {figure(value)} ({100 * value / total:.1f} %)",
        }
        for colour, name, value in values
        if value / total > 0.001
    ]
    return {"unit": {"macs": "MACs", "steps": "updates"}.get(unit, unit), "parts": parts}


# -- settings and environment ------------------------------------------------------------------


def _settings(run: RunFolder) -> list[tuple[str, str, str]]:
    config = mapping(run.document.get("config"))
    origins = mapping(config.get("origins"))
    rows = []
    for section, values in mapping(config.get("values")).items():
        for key, value in mapping(values).items():
            dotted = f"{section}.{key}"
            told = "not set" if value is None else shown(value)
            rows.append((text(dotted, 80), told, text(origins.get(dotted), 80)))
    return rows[:MAX_SETTINGS]


def _environment(run: RunFolder) -> list[tuple[str, str]]:
    document = run.document
    sessions = sum(s.get("type") == "start" for s in run.read("sessions"))
    rows = [("started", text(document.get("created"), 40)), *_pairs(document.get("versions"))]
    rows += [(f"plugin {name}", version) for name, version in _pairs(document.get("plugins"))]
    return [*rows, ("processes that worked on it", str(sessions))]


def _pairs(value: object) -> list[tuple[str, str]]:
    items = list(mapping(value).items())[:MAX_SETTINGS]
    return [(text(name, 80), shown(v)) for name, v in items]
