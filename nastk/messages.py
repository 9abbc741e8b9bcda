"""State trees between processes: JSON and tensors, in bytes that execute nothing."""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path
from typing import Any

from nastk.state import load_state, save_state

_HEAD = struct.Struct(">Q")
_NAME = "message"


def to_bytes(tree: Any) -> bytes:
    """Return a state tree as bytes: the length of its JSON, the JSON, its safetensors if any."""
    with tempfile.TemporaryDirectory(prefix="nastk-") as folder:
        files = save_state(Path(folder), _NAME, tree)
        parts = [(Path(folder) / file).read_bytes() for file in files]
    return b"".join([_HEAD.pack(len(parts[0])), *parts])


def from_bytes(message: bytes) -> Any:
    """Return the tree that :func:`to_bytes` wrote.

    Raises:
        RunFolderError: malformed.
    """
    (length,) = _HEAD.unpack_from(message)
    end = _HEAD.size + length
    with tempfile.TemporaryDirectory(prefix="nastk-") as folder:
        (Path(folder) / f"{_NAME}.json").write_bytes(message[_HEAD.size : end])
        if len(message) > end:
            (Path(folder) / f"{_NAME}.safetensors").write_bytes(message[end:])
        return load_state(Path(folder), _NAME)
