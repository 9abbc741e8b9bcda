"""``nastk inspect``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from nastk.cli.common import (
    App,
    json_option,
    pairs,
    print_json,
    print_table,
    set_option,
    verbosity,
)
from nastk.errors import ConfigError

if TYPE_CHECKING:
    from nastk.archfile import ArchitectureFile
    from nastk.records import Task
    from nastk.registry import Component
    from nastk.space import SearchSpace

MAX_SIDE = 4096
_IMAGE = re.compile(r"(\d{1,4})x(\d{1,4})x(\d{1,4})")
_EXAMPLES = """\b
Examples:
  nastk inspect --space stasgan --arch baseline --fingerprint --json
  nastk inspect --arch runs/blockwise-stasgan-digits-0/best/architecture.json
"""


@click.command("inspect", epilog=_EXAMPLES)
@click.option("--space", "space_name", metavar="NAME", help="the space  [that of --arch]")
@click.option("--arch", required=True, metavar="TEXT", help="published name, codes, file or run")
@click.option("--image", metavar="CxHxW", help="shape of a real image  [the space's usual one]")
@click.option("--classes", metavar="N", help="number of classes  [the space's usual one]")
@click.option("--preset", default="", metavar="NAME", help="a preset of the space")
@click.option("--fingerprint", is_flag=True, help="run the deterministic-weight batch of two")
@click.option("--stage", metavar="K", help="only the first K+1 blocks; codes may stop there")
@set_option
@json_option
@verbosity
@click.pass_context
def command(
    ctx: click.Context,
    space_name: str | None,
    arch: str,
    image: str | None,
    classes: str | None,
    preset: str,
    fingerprint: bool,
    stage: str | None,
    settings: tuple[str, ...],
    as_json: bool,
) -> None:
    """Count trainable parameters and the MACs of one image, of generator and discriminator.

    The same architecture gives the same fingerprint in every implementation, so that another one
    can be held against this.
    """
    from nastk.archtext import read_architecture
    from nastk.config import resolve_component
    from nastk.nn.inspect import inspect_architecture

    registry = ctx.ensure_object(App).registry
    written = read_architecture(arch, registry, space_name or "", "--arch")
    component, name = written.component, written.space
    config = resolve_component(
        registry,
        "space",
        name,
        flags=pairs(settings),
        preset=preset,
        saved=written.file.settings if written.file else None,
    )
    task = _task(component, image, classes, written.file)
    space: SearchSpace = component.load_factory()(config, task=task)
    blocks = _blocks(space, stage)
    choices, codes = written.choices(space, blocks)
    document = {"space": name, "architecture": codes} | inspect_architecture(
        space, choices, blocks=blocks, fingerprints=fingerprint
    )
    if as_json:
        print_json("inspection", document)
    else:
        _print(document)


def _task(
    component: Component, image: str | None, classes: str | None, loaded: ArchitectureFile | None
) -> Task:
    from nastk.records import Task

    usual = loaded.task if loaded else None
    text = image or str(component.defaults.get("inspect.image", "3x32x32"))
    shape = usual.image if usual and not image else _shape(text)
    number = usual.classes if usual else int(component.defaults.get("inspect.classes", 0))
    if classes is not None:
        number = _integer("--classes", classes, 1_000_000)
    logits = usual.class_logits if usual and classes is None else 0
    return Task(image=shape, classes=number, class_logits=logits)


def _shape(text: str) -> tuple[int, int, int]:
    match = _IMAGE.fullmatch(text)
    sizes = [int(n) for n in match.groups()] if match else []
    if not sizes or not all(0 < n <= MAX_SIDE for n in sizes):
        raise ConfigError(f"--image: got '{text[:60]}', expected CxHxW such as 3x32x32")
    return sizes[0], sizes[1], sizes[2]


def _integer(flag: str, text: str, most: int) -> int:
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII) or int(text) > most:
        raise ConfigError(f"{flag}: got '{text[:60]}', expected an integer from 0 to {most}")
    return int(text)


def _blocks(space: SearchSpace, stage: str | None) -> int | None:
    return None if stage is None else _integer("--stage", stage, space.blocks - 1) + 1


def _print(document: dict[str, Any]) -> None:
    print_table([("space", document["space"]), ("architecture", document["architecture"])])
    rows = [("network", "parameters", "MACs", "output")]
    for role in ("generator", "discriminator"):
        found = document[role]
        shape = "x".join(map(str, found["output_shape"]))
        rows.append((role, f"{found['parameters']:,}", f"{found['macs']:,}", shape))
    print_table(rows)
    for role in ("generator", "discriminator"):
        for name, value in document[role].get("fingerprint", {}).items():
            click.echo(f"{role} {name}: {value:.9g}")
