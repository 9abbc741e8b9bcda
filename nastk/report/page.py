"""Runs as one HTML file that needs nothing else: no network, no server, only its own script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nastk.errors import ConfigError, RunFolderError
from nastk.report.comparing import comparison
from nastk.report.curves import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH
from nastk.report.facts import facts_of
from nastk.report.sheets import ROOM
from nastk.rundir import RunFolder

NAME = "report.html"
"""The report in its run's folder."""

MAX_RUNS = 40
"""Runs on one page."""

_ENDINGS = (".html", ".htm")


def write_report(folder: Path, file: Path | None = None) -> Path:
    """Write the report of a run, finished or not, and return where it is.

    Only the run folder's files are read. All of their text is taken for untrusted.

    Args:
        folder: of the run.
        file: to write, whole or not at all; default: ``report.html`` in the folder.

    Raises:
        RunFolderError: no run, a malformed journal, or something cannot be read or written.
        ConfigError: ``file`` is not named like a page.
    """
    return write_reports([Path(folder)], Path(folder) / NAME if file is None else Path(file))


def write_reports(folders: Sequence[Path], file: Path) -> Path:
    """Write one page about several runs, compared first, and return where it is.

    Args:
        folders: of the runs, 1 to :data:`MAX_RUNS`.
        file: to write, whole or not at all.

    Raises:
        RunFolderError: as :func:`write_report`.
        ConfigError: ``file`` is not named like a page, or there are too many runs.
    """
    target = Path(file)
    if target.suffix.lower() not in _ENDINGS:
        raise ConfigError(f"{target}: got '{target.name}', expected a name that ends in .html")
    if not 0 < len(folders) <= MAX_RUNS:
        raise ConfigError(f"got {len(folders)} runs, expected 1 to {MAX_RUNS} on a page")
    try:
        room = ROOM // len(folders)
        runs = [facts_of(RunFolder.open(Path(folder)), room) for folder in folders]
        _write(target, render(runs))
    except OSError as error:
        where = error.filename or target
        raise RunFolderError(f"{where}: no report: {error.strerror or error}") from None
    return target


def render(runs: Sequence[Mapping[str, Any]]) -> str:
    """Return the page that shows the facts of runs; every text in them is escaped.

    The page's policy lets a browser run one script, the page's own, known by its hash.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    pages = Environment(
        loader=PackageLoader("nastk.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script, style = _part("report.js"), _part("report.css")
    frame = {"width": WIDTH, "height": HEIGHT, "left": LEFT, "right": WIDTH - RIGHT,
             "top": TOP, "bottom": HEIGHT - BOTTOM}  # fmt: skip
    body = pages.get_template("run.html")
    prefixes = [f"r{i}-" if len(runs) > 1 else "" for i in range(1, len(runs) + 1)]
    bodies = [Markup(body.render(run, p=p, frame=frame))
              for run, p in zip(runs, prefixes, strict=True)]  # fmt: skip
    return pages.get_template("page.html").render(
        runs=runs,
        compared=comparison(runs) if len(runs) > 1 else None,
        bodies=bodies,
        script=script,
        style=style,
        allowed=_hash(script),
    )


def _part(name: str) -> str:
    return (Path(__file__).parent / "templates" / name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    """Return what a content security policy calls the script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _write(path: Path, page: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    with new.open("x", encoding="utf-8") as file:  # "x" follows no link that lies in wait there
        file.write(page)
    new.replace(path)
