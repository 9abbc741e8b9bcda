"""``nastk plugins``."""

from __future__ import annotations

import click

from nastk.cli.common import App, json_option, print_json, print_table, verbosity


@click.command("plugins", epilog="\b\nExample:\n  nastk plugins --json\n")
@click.option("--no-load", is_flag=True, help="only name what is installed; import nothing")
@json_option
@verbosity
@click.pass_context
def command(ctx: click.Context, no_load: bool, as_json: bool) -> None:
    """Show each plugin's distribution, version, hooks and components, and what failed to load."""
    from attrs import asdict

    from nastk.plugins import installed

    app = ctx.ensure_object(App)
    if no_load:
        plugins = [asdict(p) for p in installed()]
        failures: dict[str, str] = {}
    else:
        plugins = [asdict(p) for p in app.registry.plugins]
        failures = dict(app.registry.failures)
    if as_json:
        print_json("plugins", {"plugins": plugins, "failures": failures})
        return
    rows = [("distribution", "version", "plugin", "hooks", "components")]
    for p in plugins:
        names = ", ".join(p["components"])
        rows.append((p["distribution"], p["version"], p["name"], ", ".join(p["hooks"]), names))
    print_table(rows)
    for distribution, reason in failures.items():
        click.echo(f"failed: {distribution}: {reason}")
