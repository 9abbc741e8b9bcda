"""``nastk resume``."""

from __future__ import annotations

from pathlib import Path

import click

from nastk.cli.common import App, flags_of, json_option, run_options, verbosity
from nastk.cli.ranks import together
from nastk.cli.tensorboard import boards, tensorboard_option


@click.command("resume", epilog="\b\nExample:\n  nastk resume runs/blockwise-stasgan-digits-0\n")
@click.argument("folder")
@run_options
@click.option("--allow-changed", is_flag=True, help="go on although plugins or data changed")
@tensorboard_option
@json_option
@verbosity
@click.pass_context
@together
def command(
    ctx: click.Context,
    folder: str,
    settings: tuple[str, ...],
    allow_changed: bool,
    tensorboard: bool,
    as_json: bool,
) -> int:
    """Continue an interrupted or killed run; needs nothing but its folder.

    Flags are held against what the run was started with; a difference is refused.
    """
    from nastk import engine
    from nastk.cli.execute import execute
    from nastk.device import choose_device
    from nastk.rundir import RunFolder

    app = ctx.ensure_object(App)
    overrides = flags_of(ctx, settings)
    device = str(RunFolder.open(Path(folder)).document.get("device", ""))
    if device.startswith("cuda"):
        choose_device(device)
    board = boards(Path(folder), tensorboard)
    return execute(
        app,
        as_json,
        lambda sinks, stop: engine.resume(
            Path(folder),
            app.registry,
            [*sinks, *board],
            stop,
            overrides=overrides or None,
            allow_changed=allow_changed,
        ),
    )
