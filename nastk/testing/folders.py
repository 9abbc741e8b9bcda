"""Run folders held against each other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nastk.rundir import checksum


def result_files(folder: Path) -> dict[str, Any]:
    """Return everything of a run folder that must be bitwise equal in two equal runs.

    That is: events and candidates without the key ``time``, and the checksums of the files in
    ``best/`` and ``sheets/``. A run that was killed and resumed must give the same as one that
    was not.
    """
    found: dict[str, Any] = {}
    for name in ("events", "candidates"):
        path = folder / f"{name}.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        found[name] = [{k: v for k, v in json.loads(x).items() if k != "time"} for x in lines]
    for file in sorted([*folder.glob("best/*"), *folder.glob("sheets/*")]):
        found[str(file.relative_to(folder))] = checksum(file)
    return found


def content(folder: Path) -> dict[str, str]:
    """Return the checksum of every file in ``folder``, to show that nothing was changed."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): checksum(p) for p in files}
