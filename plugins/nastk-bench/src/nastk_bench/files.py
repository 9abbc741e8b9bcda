"""Tables on disk: pure data, JSON within xz.

Reading one runs nothing, and what does not look as it must is refused.
"""

from __future__ import annotations

import json
import lzma
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from nastk import jsontext
from nastk.errors import ConfigError, DataError, SpaceError
from nastk.records import MetricCard, digest, from_json, to_json
from nastk_bench.protocol import MEASURED, NAME, read_protocol
from nastk_bench.table import STATUSES, Table

SHIPPED = Path(__file__).parent / "data" / f"{NAME}.json.xz"
MAX_PACKED, MAX_PLAIN = 2 * 1024**2, 64 * 1024**2
"""Bytes of a table's file, and of what it unpacks to; larger ones are not ours."""
MAX_MEMBERS, MAX_SEEDS = 100_000, 1_000
KEYS = frozenset(
    (
        *("schema", "kind", "hash", "protocol", "cards", "versions", "codes", "members", "seeds"),
        *("parameters", "macs", "step_macs", "step_images", "status", "trained"),
        *("validation", "test", "seconds", "measuring"),
    )
)
SCHEMA, KIND = 1, "nastk-bench table"


def document_of(table: Table) -> dict[str, Any]:
    """Return the table as JSON data, with its hash."""
    body = {
        "schema": SCHEMA,
        "kind": KIND,
        "protocol": to_json(table.protocol),
        "cards": {
            split: {name: to_json(card) for name, card in cards.items()}
            for split, cards in table.cards.items()
        },
        "versions": dict(table.versions),
        "codes": list(table.codes),
        "members": list(table.members),
        "seeds": table.seeds,
        "step_images": table.step_images,
        **{name: getattr(table, name).tolist() for name in _WHOLE},
        **{name: _blank(getattr(table, name)) for name in _REAL},
    }
    return {**body, "hash": digest(body)[:12]}


def save(table: Table, path: Path) -> str:
    """Write the table and return its hash; equal tables give equal bytes.

    Raises:
        DataError: it is larger than a table may be.
    """
    document = document_of(table)
    packed = lzma.compress(json.dumps(document, separators=(",", ":")).encode(), preset=9)
    if len(packed) > MAX_PACKED:
        raise DataError(f"{path}: got {len(packed)} bytes, expected at most {MAX_PACKED}")
    path.write_bytes(packed)
    return str(document["hash"])


@lru_cache(maxsize=4)
def shipped(path: str = "") -> Table:
    """Return the table of this distribution, or the one at ``path``; read once.

    Raises:
        DataError: absent, or not what a table must be.
    """
    return load(Path(path) if path else SHIPPED)


def load(path: Path) -> Table:
    """Return the table in a file.

    Raises:
        DataError: it cannot be read, is too large, damaged, or not what a table must be.
    """
    try:
        with path.open("rb") as stream:
            packed = stream.read(MAX_PACKED + 1)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read: {error.strerror}", "nastk bench pack makes a table"
        ) from None
    return parse(unpacked(packed, path), path)


def unpacked(packed: bytes, path: Path) -> Any:
    """Return the JSON data of a packed table.

    Raises:
        DataError: too large, not xz, or no JSON.
    """
    if len(packed) > MAX_PACKED:
        _refuse(path, f"got more than {MAX_PACKED} bytes")
    try:
        reader = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=256 * 1024**2)
        plain = reader.decompress(packed, max_length=MAX_PLAIN + 1)
        if len(plain) > MAX_PLAIN or not reader.eof or reader.unused_data:
            _refuse(path, "it unpacks to too much, or is cut off")
        return jsontext.parse(plain)
    except (lzma.LZMAError, ValueError, MemoryError) as error:
        _refuse(path, f"no JSON within xz ({type(error).__name__}: {str(error)[:80]})")


def parse(document: Any, path: Path) -> Table:
    """Return the table that JSON data describe.

    Raises:
        DataError: a key is missing or unknown, a shape, a type or a number is not as it must be,
            or the content is not that of the hash.
    """
    if not isinstance(document, dict) or set(document) != KEYS:
        _refuse(path, "its keys are not those of a table")
    if (document["schema"], document["kind"]) != (SCHEMA, KIND):
        _refuse(path, f"schema {document['schema']!r} of {document['kind']!r}")
    try:
        if digest({k: v for k, v in document.items() if k != "hash"})[:12] != document["hash"]:
            _refuse(path, "its content is not that of its hash")
        return _checked(document, path)
    except (TypeError, ValueError, OverflowError, AttributeError, ConfigError, SpaceError) as error:
        _refuse(path, " ".join(str(error).split())[:200])


_WHOLE = ("parameters", "macs", "step_macs", "status", "trained")
_REAL = ("validation", "test", "seconds", "measuring")


def _checked(document: Mapping[str, Any], path: Path) -> Table:
    protocol = read_protocol(document["protocol"])
    codes, members, seeds = document["codes"], document["members"], document["seeds"]
    if not _texts(codes) or not _texts(members) or len(codes) != len(members):
        _refuse(path, "its members are no two lists of as many texts")
    if not _is_count(seeds, MAX_SEEDS) or not 1 <= len(codes) <= MAX_MEMBERS:
        _refuse(path, "its numbers of seeds or members")
    m, f, k = len(codes), len(protocol.fidelities), len(MEASURED)
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(_WHOLE, (m,))
    shapes |= dict.fromkeys(("status", "trained", "seconds", "measuring"), (m, seeds, f))
    shapes |= {"validation": (m, seeds, f, k), "test": (m, seeds, k)}
    arrays = {name: _array(document[name], shape, name, path) for name, shape in shapes.items()}
    if arrays["status"].max() >= len(STATUSES):
        _refuse(path, "it holds an unknown status")
    if not _is_count(document["step_images"], 1 << 20):
        _refuse(path, "its images of a step")
    return Table(
        protocol=protocol,
        cards=_cards(document["cards"]),
        versions={str(k): str(v) for k, v in document["versions"].items()},
        codes=tuple(codes),
        members={member: row for row, member in enumerate(members)},
        step_images=document["step_images"],
        hash=document["hash"],
        **arrays,
    )


def _array(data: Any, shape: tuple[int, ...], name: str, path: Path) -> NDArray[Any]:
    """Return nested lists as an array; whole numbers >= 0, or real ones with None as NaN."""
    found = np.asarray(data, dtype=object)
    if found.shape != shape:
        _refuse(path, f"'{name}' has shape {found.shape}, expected {shape}")
    kinds = {type(value) for value in found.flat}
    if name in _WHOLE:
        array = found.astype(np.int64) if kinds == {int} else np.full(shape, -1)
        if array.min() < 0:
            _refuse(path, f"'{name}' holds something else than whole numbers >= 0")
        return array
    if not kinds <= {int, float, type(None)}:
        _refuse(path, f"'{name}' holds something else than numbers")
    return found.astype(np.float64)


def _cards(data: Any) -> dict[str, dict[str, MetricCard]]:
    return {
        str(split): {str(name): from_json(MetricCard, card) for name, card in cards.items()}
        for split, cards in data.items()
    }


def _blank(array: NDArray[np.float64]) -> Any:
    """Return nested lists, None for NaN."""
    found = array.astype(object)
    found[np.isnan(array)] = None
    return found.tolist()


def _texts(data: Any) -> bool:
    return (
        isinstance(data, list)
        and all(isinstance(x, str) for x in data)
        and len(set(data)) == len(data)
    )


def _is_count(value: Any, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most


def _refuse(path: Path, why: str) -> NoReturn:
    raise DataError(f"{path}: no table of a benchmark: {why}", "nastk bench pack makes one")
