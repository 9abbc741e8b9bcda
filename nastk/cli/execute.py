"""A run or its continuation on the screen: progress, interrupts, result and exit code."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nastk.cli.common import App, one_line, print_json, print_table, say
from nastk.cli.interrupts import interrupts
from nastk.records import SCHEMA, Cost, Metric, to_json

if TYPE_CHECKING:
    from nastk.config import Config
    from nastk.engine import Result, StopRequest
    from nastk.events import Sink

NOTHING_FOUND = 3


def on_device(config: Config) -> Config:
    """Return ``config`` with the device that there is; says so where it is not the one wanted."""
    from nastk.device import choose_device

    device, remark = choose_device(config.run.device)
    if remark:
        say(remark)
    wanted = f"{config.run.device} ({config.origins['run.device']})"
    return config.with_run(wanted, device=device) if device != config.run.device else config


def free_folder(config: Config, what: str) -> Path:
    """Return the folder asked for, checked, or the first free one named after the run.

    Args:
        config: of the run.
        what: first word of the name, e.g. the strategy's.

    Raises:
        RunFolderError: the folder asked for holds something.
    """
    from nastk.rundir import check_free

    if config.run.out:
        check_free(Path(config.run.out))
        return Path(config.run.out)
    base = usual_folder(config, what)
    names = chain([base], (base.with_name(f"{base.name}-{i}") for i in count(2)))
    return next(path for path in names if not path.exists())


def usual_folder(config: Config, what: str) -> Path:
    """Return the folder asked for, or the one that is named after the run, taken or not."""
    run = config.run
    name = f"{what}-{run.space}-{run.dataset}-{run.seed}"
    return Path(run.out) if run.out else Path("runs", name)


def execute(
    app: App,
    as_json: bool,
    work: Callable[[Sequence[Sink], StopRequest], Result],
    show: Callable[[Result], None] | None = None,
) -> int:
    """Do the work of a run under the user's eyes and hands; return the exit code.

    Args:
        app: the call of the command line.
        as_json: write events and a summary as JSON lines.
        work: runs it.
        show: writes the result for a reader; None: in full.
    """
    from nastk.cli.progress import JsonLines, screen
    from nastk.engine import StopRequest

    stop = StopRequest()
    display = screen(app)
    sinks: list[Sink] = [display, *app.registry.observers()]
    if as_json:
        sinks.append(JsonLines())
    try:
        with interrupts(stop.set) as signal:
            result = work(sinks, stop)
    finally:
        display.close()
    if not result.interrupted:
        write_page(result.folder)
    if as_json:
        print_summary(result)
    if result.interrupted:
        say(f"interrupted; continue with: nastk resume {result.folder}")
        return signal.code
    if not as_json:
        (show or print_result)(result)
    if result.architecture is None:
        say(_why_nothing(result))
        return NOTHING_FOUND
    return 0


_ENDS = {
    "diverged": ("diverged", "smaller learning rates may help: trainer.g_lr, trainer.d_lr"),
    "collapsed": ("collapsed", "another seed, or another objective, may help"),
    "out-of-memory": ("ran out of memory", "a smaller trainer.batch_size takes less"),
    "timed-out": ("took too long", ""),
}
"""Status of a failed training → what it did, and what to do."""


def _why_nothing(result: Result) -> str:
    """Return one line of why a run ended without a winner, and what to do."""
    if not result.failures:
        return f"no valid architecture was found: {why_no_leader(result.folder)}"
    last, count = result.failures[-1], len(result.failures)
    who = "the training" if count == 1 else f"all {count} final trainings failed; the last"
    return _how(who, last.status, last.reason)


def _how(who: str, status: str, reason: str) -> str:
    did, hint = _ENDS.get(status, ("failed", ""))
    return f"{who} {did}: {reason}" + (f" ({hint})" if hint else "")


def why_no_leader(folder: Path) -> str:
    """Return why the search in ``folder`` had nothing to train, and what to do."""
    from nastk.rundir import RunFolder

    run = RunFolder.open(folder)
    trials = list(run.read("candidates"))
    if trials and not any(trial["status"] == "ok" for trial in trials):
        last = trials[-1]
        who = f"all {len(trials)} candidates failed; the last"
        return _how(who, str(last["status"]), str(last["reason"]))
    asked = run.document["config"]["values"]["run"]
    if not trials and asked["budget"]:
        return (
            f"the budget of {asked['budget']} ended before a first candidate was measured "
            f"(a larger --budget, or less training: nastk describe strategy {asked['strategy']})"
        )
    return f"none of {len(trials)} candidates may lead (nastk show {folder} --candidates)"


def write_page(folder: Path) -> None:
    """Write the report of a finished run; a failure is told, it does not fail the run."""
    from nastk.report import write_report

    try:
        write_report(folder)
    except Exception as error:  # the run is finished and whole without its page
        say(f"warning: no report was written: {type(error).__name__}: {error}")


def print_summary(result: Result) -> None:
    """Write the result as the last line of JSON."""
    import json

    architecture = result.architecture
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "type": "summary",
        "folder": str(result.folder),
        "interrupted": result.interrupted,
        "codes": result.codes,
        "architecture": None if architecture is None else to_json(architecture),
        "metrics": {name: to_json(metric) for name, metric in result.metrics.items()},
        "ledger": {phase: to_json(cost) for phase, cost in result.ledger.items()},
        "failures": [to_json(failure) for failure in result.failures],
    }
    click.echo(json.dumps(document))


def print_result(result: Result) -> None:
    """Write architecture, metrics, cost and folder for a reader."""
    if result.architecture is not None:
        space = result.architecture.space
        print_table([("architecture", f"{result.codes}   ({space})")])
        print_metrics(result.metrics)
    print_ledger(result.ledger)
    rows = [("folder", str(Path(result.folder)))]
    if (page := Path(result.folder) / "report.html").is_file():
        rows.append(("report", str(page)))
    print_table(rows)


def print_metrics(metrics: Mapping[str, Metric]) -> None:
    """Write a table of metrics, each with the protocol behind it."""
    if metrics:
        click.echo()
        print_table([("metric", "value", "", "protocol"), *map(_metric_row, metrics.values())])


def print_ledger(ledger: Mapping[str, Cost]) -> None:
    """Write what each phase cost, and the sum."""
    total = sum(ledger.values(), start=Cost())
    click.echo()
    print_table(
        [("cost", "steps", "images", "GMACs", "seconds")]
        + [_cost_row(name, cost) for name, cost in [*ledger.items(), ("total", total)]]
    )
    click.echo()


def _metric_row(metric: Metric) -> tuple[str, str, str, str]:
    value = "none" if metric.value is None else f"{metric.value:.5g}"
    spread = "" if metric.spread is None else f" ± {metric.spread:.2g}"
    return metric.name, value + spread, *reading(metric)


def reading(metric: Metric) -> tuple[str, str]:
    """Return which way a metric is better, and the chief facts of its card."""
    better = "lower is better" if metric.direction == "minimise" else "higher is better"
    card = metric.card
    facts = [card.extractor, card.split, card.weights_kind]
    facts += [f"{card.n_real} real"] if card.n_real else []
    facts += [f"{card.n_fake} generated"] if card.n_fake else []
    return better, ", ".join(f for f in facts if f)


def _cost_row(name: str, cost: Cost) -> tuple[str, ...]:
    macs = f"{cost.macs / 1e9:,.0f}"
    return name, f"{cost.steps:,}", f"{cost.images:,}", macs, f"{cost.seconds:,.0f}"


def show_plan(plan: Mapping[str, Any], as_json: bool) -> int:
    """Write what a dry run found; return the exit code."""
    from nastk.cli.progress import needs_line

    if as_json:
        print_json("plan", dict(plan))
    else:
        told = {k: v for k, v in plan.items() if k != "length" and v not in (None, {}, "")}
        rows = [
            (key, needs_line(value) if key == "needs" else _cell("", value))
            for key, value in told.items()
        ]
        line = _length_line(plan["length"], plan["space"]["size"]) if plan["length"] else ""
        print_table([("plan", line), *rows] if line else rows)
    return 0


def _length_line(length: Mapping[str, Any], size: int) -> str:
    """Return the work and time of a run, e.g. ``16 candidates × 400 steps, then 1,200 steps``."""
    from nastk.cli.progress import duration

    candidates, each, search = length["candidates"], length["each"], length["search"]
    line = "the strategy's own search, then "
    if candidates:
        line = f"{candidates:,} candidates × {each:,.0f} steps, then "
        if search < candidates * each:
            line = f"{search:,.0f} steps (of {candidates:,} candidates × {each:,.0f}), then "
    elif search is not None:
        line = f"{search:,.0f} steps, then " if search else ""
    line += f"{length['final']:,.0f} steps"
    seconds = length["seconds"]
    line += "" if seconds is None else f": about {duration(seconds)} here"
    few = candidates is not None and size < candidates
    return line + (f" (the space has {size:,} architectures; repeats cost nothing)" if few else "")


_UNITS: Mapping[str, Callable[[Any], str]] = {
    "images": lambda n: f"{n:,} images",
    "macs": lambda n: f"{n / 1e9:.3g} GMACs",
    "seconds": lambda n: f"{n:.2g} s",
}


def _cell(key: str, value: Any) -> str:
    """Return a value of a plan with its name and unit, a mapping without what is empty."""
    if key in _UNITS:
        return _UNITS[key](value)
    if isinstance(value, Mapping):
        if set(value) == {"amount", "unit"}:
            return f"{value['amount']:,.15g} {value['unit']}"
        text = ", ".join(_cell(k, v) for k, v in value.items() if v not in ("", None))
        return f"{key} of {text}" if key else text
    return f"{key} {_plain(value)}" if key else _plain(value)


def _plain(value: Any) -> str:
    text = "x".join(map(str, value)) if isinstance(value, list) else str(value)
    return one_line(text)


def shown(value: Any) -> str:
    """Return a plain value as one line, as a configuration file would write it."""
    import json

    if isinstance(value, str):
        return one_line(value) or '""'
    return json.dumps(value)
