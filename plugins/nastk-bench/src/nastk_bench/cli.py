"""``nastk bench``: parse, call, print."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from nastk.cli.common import json_option, print_json, print_table, say, verbosity
from nastk_bench.protocol import Protocol

_FOLDER = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(dir_okay=False, path_type=Path)
_table_option = click.option(
    "--table", type=_FILE, help="file of a table; without it the one that is shipped"
)


@click.group("bench", short_help="the tabulated benchmark: build, query, describe")
def bench() -> None:
    """Build, query and describe the tabulated benchmark."""


@bench.command("build")
@click.option("--out", type=_FOLDER, required=True, help="folder of the build, old or new")
@click.option("--workers", type=click.IntRange(1, 256), default=1, help="processes  [1]")
@click.option("--seeds", type=click.IntRange(1, 1000), default=3, help="trainings a member  [3]")
@click.option("--limit", type=click.IntRange(0), default=0, help="trainings at most  [all]")
@verbosity
def build_command(out: Path, workers: int, seeds: int, limit: int) -> None:
    """Train and measure all members.

    The same command goes on after any interruption.
    """
    from nastk_bench.build import build

    build(out, Protocol(), seeds=seeds, workers=workers, limit=limit, told=_told("trainings"))


@bench.command("pack")
@click.argument("folder", type=_FOLDER)
@click.option("--out", type=_FILE, required=True, help="file of the table, e.g. nano-v1.json.xz")
@click.option("--least-seeds", type=click.IntRange(1), default=3, help="refuse fewer  [3]")
@verbosity
def pack_command(folder: Path, out: Path, least_seeds: int) -> None:
    """Make the table of a build."""
    from nastk_bench.files import save
    from nastk_bench.pack import pack

    table = pack(folder, least_seeds=least_seeds)
    content = save(table, out)
    say(f"{len(table.codes)} members, {table.seeds} seeds, content {content}")


@bench.command("query")
@click.argument("codes")
@_table_option
@json_option
@verbosity
def query_command(codes: str, table: Path | None, as_json: bool) -> None:
    """Say what the member with integer CODES came to.

    The mean over seeds after the whole training, and its place among all members.
    """
    from nastk_bench.files import shipped
    from nastk_bench.standing import standing

    found = standing(shipped(str(table or "")), codes)
    if as_json:
        print_json("bench-query", found)
    else:
        print_table([(name, _shown(value)) for name, value in found.items()])


@bench.command("zero-cost")
@click.option("--out", type=_FILE, required=True, help="file to go on with, a line a member")
@click.option("--columns", type=_FILE, help="write them as one document too")
@verbosity
def zero_cost_command(out: Path, columns: Path | None) -> None:
    """Score all members untrained.

    The same command goes on after any interruption.
    """
    from nastk_bench.scoring import score_all, write_columns

    score_all(Protocol(), out, _told("members"))
    if columns is not None:
        write_columns(Protocol(), out, columns)


@bench.command("datasheet")
@_table_option
@click.option("--scores", type=_FILE, help="document of zero-cost scores  [the shipped one]")
@verbosity
def datasheet_command(table: Path | None, scores: Path | None) -> None:
    """Write the datasheet of a table to stdout."""
    from nastk_bench.datasheet import datasheet
    from nastk_bench.files import shipped
    from nastk_bench.scoring import SHIPPED, columns_of

    found = shipped(str(table or ""))
    path = scores or (SHIPPED if table is None and SHIPPED.exists() else None)
    click.echo(datasheet(found, None if path is None else columns_of(found, path)), nl=False)


def _told(what: str) -> Any:
    last = [-1]

    def tell(done: int, wanted: int) -> None:
        percent = 100 * done // max(1, wanted)
        if percent != last[0]:
            last[0] = percent
            say(f"{done}/{wanted} {what}")

    return tell


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
