"""A comparison as one zip of JSON: everything that its tables were computed from, and a hash."""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from nastk import jsontext
from nastk.comparing.cells import Cell
from nastk.comparing.planning import Comparison, Plan
from nastk.comparing.store import MAX_CELL, MAX_PLAN, cell_from, plan_from
from nastk.errors import RunFolderError
from nastk.records import SCHEMA, canonical_json, document

MANIFEST = "manifest.json"
PLAN = "plan.json"
VERDICTS = "verdicts.json"
MAX_FILES = 100_000
MAX_BYTES = 512 * 2**20
"""Unpacked, all files of a bundle together."""

_NAME = re.compile(r"(manifest|plan|verdicts)\.json|cells/[\w.-]{1,80}/[\w.@-]{1,160}\.json")
_DATE = (1980, 1, 1, 0, 0, 0)


@frozen
class Bundle:
    """A bundle, read back and checked.

    Attributes:
        plan: of the comparison.
        cells: table → cell's file name → cell.
        verdicts: as they were computed then, plain JSON.
        hash: of all files.
    """

    plan: Plan
    cells: Mapping[str, Mapping[str, Cell]]
    verdicts: Mapping[str, Any]
    hash: str

    def of(self, table: Comparison) -> list[Cell]:
        """Return the searches of a table, and the trainings of their winners."""
        return [
            cell for name, cell in self.cells.get(table.name, {}).items() if "-proxy" not in name
        ]


def write_bundle(
    path: Path, plan: Plan, cells: Mapping[str, Mapping[str, Cell]], verdicts: Mapping[str, Any]
) -> str:
    """Write a bundle, whole or not at all; equal content gives equal bytes. Returns its hash."""
    texts = {PLAN: canonical_json(document("comparison", plan))}
    texts[VERDICTS] = canonical_json({"schema": SCHEMA, "kind": "verdicts", **verdicts})
    for table, found in cells.items():
        for name, cell in found.items():
            texts[f"cells/{table}/{name}.json"] = canonical_json(document("cell", cell))
    sums = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}
    whole = _hash(sums)
    manifest = {"schema": SCHEMA, "kind": "bundle", "files": sums, "hash": whole}
    texts[MANIFEST] = canonical_json(manifest)
    new = path.with_name(f".{path.name}.new")
    with zipfile.ZipFile(new, "w", zipfile.ZIP_DEFLATED) as file:
        for name in sorted(texts):
            info = zipfile.ZipInfo(name, _DATE)
            info.compress_type = zipfile.ZIP_DEFLATED
            file.writestr(info, texts[name])
    new.replace(path)
    return whole


def read_bundle(path: Path) -> Bundle:
    """Return what a bundle holds; nothing is unpacked to disk, nothing in it is executed.

    Raises:
        RunFolderError: no bundle, malformed, too large, or changed since it was written.
    """
    try:
        with zipfile.ZipFile(path) as file:
            texts = _texts(file, path)
    except RunFolderError:
        raise
    except Exception as error:  # whatever a forged archive makes the library raise
        what = " ".join(str(error).split())[:200] or type(error).__name__
        raise RunFolderError(f"{path}: no bundle of a comparison: {what}") from None
    manifest = _json(texts, MANIFEST, path)
    sums = {n: hashlib.sha256(t).hexdigest() for n, t in texts.items() if n != MANIFEST}
    if manifest.get("files") != sums or manifest.get("hash") != _hash(sums):
        raise RunFolderError(f"{path}: its files are not those of its manifest")
    plan = plan_from(_json(texts, PLAN, path), f"{path}: {PLAN}")
    cells: dict[str, dict[str, Cell]] = {}
    for name in sums:
        if name.startswith("cells/"):
            _, table, file_name = name.split("/")
            cell = cell_from(_json(texts, name, path), f"{path}: {name}")
            cells.setdefault(table, {})[file_name.removesuffix(".json")] = cell
    return Bundle(plan, cells, _json(texts, VERDICTS, path), str(manifest["hash"]))


def _texts(file: zipfile.ZipFile, path: Path) -> dict[str, bytes]:
    entries = file.infolist()
    names = [entry.filename for entry in entries]
    if len(names) > MAX_FILES or len(set(names)) < len(names):
        raise RunFolderError(f"{path}: got {len(names)} files, or one of them twice")
    if odd := next((name for name in names if not _NAME.fullmatch(name) or ".." in name), ""):
        raise RunFolderError(f"{path}: holds '{odd[:60]}', which no bundle holds")
    large = [e.filename for e in entries if e.file_size > max(MAX_PLAN, MAX_CELL)]
    if large or sum(entry.file_size for entry in entries) > MAX_BYTES:
        raise RunFolderError(f"{path}: is larger than a bundle may be when unpacked")
    return {entry.filename: file.read(entry) for entry in entries}


def _json(texts: Mapping[str, bytes], name: str, path: Path) -> dict[str, Any]:
    try:
        found = jsontext.parse(texts[name])
    except (KeyError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise RunFolderError(f"{path}: {name} is missing or no JSON object")
    return found


def _hash(sums: Mapping[str, str]) -> str:
    return hashlib.sha256(canonical_json(dict(sums)).encode()).hexdigest()
