"""From the journals of a build to a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nastk.errors import RunFolderError
from nastk.records import MetricCard, from_json
from nastk_bench.files import document_of, parse
from nastk_bench.journal import Header, Line, protocol_of, read_lines
from nastk_bench.protocol import MEASURED, Protocol, nano_space
from nastk_bench.table import STATUSES, Table

LEAST_SEEDS = 3
"""Trainings per member that a table must have, unless told otherwise."""


def pack(folder: Path, *, least_seeds: int = LEAST_SEEDS, some: bool = False) -> Table:
    """Return the table of a build: all seeds that every member has.

    Args:
        folder: of the build.
        least_seeds: fewer are refused.
        some: take the members that were trained, though others were not.

    Raises:
        RunFolderError: trainings are missing, or were measured by unlike protocols.
    """
    protocol = protocol_of(folder)
    headers, lines = read_lines(folder)
    found = {(line.member, line.seed): line for line in lines}
    space = nano_space(protocol)
    codes = {a.fingerprint: space.encode(a) for a in space.members()}
    if some:
        codes = {m: c for m, c in codes.items() if (m, least_seeds - 1) in found}
    seeds = 0
    while codes and all((member, seeds) in found for member in codes):
        seeds += 1
    if seeds < least_seeds:
        raise RunFolderError(
            f"{folder}: got {len(lines)} trainings, {seeds} of every member, expected "
            f"{least_seeds} of each of {len(codes)}",
            "nastk bench build goes on",
        )
    rows = [[found[member, seed] for seed in range(seeds)] for member in codes]
    return _table(protocol, _header(headers, protocol, folder), codes, rows, folder)


def _header(headers: Sequence[Header], protocol: Protocol, folder: Path) -> Header:
    if any(h.protocol != protocol.hash for h in headers):
        raise RunFolderError(f"{folder}: a journal is of another protocol than {protocol.hash}")
    first = headers[0]
    for header in headers:
        if header.cards != first.cards or header.versions != first.versions:
            raise RunFolderError(
                f"{folder}: its journals have unlike metric cards or versions",
                "build all of a table with the same software and data",
            )
    return first


def _table(
    protocol: Protocol,
    header: Header,
    codes: Mapping[str, str],
    rows: Sequence[Sequence[Line]],
    folder: Path,
) -> Table:
    width = len(MEASURED)

    def points(read: Any) -> Any:
        return np.array([[[read(p) for p in line.points] for line in row] for row in rows])

    def values(given: Sequence[float | None]) -> list[float]:
        return [np.nan if v is None else v for v in given] or [np.nan] * width

    last = [[line.points[-1] for line in row] for row in rows]
    table = Table(
        protocol=protocol,
        cards={
            split: {name: from_json(MetricCard, card) for name, card in cards.items()}
            for split, cards in header.cards.items()
        },
        versions=header.versions,
        codes=tuple(codes.values()),
        members={member: row for row, member in enumerate(codes)},
        parameters=np.array([row[0].parameters for row in rows]),
        macs=np.array([row[0].macs for row in rows]),
        step_macs=_per_step(rows, "macs", folder),
        step_images=int(_per_step(rows, "images", folder)[0]),
        status=points(lambda p: STATUSES.index(p.status)),
        trained=points(lambda p: p.trained),
        validation=points(lambda p: values(p.validation)),
        test=np.array([[values(p.test) for p in row] for row in last]),
        seconds=points(lambda p: p.seconds),
        measuring=points(lambda p: p.measuring),
        hash="",
    )
    return parse(document_of(table), folder)  # as strictly as if it had been read


def _per_step(rows: Sequence[Sequence[Line]], name: str, folder: Path) -> Any:
    """Return what a step costs each member, which must be the same in all of its trainings."""
    costs = []
    for row in rows:
        points = [p for line in row for p in line.points if p.trained]
        found = {getattr(p, name) / p.trained for p in points}
        if len(found) != 1 or not next(iter(found)).is_integer():
            raise RunFolderError(f"{folder}: '{row[0].codes}': {name} of a step vary: {found}")
        costs.append(int(found.pop()))
    return np.array(costs)
