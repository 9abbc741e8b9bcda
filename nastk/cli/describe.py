"""``nastk describe``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from nastk.cli.common import App, json_option, print_json, print_table, verbosity
from nastk.errors import ConfigError, nearest
from nastk.registry import KINDS

if TYPE_CHECKING:
    from nastk.registry import Entry


_EXAMPLES = """\b
Examples:
  nastk describe space stasgan
  nastk describe recipe autogan-cifar10
"""


@click.command("describe", epilog=_EXAMPLES)
@click.argument("kind")
@click.argument("name")
@json_option
@verbosity
@click.pass_context
def command(ctx: click.Context, kind: str, name: str, as_json: bool) -> None:
    """Show settings with types and defaults, presets and published architectures.

    KIND is that of a component, or recipe.
    """
    if kind == "recipe":
        _recipe(ctx, name, as_json)
        return
    if kind not in KINDS:
        raise ConfigError(
            f"there is no kind of component '{kind}'", nearest(kind, (*KINDS, "recipe"))
        )
    document = _document(ctx.ensure_object(App).registry.get(kind, name))
    if as_json:
        print_json("component", document)
    else:
        _print(document)


def _document(entry: Entry) -> dict[str, Any]:
    from nastk.settings import plain, settings_of

    component = entry.component
    cls = component.load_config()
    return {
        "component": component.kind,
        "name": component.name,
        "summary": component.summary,
        "distribution": entry.distribution,
        "version": entry.version,
        "factory": component.factory,
        "settings": [
            {"name": s.name, "type": s.type_name, "default": s.default, "help": s.help}
            for s in (settings_of(cls) if cls is not None else ())
        ],
        "defaults": plain(component.defaults),
        "presets": plain(component.presets),
        "architectures": plain(component.architectures),
    }


def _recipe(ctx: click.Context, name: str, as_json: bool) -> None:
    from nastk.cli.execute import shown
    from nastk.cli.reproduce import figure_document, print_figures
    from nastk.recipes import find_recipe
    from nastk.settings import plain

    named = find_recipe(ctx.ensure_object(App).registry, name)
    recipe = named.recipe
    facts = {"space": named.space, "architecture": recipe.architecture, "source": recipe.source,
             "strategy": recipe.strategy, "distribution": named.distribution}  # fmt: skip
    figures = [figure_document(figure) for figure in recipe.figures]
    values = plain(recipe.values)
    if as_json:
        lists = {"values": values, "figures": figures, "notes": list(recipe.notes)}
        print_json("recipe", {"name": name, "summary": recipe.summary, **facts, **lists})
        return
    click.echo(f"recipe {name}: {recipe.summary}")
    print_table([(key, value) for key, value in facts.items() if value])
    click.echo("\nsettings")
    print_table([(f"  {key}", shown(value)) for key, value in values.items()])
    print_figures(figures)
    for line in recipe.notes:
        click.echo(f"note: {line}")


def _print(document: dict[str, Any]) -> None:
    from nastk.cli.execute import shown

    click.echo(f"{document['component']} {document['name']}: {document['summary']}")
    click.echo(f"from {document['distribution']} {document['version']}, {document['factory']}")
    settings: list[tuple[str, ...]] = [
        (f"  {s['name']}", s["type"], shown(s["default"]), s["help"]) for s in document["settings"]
    ]
    tables: list[tuple[str, list[tuple[str, ...]]]] = [("settings", settings)]
    pairs = [("changes when picked", document["defaults"])]
    pairs += [(f"preset {name}", values) for name, values in document["presets"].items()]
    pairs += [("published architectures", document["architectures"])]
    tables += [(head, [(f"  {k}", shown(v)) for k, v in values.items()]) for head, values in pairs]
    for head, rows in tables:
        if rows:
            click.echo(f"\n{head}")
            print_table(rows)
