"""``nastk doctor``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from nastk.cli.common import (
    App,
    flags_of,
    json_option,
    print_json,
    print_table,
    run_options,
    verbosity,
)

if TYPE_CHECKING:
    from nastk.doctor import Examination

_EXAMPLES = "\b\nExamples:\n  nastk doctor\n  nastk doctor --dataset cifar10 --device cuda\n"


@click.command("doctor", epilog=_EXAMPLES)
@click.argument("config", required=False)
@run_options
@json_option
@verbosity
@click.pass_context
def command(
    ctx: click.Context, config: str | None, settings: tuple[str, ...], as_json: bool
) -> int:
    """Show what nastk sees here, and what a run with these flags would use.

    Ends with 1 where something that the run needs is missing, and says what brings it. Nothing is
    trained, downloaded or written.
    """
    from attrs import asdict

    from nastk.config import resolve
    from nastk.doctor import examine

    app = ctx.ensure_object(App)
    flags = flags_of(ctx, settings)
    found = examine(
        app.registry,
        lambda: resolve(app.registry, file=config, flags=flags),
        flags.get("dataset.root", ""),
    )
    if as_json:
        print_json("examination", asdict(found))
    else:
        _print(found)
    return 1 if found.problems else 0


def _print(found: Examination) -> None:
    click.echo("nastk sees")
    print_table(_rows(found))
    if found.uses:
        click.echo("\na run would use")
        print_table([(f"{k.replace('_', ' ')}", str(v)) for k, v in found.uses.items() if v])
    click.echo()
    for problem in found.problems:
        click.echo(f"missing: {problem.what}" + (f" ({problem.mend})" if problem.mend else ""))
    if not found.problems:
        click.echo("nothing is missing for this run")


def _rows(found: Examination) -> Iterable[tuple[str, str]]:
    from nastk.doctor import EXTRAS

    sees: Any = found.sees
    for name, version in sees["versions"].items():
        yield f"{name}", version or "not installed"
    yield "processors", str(sees["devices"]["cpus"])
    for index, device in enumerate(sees["devices"]["cuda"]):
        bf16 = ", bf16" if device["bf16"] else ""
        room = f"{_size(device['free'])} of {_size(device['memory'])} free"
        yield f"cuda:{index}", f"{device['name']}, {room}, capability {device['capability']}{bf16}"
    if not sees["devices"]["cuda"]:
        yield "CUDA", sees["devices"]["no_cuda"]
    if sees["memory"]:
        room = f"{_size(sees['memory']['free'])} of {_size(sees['memory']['total'])} free"
        yield "memory", room
    yield "disk", f"{_size(sees['disk']['free'])} free in {sees['disk']['folder']}"
    for name, version in sees["plugins"].items():
        yield f"plugin {name}", version
    for name, reason in sees["failures"].items():
        yield f"plugin {name}", f"failed: {reason}"
    for name, version in sees["extras"].items():
        yield f"extra {name}", version or f"not installed: {EXTRAS[name][1]}"
    for name, place in sees["data"].items():
        yield f"data {name}", place or "not here"
    weights = sees["weights"]
    yield "extractors", f"{weights['extractors']} in {weights['cache']}"
    yield "InceptionV3", "at hand" if weights["inception-v3"] else "no weights"


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
