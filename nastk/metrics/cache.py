"""Trained extractors on disk: safetensors and JSON with a checksum, never trusted unread.

An entry that is missing, damaged, or half written counts as absent: its maker makes it again. A
cache folder that cannot be written costs time, not the run.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from attrs import field, frozen
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from nastk import jsontext
from nastk.records import SCHEMA, canonical_json

MAX_BYTES = 64 * 1024**2
"""An entry larger than this is not ours."""

logger = logging.getLogger(__name__)


def _sorted(facts: Mapping[str, Any]) -> dict[str, Any]:
    return dict(sorted(facts.items()))


@frozen(eq=False)
class Entry:
    """A trained extractor.

    Attributes:
        tensors: name → weights, on the CPU.
        facts: JSON values for the metric cards, sorted by name: a card is written alike whether
            the extractor was trained now or read.
    """

    tensors: Mapping[str, torch.Tensor]
    facts: Mapping[str, Any] = field(converter=_sorted)


def folder() -> Path:
    """Return where extractors are kept: ``$NASTK_CACHE``, else ``~/.cache/nastk``."""
    root = os.environ.get("NASTK_CACHE")
    return (Path(root) if root else Path.home() / ".cache" / "nastk") / "extractors"


def load(key: str) -> Entry | None:
    """Return the entry of ``key``, None when it is absent or damaged."""
    try:
        document = jsontext.parse(_read(folder() / f"{key}.json"))
        data = _read(folder() / f"{key}.safetensors")
        if document["schema"] != SCHEMA or document["sha256"] != _sha(data):
            raise ValueError("checksum or schema differ")
        return Entry(load_tensors(data), document["facts"])
    except FileNotFoundError:
        return None
    except Exception as error:  # whatever a damaged file can raise, the answer is the same
        logger.warning("damaged extractor in the cache, made anew: %s: %s", key, error)
        return None


def save(key: str, entry: Entry) -> None:
    """Write ``entry`` under ``key``, weights first, each file by atomic rename."""
    tensors = {name: t.detach().cpu().contiguous() for name, t in entry.tensors.items()}
    data = save_tensors(tensors)
    document = {"schema": SCHEMA, "sha256": _sha(data), "facts": dict(entry.facts)}
    try:
        folder().mkdir(parents=True, exist_ok=True)
        _write(folder() / f"{key}.safetensors", data)
        _write(folder() / f"{key}.json", canonical_json(document).encode())
    except OSError as error:
        logger.warning("extractor not kept in the cache: %s", error)


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _read(path: Path) -> bytes:
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path.name} is larger than {MAX_BYTES} bytes")
    return path.read_bytes()


def _write(path: Path, data: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
