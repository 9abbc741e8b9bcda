"""``nastk run``."""

from __future__ import annotations

from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nastk.cli.common import (
    App,
    flags_of,
    json_option,
    print_json,
    print_table,
    run_options,
    say,
    verbosity,
)

if TYPE_CHECKING:
    from nastk.config import Config

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
@json_option
@verbosity
@click.pass_context
def command(
    ctx: click.Context, config: str | None, settings: tuple[str, ...], dry_run: bool, as_json: bool
) -> int:
    """Search, retrain the best from scratch and measure it.

    CONFIG is a TOML file. Every value has a default: a plain 'nastk run' searches a generator for
    handwritten digits. A flag beats an environment variable (NASTK_SEED, NASTK_SPACE__KEY), which
    beats the file, which beats the preset and the defaults of the components.
    """
    from nastk import engine
    from nastk.cli.execute import execute
    from nastk.config import resolve

    app = ctx.ensure_object(App)
    resolved = resolve(app.registry, file=config, flags=flags_of(ctx, settings))
    if dry_run:
        return _show_plan(engine.plan(_on_device(resolved), app.registry), as_json)
    folder = _folder(resolved)
    ready = _on_device(resolved)
    return execute(
        app, as_json, lambda sinks, stop: engine.run(ready, app.registry, folder, sinks, stop)
    )


def _on_device(config: Config) -> Config:
    from nastk.device import choose_device

    device, remark = choose_device(config.run.device)
    if remark:
        say(remark)
    wanted = f"{config.run.device} ({config.origins['run.device']})"
    return config.with_run(wanted, device=device) if device != config.run.device else config


def _folder(config: Config) -> Path:
    """Return the folder asked for, checked, or the first free one named after the run."""
    from nastk.rundir import check_free

    if config.run.out:
        check_free(Path(config.run.out))
        return Path(config.run.out)
    run = config.run
    base = Path("runs", f"{run.strategy}-{run.space}-{run.dataset}-{run.seed}")
    names = chain([base], (base.with_name(f"{base.name}-{i}") for i in count(2)))
    return next(path for path in names if not path.exists())


def _show_plan(plan: dict[str, Any], as_json: bool) -> int:
    from nastk.cli.execute import shown

    if as_json:
        print_json("plan", plan)
    else:
        print_table((key, shown(value)) for key, value in plan.items())
    return 0
