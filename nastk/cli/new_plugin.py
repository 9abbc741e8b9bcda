"""``nastk new-plugin``."""

from __future__ import annotations

from pathlib import Path

import click

from nastk.cli.common import App, say, verbosity


@click.command("new-plugin", epilog="\b\nExample:\n  nastk new-plugin nastk-coin --kind strategy\n")
@click.argument("name")
@click.option(
    "--kind",
    required=True,
    metavar="KIND",
    help="strategy, space, objective, evaluator, dataset, executor or pass",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="folder of the new project, not there yet or empty  [./NAME]",
)
@verbosity
@click.pass_context
def command(ctx: click.Context, name: str, kind: str, out: Path | None) -> None:
    """Begin a plugin: a working distribution with one component and its tests.

    NAME is the distribution's, in lower case with hyphens. Nothing is overwritten. Prints the
    folder.
    """
    from nastk.errors import PluginError
    from nastk.scaffold import Names, generate

    names = Names.of(name, kind)
    registry = ctx.ensure_object(App).registry
    if names.component in registry.names(kind):
        holder = registry.get(kind, names.component).distribution
        raise PluginError(f"{kind} '{names.component}' is already held by {holder}")
    folder = out or Path(name)
    files = generate(names, folder)
    say(f"{len(files)} files; next: pip install -e '{folder}[test]' && pytest {folder}")
    click.echo(str(folder))
