"""``nastk show``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nastk.cli.common import json_option, print_json, print_table, verbosity
from nastk.errors import RunFolderError, SpaceError

if TYPE_CHECKING:
    from nastk.rundir import RunFolder

_RUNG = ("bracket", "rung", "steps", "candidates", "failed", "promoted", "metric", "best")
_RUNG_HEAD = ("bracket", "rung", "steps", "candidates", "failed", "went on", "best")
_EXAMPLES = "\b\nExample:\n  nastk show runs/blockwise-stasgan-digits-0 --candidates\n"


@click.command("show", epilog=_EXAMPLES)
@click.argument("folder")
@click.option("--candidates", is_flag=True, help="list every candidate, in order")
@click.option("--config", "with_config", is_flag=True, help="show what the run was asked to do")
@json_option
@verbosity
def command(folder: str, candidates: bool, with_config: bool, as_json: bool) -> None:
    """Show what a run found, tried and cost; changes nothing."""
    from nastk.rundir import RunFolder

    run = RunFolder.open(Path(folder))
    try:
        summary = _summary(run, candidates, with_config)
        if as_json:
            print_json("summary", summary)
        else:
            _print(summary)
    except (KeyError, TypeError, ValueError, AttributeError, SpaceError) as error:
        raise RunFolderError(f"{folder}: malformed: {error}") from None


def _summary(run: RunFolder, candidates: bool, with_config: bool) -> dict[str, Any]:
    last: dict[str, Mapping[str, Any]] = {}
    final: Mapping[str, Any] = {}
    rungs = []
    for event in run.read("events"):
        last[str(event["type"])] = final = event
        if event["type"] == "rung":
            rungs.append({name: event[name] for name in _RUNG})
    trials = list(run.read("candidates"))
    generations = run.generations()
    ledger = _ledger(run, generations)
    summary = {
        "folder": str(run.path),
        "created": str(run.document["created"]),
        "device": str(run.document["device"]),
        "components": dict(last.get("start", {}).get("components", {})),
        "status": "finished" if "result" in last else "unfinished",
        "stage": str(last.get("stage", {}).get("stage", "")),
        "message": str(last.get("step", {}).get("message", "")),
        "step": int(final.get("step", 0)),
        "generation": generations[-1] if generations else None,
        "spent": {**final.get("spent", {}), "seconds": final.get("time", {}).get("spent", 0.0)},
        "ledger": dict(ledger.get("phases", {})),
        "saved": int(ledger.get("saved", 0)),
        "reused": int(ledger.get("reused", 0)),
        "rungs": rungs,
        "candidates": sum(not trial.get("rung") for trial in trials),
        "failed": sum(trial["status"] != "ok" for trial in trials),
        "codes": str(last.get("result", {}).get("codes", "")),
        "metrics": dict(last.get("result", {}).get("metrics", {})),
        "reason": _reason(run, last),
    }
    if candidates:
        summary["trials"] = trials
    if with_config:
        summary["config"] = dict(run.document["config"])
    return summary


def _ledger(run: RunFolder, generations: list[int]) -> dict[str, Any]:
    """Return the ledger's state, as of the newest generation."""
    from nastk.state import load_state

    if not generations:
        return {}
    folder = run.path / "generations" / f"{generations[-1]:05d}"
    return dict(load_state(folder, "ledger"))


def _reason(run: RunFolder, last: Mapping[str, Mapping[str, Any]]) -> str:
    """Return why a run came to its end without a winner; empty for any other."""
    from nastk.cli.execute import why_no_leader

    if "result" not in last or last["result"].get("codes"):
        return ""
    leaders = last.get("leaders", {}).get("leaders")
    return "all final trainings failed" if leaders else why_no_leader(run.path)


def _print(summary: Mapping[str, Any]) -> None:
    from nastk.cli.execute import print_ledger, print_metrics, shown
    from nastk.records import Cost, Metric, from_json

    where = f" at {summary['stage']}: {summary['message']}"
    if summary["status"] == "finished":
        reason = summary["reason"]
        where = f" without a valid architecture: {reason}" if reason else ""
    rows = [
        ("status", summary["status"] + where),
        ("created", f"{summary['created']} on {summary['device']}"),
        ("components", ", ".join(f"{k} {v}" for k, v in summary["components"].items())),
        ("candidates", f"{summary['candidates']}, {summary['failed']} failed"),
    ]
    if summary["codes"]:
        rows.insert(0, ("architecture", summary["codes"]))
    print_table([*rows, ("folder", summary["folder"])])
    print_metrics({name: from_json(Metric, m) for name, m in summary["metrics"].items()})
    if summary["ledger"]:
        print_ledger({phase: from_json(Cost, c) for phase, c in summary["ledger"].items()})
    if summary["saved"]:
        print_table([("saved", f"{summary['saved']:,} steps of candidates that were ended early")])
    if summary["reused"]:
        print_table([("remembered", f"{summary['reused']:,} candidates that were tried before")])
    if summary["rungs"]:
        print_table([_RUNG_HEAD, *map(_rung_row, summary["rungs"])])
    if "trials" in summary:
        click.echo()
        print_table(
            [("candidate", "status", "training", "codes", "metrics"), *map(_row, summary["trials"])]
        )
    if "config" in summary:
        click.echo()
        values = summary["config"]["values"]
        pairs = [(f"{s}.{k}", shown(v)) for s, block in values.items() for k, v in block.items()]
        origins = summary["config"]["origins"]
        print_table([(key, text, str(origins.get(key, ""))) for key, text in pairs])


def _row(trial: Mapping[str, Any]) -> tuple[str, ...]:
    found = (trial.get("evaluation") or {}).get("metrics", {})
    values = [f"{n} {m['value']:.4g}" for n, m in found.items() if m["value"] is not None]
    outcome = ", ".join(values) or str(trial.get("reason", ""))
    first = (str(trial["number"]), str(trial["status"]), _training(trial))
    return *first, str(trial["codes"]), outcome


def _training(trial: Mapping[str, Any]) -> str:
    """Return how long a candidate was trained, and whose weights it began with."""
    from nastk.search import KNOWN

    reason = str(trial.get("reason", ""))
    if reason.startswith(KNOWN):
        return f"remembered from {reason.removeprefix(KNOWN).partition(':')[0]}"
    budget = trial.get("budget")
    words = [f"{budget['amount']:,.15g} {budget['unit']}"] if budget else []
    if trial.get("parent") is not None:
        words.append(f"{trial['inherited']:.0%} of {trial['parent']}")
    return ", ".join(words)


def _rung_row(rung: Mapping[str, Any]) -> tuple[str, ...]:
    best = "" if rung["best"] is None else f"{rung['metric']} {rung['best']:.4g}"
    counts = [rung["candidates"], rung["failed"], len(rung["promoted"])]
    numbers = [rung["bracket"], rung["rung"], rung["steps"], *counts]
    return (*(f"{int(number):,}" for number in numbers), best)
