"""What the commands share: the application object, common options, and how things are printed."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeVar

import click

from nastk.config_sources import FLAGS
from nastk.errors import ConfigError
from nastk.records import SCHEMA

if TYPE_CHECKING:
    from nastk.plugins import Plugins

F = TypeVar("F", bound=Callable[..., Any])

_HELP = {
    "--strategy": "how to search  [blockwise]",
    "--space": "what to search  [stasgan]",
    "--dataset": "the real images  [digits]",
    "--objective": "the adversarial losses",
    "--trainer": "what trains a pair of networks",
    "--evaluator": "what measures a candidate",
    "--executor": "where candidates run",
    "--preset": "a named set of values of the space and the strategy",
    "--seed": "decides every random draw  [0]",
    "--device": "auto, cpu, cuda or cuda:N  [auto]",
    "--out": "folder of the run  [runs/STRATEGY-SPACE-DATASET-SEED]",
    "--budget": "of the search, e.g. 2000steps, 64kimg, 600gmacs, 5min  [the strategy's plan]",
    "--labels": "share of the training images whose labels may be used  [1.0]",
    "--data-root": "folder in which data sets are looked for",
    "--inception-weights": "file with the weights of InceptionV3",
    "--storage": "where the strategy keeps its trials, for those that share them",
}


class App:
    """State of one call of the command line.

    Attributes:
        level: -1 warnings and errors only, 0 normal, 1 detail, 2 debug.
        progress: show a bar where there is a terminal.
    """

    def __init__(self) -> None:
        self.level = 0
        self.progress = True

    @cached_property
    def registry(self) -> Plugins:
        """All components that can be loaded; loaded when first asked for."""
        from nastk.plugins import load

        return load(warn=say)

    @property
    def rich(self) -> bool:
        """Whether stderr may carry colour and a bar."""
        return self.progress and sys.stderr.isatty() and "NO_COLOR" not in os.environ


def say(line: str) -> None:
    """Write one line to stderr: no line breaks, no control characters."""
    click.echo(one_line(line), err=True)


def one_line(text: str) -> str:
    """Return ``text`` on one line, with control characters and lone surrogates escaped."""
    words = " ".join(text.split())
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in words)


def print_json(kind: str, document: Mapping[str, Any]) -> None:
    """Write one JSON document with its kind and schema number to stdout."""
    click.echo(json.dumps({"schema": SCHEMA, "kind": kind, **document}, indent=2, allow_nan=False))


def print_table(rows: Iterable[Sequence[str]]) -> None:
    """Write rows of equal length as aligned columns to stdout."""
    lines = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (c.ljust(w) for c, w in zip(line, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def verbosity(function: F) -> F:
    """Add ``-q``, ``-v``, ``--no-progress`` and ``--debug``; they may stand before or after."""

    def quieter(ctx: click.Context, _: click.Parameter, count: int) -> None:
        ctx.ensure_object(App).level -= count

    def louder(ctx: click.Context, _: click.Parameter, count: int) -> None:
        ctx.ensure_object(App).level += count

    def plainer(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        ctx.ensure_object(App).progress &= not value

    hidden: dict[str, Any] = {"expose_value": False}
    for option in (
        click.option("--debug", is_flag=True, help="show where an error arose", **hidden),
        click.option(
            "--no-progress", is_flag=True, callback=plainer, help="lines, no bar", **hidden
        ),
        click.option("-v", "--verbose", count=True, callback=louder, help="tell more", **hidden),
        click.option("-q", "--quiet", count=True, callback=quieter, help="only warnings", **hidden),
    ):
        function = option(function)
    return function


def json_option(function: F) -> F:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="machine-readable output")(function)


def set_option(function: F) -> F:
    """Add the repeatable ``--set section.key=value``."""
    return click.option(
        "--set", "settings", multiple=True, metavar="KEY=VALUE", help="any value; repeatable"
    )(function)


def run_options(function: F) -> F:
    """Add ``--set`` and a flag for each of :data:`nastk.config.FLAGS`; see :func:`flags_of`."""
    return flag_options(*FLAGS)(function)


def flag_options(*keys: str, **helps: str) -> Callable[[F], F]:
    """Return a decorator that adds ``--set`` and the flags of some of :data:`FLAGS`.

    Args:
        keys: dotted keys, in the order of the help.
        helps: last part of a key → help in place of the usual one.
    """

    def add(function: F) -> F:
        for key in reversed(keys):
            function = click.option(
                FLAGS[key],
                metavar="TEXT",
                help=helps.get(key.partition(".")[2], _HELP[FLAGS[key]]),
                expose_value=False,
                callback=partial(_remember, key),
            )(function)
        return set_option(function)

    return add


def _remember(key: str, ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.meta.setdefault("nastk.flags", {})[key] = value


def flags_of(ctx: click.Context, settings: Sequence[str]) -> dict[str, str]:
    """Return dotted key → text of all flags given, named ones before ``--set``.

    Raises:
        ConfigError: a ``--set`` without ``=``.
    """
    named: dict[str, str] = ctx.meta.get("nastk.flags", {})
    return {**pairs(settings), **named}


def pairs(settings: Sequence[str]) -> dict[str, str]:
    """Return the ``KEY=VALUE`` words of ``--set`` as a mapping; the last of equals counts.

    Raises:
        ConfigError: a word without ``=`` or a section.
    """
    found = {}
    for word in settings:
        key, sign, value = word.partition("=")
        if not sign:
            raise ConfigError(f"flag --set: got '{word}', expected section.key=value")
        found[key.strip()] = value
    return found
