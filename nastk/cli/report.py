"""``nastk report``."""

from __future__ import annotations

from pathlib import Path

import click

from nastk.cli.common import verbosity
from nastk.errors import ConfigError

_EXAMPLES = """\b
Examples:
  nastk report runs/blockwise-stasgan-digits-0 -o mine.html
  nastk report runs/* -o all.html
"""


@click.command("report", epilog=_EXAMPLES)
@click.argument("folders", metavar="RUN...", nargs=-1, required=True)
@click.option("-o", "--output", metavar="FILE", help="page to write  [RUN/report.html]")
@verbosity
def command(folders: tuple[str, ...], output: str | None) -> None:
    """Write runs as one HTML page that needs nothing else.

    A run may be finished or not; a finished one has its page already: report.html in its folder.
    Several runs are compared first; numbers that were measured unlike each other are not ranked.
    """
    from nastk.report import write_report, write_reports

    paths = [Path(folder) for folder in folders]
    if len(paths) == 1:
        page = write_report(paths[0], None if output is None else Path(output))
    elif output is None:
        raise ConfigError(
            f"got {len(paths)} runs and no file for their page", "name one: -o all.html"
        )
    else:
        page = write_reports(paths, Path(output))
    click.echo(str(page))
