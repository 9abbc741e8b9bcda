"""``nastk run``."""

from __future__ import annotations

import click

from nastk.cli.common import (
    App,
    flags_of,
    json_option,
    run_options,
    verbosity,
)
from nastk.cli.ranks import together
from nastk.cli.tensorboard import boards, tensorboard_option

_EXAMPLES = """\b
Examples:
  nastk run
  nastk run --strategy random --budget 2000steps --seed 1
  nastk run my.toml --dataset fashion-mnist --set space.generator_width=16
"""


@click.command("run", epilog=_EXAMPLES)
@click.argument("config", required=False)
@run_options
@click.option("-n", "--dry-run", is_flag=True, help="build one candidate, show the plan, stop")
@tensorboard_option
@json_option
@verbosity
@click.pass_context
@together
def command(
    ctx: click.Context,
    config: str | None,
    settings: tuple[str, ...],
    dry_run: bool,
    tensorboard: bool,
    as_json: bool,
) -> int:
    """Search, retrain the best from scratch and measure it.

    CONFIG is a TOML file. Every value has a default: a plain 'nastk run' searches a generator for
    handwritten digits. A flag beats an environment variable (NASTK_SEED, NASTK_SPACE__KEY), which
    beats the file, which beats the preset and the defaults of the components.
    """
    from nastk import engine
    from nastk.cli.execute import execute, free_folder, on_device, show_plan
    from nastk.config import resolve
    from nastk.dryrun import plan

    app = ctx.ensure_object(App)
    resolved = resolve(app.registry, file=config, flags=flags_of(ctx, settings))
    if dry_run:
        return show_plan(plan(on_device(resolved), app.registry), as_json)
    folder = free_folder(resolved, resolved.run.strategy)
    ready = on_device(resolved)
    board = boards(folder, tensorboard)
    return execute(
        app,
        as_json,
        lambda sinks, stop: engine.run(ready, app.registry, folder, [*sinks, *board], stop),
    )
