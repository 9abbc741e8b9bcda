"""``nastk report``."""

from __future__ import annotations

from pathlib import Path

import click

from nastk.cli.common import verbosity

_EXAMPLE = "\b\nExample:\n  nastk report runs/blockwise-stasgan-digits-0 -o mine.html\n"


@click.command("report", epilog=_EXAMPLE)
@click.argument("folder")
@click.option("-o", "--output", metavar="FILE", help="page to write  [FOLDER/report.html]")
@verbosity
def command(folder: str, output: str | None) -> None:
    """Write a run as one HTML page that needs nothing else.

    The run may be finished or not. A finished run has its page already: report.html in its folder.
    """
    from nastk.report import write_report

    click.echo(str(write_report(Path(folder), None if output is None else Path(output))))
