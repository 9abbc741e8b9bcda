"""``nastk config check``."""

from __future__ import annotations

import click

from nastk.cli.common import App, flags_of, json_option, print_json, run_options, verbosity


@click.group("config", no_args_is_help=False)
def command() -> None:
    """Look after configuration files."""


@command.command("check", epilog="\b\nExample:\n  nastk config check my.toml --origin\n")
@click.argument("file", required=False)
@run_options
@click.option("--origin", is_flag=True, help="say where each value comes from")
@json_option
@verbosity
@click.pass_context
def check(
    ctx: click.Context, file: str | None, settings: tuple[str, ...], origin: bool, as_json: bool
) -> None:
    """Check FILE and show every value that a run would use, as TOML.

    Without FILE: the values that flags, environment and defaults come to.
    """
    from nastk.cli.common import one_line
    from nastk.cli.execute import shown
    from nastk.config import resolve

    resolved = resolve(ctx.ensure_object(App).registry, file=file, flags=flags_of(ctx, settings))
    if as_json:
        print_json("config", resolved.to_json())
        return
    section = ""
    for key, value in resolved.values().items():
        head, _, name = key.partition(".")
        if head != section:
            click.echo(f"{chr(10) if section else ''}[{head}]")
            section = head
        text = shown(value) if not isinstance(value, str) else _quoted(value)
        line = f"# {name} is not set" if value is None else f"{name} = {text}"
        click.echo(f"{line}  # {one_line(resolved.origins[key])}" if origin else line)


def _quoted(text: str) -> str:
    import json

    return json.dumps(text)
