"""``nastk train``."""

from __future__ import annotations

import click

from nastk.cli.common import App, flag_options, flags_of, json_option, verbosity
from nastk.cli.ranks import together
from nastk.errors import ConfigError

_EXAMPLES = """\b
Examples:
  nastk train runs/blockwise-stasgan-digits-0 --budget 2000steps
  nastk train autogan/A --dataset cifar10 --data-root DATA --seeds 3
  nastk train --recipe autogan-cifar10 --data-root DATA
  nastk train stasgan/baseline --task classify --labels 1.0,0.1,0.01
"""


@click.command("train", epilog=_EXAMPLES)
@click.argument("arch", required=False, default="")
@click.option("--space", default="", metavar="NAME", help="the space  [that of ARCH]")
@click.option("--recipe", default="", metavar="NAME", help="published settings, see 'nastk list'")
@click.option(
    "--budget", default="", metavar="TEXT", help="length, e.g. 2000steps, 64kimg, 600gmacs, 5min"
)
@click.option("--seeds", type=click.IntRange(1, 1000), metavar="N", help="train so many times")
@click.option(
    "--task",
    type=click.Choice(["generate", "classify"]),
    default="generate",
    help="classify: the class head against its baselines, at one or more --labels  [generate]",
)
@flag_options(
    "run.dataset",
    "run.objective",
    "run.trainer",
    "run.evaluator",
    "run.seed",
    "run.device",
    "run.out",
    "dataset.labels",
    "dataset.root",
    "evaluator.inception_weights",
    out="folder of the training  [runs/train-SPACE-DATASET-SEED]",
)
@click.option("-n", "--dry-run", is_flag=True, help="build the pair, show the plan, stop")
@json_option
@verbosity
@click.pass_context
@together
def command(
    ctx: click.Context,
    arch: str,
    space: str,
    recipe: str,
    budget: str,
    seeds: int | None,
    task: str,
    settings: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
) -> int:
    """Train one architecture from scratch and measure it.

    ARCH is a published name ('autogan/A'), integer codes, an architecture file, or the folder of
    a finished run: its winner is trained with the run's own settings. With a recipe ARCH may be
    left out. The folder is that of a run: 'nastk resume' continues it, 'nastk show' reads it.

    With --seeds the folders are OUT-seed0, OUT-seed1, and so on; the same command continues.

    With --task classify the discriminator is trained as a classifier with generated images,
    without them, and on labelled images only, at each of --labels (1.0,0.1,0.01) and for --seeds
    (3), all in one folder that the same command continues.
    """
    from nastk import engine, series
    from nastk.cli.execute import execute, free_folder, on_device, show_plan, usual_folder
    from nastk.cli.several import execute_parts, print_averages
    from nastk.dryrun import plan
    from nastk.recipes import find_recipe
    from nastk.retraining import training_config

    app = ctx.ensure_object(App)
    named = find_recipe(app.registry, recipe) if recipe else None
    flags = flags_of(ctx, settings)
    if task == "classify":
        if dry_run:
            raise ConfigError("--dry-run: got --task classify, expected --task generate")
        from nastk.classification.cells import Asked
        from nastk.cli.classify import classify

        asked = Asked(arch, flags, recipe=named, space=space, budget=budget, seeds=seeds or 3)
        return classify(app, as_json, asked)
    config = training_config(
        app.registry, arch, recipe=named, space=space, budget=budget, flags=flags
    )
    if dry_run:
        return show_plan(plan(on_device(config), app.registry), as_json)
    if seeds is None:
        folder, ready = free_folder(config, "train"), on_device(config)
        return execute(
            app, as_json, lambda sinks, stop: engine.run(ready, app.registry, folder, sinks, stop)
        )
    parts = series.parts(on_device(config), usual_folder(config, "train"), seeds)
    code, results = execute_parts(app, as_json, parts)
    if len(results) == seeds:
        print_averages(series.averages(results), seeds, as_json)
    return code
