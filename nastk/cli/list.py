"""``nastk list``."""

from __future__ import annotations

from fnmatch import fnmatchcase

import click

from nastk.cli.common import App, json_option, print_json, print_table, verbosity
from nastk.errors import ConfigError, nearest
from nastk.registry import KINDS

_EXAMPLES = "\b\nExamples:\n  nastk list space\n  nastk list architectures 'stasgan/*'\n"


@click.command("list", epilog=_EXAMPLES)
@click.argument("kind", required=False, default="")
@click.argument("pattern", required=False, default="*", metavar="[GLOB]")
@json_option
@verbosity
@click.pass_context
def command(ctx: click.Context, kind: str, pattern: str, as_json: bool) -> None:
    """List what can be picked.

    KIND is space, strategy, trainer, evaluator, objective, dataset, executor, pass, or
    architectures for the published ones, or recipes for published procedures; all components
    without it.
    """
    from nastk.recipes import all_recipes

    app = ctx.ensure_object(App)
    if kind.removesuffix("s") == "recipe":
        rows = [
            {"name": named.name, "space": named.space, "summary": named.recipe.summary}
            for named in all_recipes(app.registry)
            if fnmatchcase(named.name, pattern)
        ]
    elif kind.removesuffix("s") == "architecture":
        rows = [
            {"space": e.component.name, "name": name, "codes": codes}
            for e in app.registry
            for name, codes in e.component.architectures.items()
            if fnmatchcase(f"{e.component.name}/{name}", pattern) or fnmatchcase(name, pattern)
        ]
    else:
        rows = [
            {
                "kind": e.component.kind,
                "name": e.component.name,
                "distribution": e.distribution,
                "summary": e.component.summary,
            }
            for e in app.registry
            if e.component.kind == (_kind(kind) or e.component.kind)
            and fnmatchcase(e.component.name, pattern)
        ]
    if as_json:
        print_json("list", {"items": rows})
    else:
        print_table([tuple(row.values()) for row in rows])


def _kind(word: str) -> str:
    plural = {"passes": "pass", "strategies": "strategy"}
    kind = plural.get(word, word if word in KINDS else word.removesuffix("s"))
    if kind and kind not in KINDS:
        raise ConfigError(
            f"there is no kind of component '{word}'",
            nearest(word, [*KINDS, "architectures", "recipes"]),
        )
    return kind
