"""Seeded damage to files: of their bytes, of the JSON in them, and of JSON behind a checksum."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

TOKENS = (
    b"\x00", b"\xff\xfe", b"{", b"}" * 9, b"[" * 3000, b'"', b"null", b"NaN", b"1e999", b"-1", b"$",
    b"9" * 5000, b"\\ud800", b"\n", b"../", b"__reduce__", b"\x80\x04", b"PK\x03\x04", b"\x7fELF",
)  # fmt: skip
ODD: tuple[Callable[[], Any], ...] = (
    lambda: None, lambda: True, lambda: 0, lambda: -1, lambda: 1.5, lambda: 10**9, lambda: 2**63,
    lambda: 10**400, lambda: "", lambda: "x", lambda: "\x00\x1b[31m\ud800", lambda: "../../etc",
    lambda: "a" * 70_000, list, dict, lambda: [None], lambda: {"": {}}, lambda: {"$": "tensor"},
    lambda: {"$": "array", "key": "x", "dtype": "O", "shape": [-1]}, lambda: 1e308,
    lambda: nested(190), lambda: nested(900), lambda: nested(5000, 0),
    lambda: {"$": "scalar", "dtype": "<f8", "bytes": "zz"}, lambda: "0 0 0", lambda: "1e12",
)  # fmt: skip


def nested(depth: int, kind: int = 1) -> Any:
    """Return lists in lists, or dicts in dicts."""
    tree: Any = 1
    for _ in range(depth):
        tree = {"a": tree} if kind else [tree]
    return tree


def mangled(data: bytes, rng: random.Random) -> bytes:
    """Return bytes damaged in one to four places: flipped, cut, doubled, zeroed, sprinkled."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        data = rng.choice(_BYTES)(data, rng)
    return data


def _flip(data: bytes, rng: random.Random) -> bytes:
    if not data:
        return data
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]


def _head(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(min(len(data), 64) or 1)
    return data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _zero(data: bytes, rng: random.Random) -> bytes:
    start, end = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:start] + bytes(end - start) + data[end:]


def _double(data: bytes, rng: random.Random) -> bytes:
    start, end = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:end] + data[start:]


def _sprinkle(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice(TOKENS) + data[at:]


_BYTES = (_flip, _flip, _head, _cut, _zero, _double, _sprinkle)


def twisted(document: Any, rng: random.Random) -> Any:
    """Return JSON data in which one or two values, keys or lists are others; the given is spent."""
    for _ in range(rng.choice((1, 1, 2))):
        place = _place(document, rng)
        if place is None:
            return rng.choice(ODD)()
        holder, key = place
        rng.choice((_replace, _replace, _replace, _drop, _rename, _swell))(holder, key, rng)
    return document


def _place(document: Any, rng: random.Random) -> tuple[Any, Any] | None:
    """Return a container and a key in it, drawn by walking down from the root."""
    found, node = None, document
    while isinstance(node, (dict, list)) and node:
        key = rng.choice(list(node)) if isinstance(node, dict) else rng.randrange(len(node))
        found, node = (node, key), node[key]
        if rng.random() < 0.25:
            break
    return found


def _replace(holder: Any, key: Any, rng: random.Random) -> None:
    holder[key] = rng.choice(ODD)()


def _drop(holder: Any, key: Any, rng: random.Random) -> None:
    del holder[key]


def _rename(holder: Any, key: Any, rng: random.Random) -> None:
    if isinstance(holder, dict):
        holder[rng.choice(("", "x", "$", "schema", f"{key}s"))] = holder.pop(key)


def _swell(holder: Any, key: Any, rng: random.Random) -> None:
    value = holder[key]
    if isinstance(value, list):
        holder[key] = value * rng.choice((2, 50))
    elif type(value) in (int, float):
        holder[key] = value * rng.choice((-1, 2, 10**6, 10**15, 0.5))


def spoiled(data: bytes, rng: random.Random) -> bytes:
    """Return a file of JSON, or of JSON lines, or of anything, in which something is wrong."""
    if rng.random() < 0.35:
        return mangled(data, rng)
    try:
        lines = data.split(b"\n")
        whole = len(lines) < 3 or lines[0] in (b"{", b"[")
        at = 0 if whole else rng.randrange(len(lines) - 1)
        document = twisted(json.loads(data if whole else lines[at]), rng)
        text = json.dumps(document).encode()
    except (ValueError, RecursionError):  # no JSON, or too deep to be written: all the better
        return mangled(data, rng)
    return text if whole else b"\n".join([*lines[:at], text, *lines[at + 1 :]])


def spoiled_safetensors(data: bytes, rng: random.Random) -> bytes:
    """Return a safetensors file whose header, the document within it, or whose bytes are wrong."""
    size = int.from_bytes(data[:8], "little")
    if rng.random() < 0.4 or size > len(data):
        return mangled(data, rng)
    header = json.loads(data[8 : 8 + size])
    note = header.get("__metadata__", {}).get("nastk")
    if note and rng.random() < 0.7:
        header["__metadata__"]["nastk"] = spoiled(note.encode(), rng).decode("utf-8", "replace")
    else:
        header = twisted(header, rng)
    try:
        text = json.dumps(header).encode()
    except (ValueError, RecursionError):
        return mangled(data, rng)
    return len(text).to_bytes(8, "little") + text + data[8 + size :]
