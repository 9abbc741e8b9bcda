"""Zero-cost scores of all members of a space, kept line by line so that a kill costs little."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nastk.errors import DataError
from nastk.records import canonical_json, digest
from nastk_bench.config import SCORES, ZeroCostConfig
from nastk_bench.protocol import Protocol, workshop
from nastk_bench.table import Table

SHIPPED = Path(__file__).parent / "data" / "zero-cost.json"
MAX_BYTES = 4 * 1024**2


def score_all(protocol: Protocol, path: Path, told: Callable[[int, int], None]) -> None:
    """Append the scores of the members that ``path`` lacks; an unfinished last line is redone.

    Raises:
        DataError: the file holds something else, or scores of another protocol.
    """
    from nastk_bench.zero_cost import ZeroCostEvaluator

    config = ZeroCostConfig()
    shop = workshop(protocol)
    evaluator = ZeroCostEvaluator(config, dataset=shop.dataset)
    identity = digest([protocol.hash, repr(config)])[:12]
    members = shop.space.members()
    found = _read(path, identity)
    whole = path.read_bytes() if path.exists() else b""
    with path.open("wb") as file:
        file.write(whole[: whole.rfind(b"\n") + 1])
        for number, member in enumerate(members):
            told(number, len(members))
            if member.fingerprint not in found:
                scores = evaluator.scores(member, shop.space)
                line = {"identity": identity, "member": member.fingerprint, "scores": scores}
                file.write(canonical_json(line).encode() + b"\n")
                file.flush()
    told(len(members), len(members))


def _read(path: Path, identity: str) -> dict[str, dict[str, float | None]]:
    if not path.exists():
        return {}
    if path.stat().st_size > MAX_BYTES:
        raise DataError(f"{path}: larger than {MAX_BYTES} bytes, no scores of ours")
    whole, _, _ = path.read_bytes().rpartition(b"\n")
    found: dict[str, dict[str, float | None]] = {}
    for text in whole.split(b"\n") if whole else ():
        try:
            line = json.loads(text)
            if line["identity"] != identity:
                raise DataError(f"{path}: scores of another protocol", "give another file")
            found[str(line["member"])] = {name: line["scores"][name] for name in SCORES}
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}: no scores of ours ({type(error).__name__})") from None
    return found


def write_columns(protocol: Protocol, lines: Path, path: Path) -> None:
    """Write the finished scores as one JSON document, a column a score.

    Raises:
        DataError: some members have none yet.
    """
    found = _read(lines, digest([protocol.hash, repr(ZeroCostConfig())])[:12])
    columns: dict[str, list[float | None]] = {
        name: [_short(row[name]) for row in found.values()] for name in SCORES
    }
    document = {"protocol": protocol.hash, "members": list(found), "scores": columns}
    path.write_text(json.dumps(document, separators=(",", ":")) + "\n")


def _short(value: float | None) -> float | None:
    return None if value is None else round(float(value), 5)


def columns_of(table: Table, path: Path = SHIPPED) -> Mapping[str, NDArray[np.float64]]:
    """Return score → ``(M,)`` in the table's order, NaN where a score is not finite.

    Raises:
        DataError: the file cannot be read, is another protocol's, or lacks a member.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{path}: larger than {MAX_BYTES} bytes, no scores of ours")
        document = json.loads(path.read_text())
        if document["protocol"] != table.protocol.hash:
            raise DataError(f"{path}: scores of another protocol than the table's")
        rows = {member: row for row, member in enumerate(document["members"])}
        order = [rows[member] for member in table.members]
        return {
            name: np.array(document["scores"][name], dtype=np.float64)[order] for name in SCORES
        }
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise DataError(
            f"{path}: no scores of all members ({type(error).__name__})",
            "nastk bench zero-cost makes them",
        ) from None
