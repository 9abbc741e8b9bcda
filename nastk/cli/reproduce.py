"""``nastk reproduce``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nastk.cli.common import (
    App,
    flag_options,
    flags_of,
    json_option,
    print_json,
    print_table,
    say,
    verbosity,
)
from nastk.errors import ConfigError

if TYPE_CHECKING:
    from nastk.config import Config
    from nastk.engine import Result
    from nastk.recipes import Figure, Named, Verdict
    from nastk.records import Metric
    from nastk.reproduction import Missing

_EXAMPLES = """\b
Examples:
  nastk reproduce autogan-cifar10 --dry-run
  nastk reproduce autogan-cifar10 --data-root DATA --inception-weights FILE
"""


@click.command("reproduce", epilog=_EXAMPLES)
@click.argument("name")
@click.option("--seeds", type=click.IntRange(1, 1000), metavar="N", help="do it so many times")
@flag_options(
    "run.seed",
    "run.device",
    "run.out",
    "dataset.root",
    "evaluator.inception_weights",
    out="folder of the run  [runs/reproduce-NAME-SEED]",
)
@click.option("-n", "--dry-run", is_flag=True, help="show what would be done, and stop")
@json_option
@verbosity
@click.pass_context
def command(
    ctx: click.Context,
    name: str,
    seeds: int | None,
    settings: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
) -> int:
    """Do what a recipe says, and hold the outcome against the published figures.

    NAME is one of 'nastk list recipes'. A figure is within its band, better or worse; it is not
    comparable where it was measured otherwise, or where a setting is not the recipe's. Missing
    data or weights are told before any work. The same command continues where it was stopped.
    """
    from nastk import reproduction, series
    from nastk.cli.execute import on_device
    from nastk.cli.several import execute_parts, print_averages
    from nastk.recipes import find_recipe, judge
    from nastk.retraining import recipe_config

    app = ctx.ensure_object(App)
    recipe = find_recipe(app.registry, name)
    config = recipe_config(app.registry, recipe, flags_of(ctx, settings))
    missing = reproduction.missing(config, app.registry)
    differs = reproduction.deviations(config, recipe, app.registry)
    if dry_run:
        return _show_plan(_plan(recipe, config, missing, differs), as_json)
    if missing.errors:
        raise _cannot_start(name, missing)
    base = Path(config.run.out or f"runs/reproduce-{name}-{config.run.seed}")
    ready = on_device(config)
    parts = series.parts(ready, base, seeds) if seeds else [series.Part(base, ready)]
    code, results = execute_parts(app, as_json, parts)
    if len(results) < len(parts):
        return code
    if seeds:
        print_averages(series.averages(results), seeds, as_json)
    _show_verdicts(recipe, judge(recipe.recipe, _metrics(results), differs), as_json)
    return code


def _metrics(results: Sequence[Result]) -> Mapping[str, Metric]:
    """Return what is judged: the one run's metrics, or their means over the seeds."""
    from attrs import evolve

    from nastk.series import averages

    if len(results) == 1:
        return results[0].metrics
    return {a.name: evolve(a.metric, value=a.mean) for a in averages(results)}


def _cannot_start(name: str, missing: Missing) -> ConfigError:
    what = "; ".join(error.message for error in missing.errors)
    commands = missing.commands(f"nastk reproduce {name}")
    hint = f"run: {', or: '.join(commands)}" if commands else missing.errors[0].hint
    return ConfigError(f"recipe '{name}' cannot start: {what}", hint)


def _plan(
    recipe: Named, config: Config, missing: Missing, differs: Sequence[str]
) -> dict[str, Any]:
    final = config.final
    return {
        "recipe": recipe.name,
        "summary": recipe.recipe.summary,
        "source": recipe.recipe.source,
        "space": recipe.space,
        "architecture": recipe.recipe.architecture or f"searched by {recipe.recipe.strategy}",
        "dataset": config.run.dataset,
        "length": final.budget or f"{final.steps} steps",
        "samples": final.samples,
        "split": final.split,
        "notes": list(recipe.recipe.notes),
        "deviations": list(differs),
        "missing": [str(error) for error in missing.errors],
        "commands": missing.commands(f"nastk reproduce {recipe.name}"),
        "figures": [figure_document(figure) for figure in recipe.recipe.figures],
    }


def _show_plan(plan: dict[str, Any], as_json: bool) -> int:
    if as_json:
        print_json("plan", plan)
        return 0
    rows = []
    for key, value in plan.items():
        if key != "figures":
            lines = value if isinstance(value, list) else [str(value)]
            rows += [(key if i == 0 else "", line) for i, line in enumerate(lines)]
    print_table(rows)
    print_figures(plan["figures"])
    return 0


def figure_document(figure: Figure) -> dict[str, Any]:
    """Return a figure as plain JSON data."""
    return {
        "metric": figure.metric,
        "published": figure.value,
        "spread": figure.spread,
        "low": figure.low,
        "high": figure.high,
        "band": figure.band,
        "protocol": dict(figure.protocol),
    }


def print_figures(figures: Sequence[Mapping[str, Any]]) -> None:
    """Write published figures with their bands and protocols; says so where there are none."""
    if not figures:
        click.echo("\nno figures are published")
        return
    rows = [(f["metric"], *_published(f), f["band"]) for f in figures]
    click.echo()
    print_table([("figure", "published", "band", "where the band comes from"), *rows])


def _show_verdicts(recipe: Named, verdicts: Sequence[Verdict], as_json: bool) -> None:
    if as_json:
        import json

        from nastk.records import SCHEMA

        told = [
            {**figure_document(v.figure), "found": v.found, "verdict": v.word, "why": list(v.why)}
            for v in verdicts
        ]
        facts = {"schema": SCHEMA, "type": "verdict", "recipe": recipe.name, "figures": told}
        click.echo(json.dumps(facts))
        return
    click.echo(f"\nrecipe {recipe.name}: {recipe.recipe.source}")
    if not verdicts:
        click.echo("no figures are published")
        return
    print_table([("figure", "published", "band", "here", "verdict"), *map(_verdict_row, verdicts)])
    for line in dict.fromkeys(line for verdict in verdicts for line in verdict.why):
        say(f"not comparable: {line}")


def _verdict_row(verdict: Verdict) -> tuple[str, ...]:
    published = _published(figure_document(verdict.figure))
    found = "" if verdict.found is None else f"{verdict.found:.5g}"
    word = {"within": "within the band", "better": "outside, better", "worse": "outside, worse"}
    return verdict.figure.metric, *published, found, word.get(verdict.word, verdict.word)


def _published(figure: Mapping[str, Any]) -> tuple[str, str]:
    spread = "" if figure["spread"] is None else f" ± {figure['spread']:g}"
    low, high = f"{figure['low']:.8g}", f"{figure['high']:.8g}"
    band = low if low == high else f"{low} to {high}"
    return f"{figure['published']:.8g}{spread}", band
