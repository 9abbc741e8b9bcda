"""What a build has done so far: append-only files of one line a training, one file a worker.

A line is JSON. A line that a killed worker left unfinished is dropped, and the training is done
again. Nothing here is code; what does not look as expected is refused.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import field, frozen

from nastk import jsontext
from nastk.errors import RunFolderError
from nastk.records import canonical_json, from_json, to_json
from nastk_bench.protocol import Protocol, read_protocol

MAX_BYTES = 64 * 1024**2
"""A journal larger than this is not ours."""

PROTOCOL = "protocol.json"
PATTERN = "journal-*.jsonl"


@frozen
class Point:
    """What was found at one fidelity.

    Attributes:
        steps: generator updates of the fidelity.
        status: ``ok`` or why the training had failed by then.
        validation: metrics in the order of :data:`nastk_bench.protocol.MEASURED`; None: not
            measured.
        test: likewise on the test split, at the last fidelity only.
        trained: generator updates that were made, less than ``steps`` where it failed.
        images: real images shown.
        macs: multiply-accumulates of the training.
        seconds: CPU seconds of one thread, of training alone.
        measuring: CPU seconds of one thread, of one measurement.
    """

    steps: int
    status: str
    validation: tuple[float | None, ...] = ()
    test: tuple[float | None, ...] = ()
    trained: int = 0
    images: int = 0
    macs: int = 0
    seconds: float = 0.0
    measuring: float = 0.0


@frozen
class Line:
    """One training of one member.

    Attributes:
        member: fingerprint.
        codes: of the member.
        seed: of the training.
        points: one per fidelity, costs from the start of the training.
        parameters: of the generator.
        macs: of one of its images.
        reason: one line of why it failed; empty.
    """

    member: str
    codes: str
    seed: int
    points: tuple[Point, ...]
    parameters: int = 0
    macs: int = 0
    reason: str = ""


@frozen
class Header:
    """The first line of a journal: what the numbers below it depend on.

    Attributes:
        protocol: hash.
        versions: library → version.
        cards: split → metric → card, as JSON.
    """

    protocol: str
    versions: Mapping[str, str] = field(factory=dict)
    cards: Mapping[str, Any] = field(factory=dict)


class Journal:
    """Appends to one file; every line is on the disk before the next begins.

    Args:
        path: made if absent; an unfinished last line is cut off.
        header: written first into a new file.
    """

    def __init__(self, path: Path, header: Header) -> None:
        _mend(path)
        self._file = path.open("ab")
        if not self._file.tell():
            self._write({"header": to_json(header)})

    def append(self, line: Line) -> None:
        """Write one line."""
        self._write({"line": to_json(line)})

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, document: Mapping[str, Any]) -> None:
        self._file.write(canonical_json(document).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())


def _mend(path: Path) -> None:
    if path.exists():
        whole = path.read_bytes()
        os.truncate(path, whole.rfind(b"\n") + 1)


def open_folder(folder: Path, protocol: Protocol) -> None:
    """Make ``folder`` a place for builds of ``protocol``, or check that it is one.

    Raises:
        RunFolderError: it holds a build of another protocol.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / PROTOCOL
    if not path.exists():
        path.write_text(json.dumps(to_json(protocol), indent=1) + "\n")
    found = protocol_of(folder)
    if found.hash != protocol.hash:
        raise RunFolderError(
            f"{folder}: holds a build of protocol {found.hash}, expected {protocol.hash}",
            "build into another folder",
        )


def protocol_of(folder: Path) -> Protocol:
    """Return the protocol of a build folder.

    Raises:
        RunFolderError: there is none, or it cannot be read.
    """
    path = folder / PROTOCOL
    try:
        if path.stat().st_size > MAX_BYTES:
            raise RunFolderError(f"{path}: larger than {MAX_BYTES} bytes")
        return read_protocol(jsontext.parse(path.read_bytes()))
    except (OSError, ValueError) as error:
        raise RunFolderError(
            f"{folder}: no build of a benchmark ({type(error).__name__})",
            "nastk bench build --out FOLDER makes one",
        ) from None


def read_lines(folder: Path) -> tuple[list[Header], list[Line]]:
    """Return the headers and the finished lines of all journals, each training once.

    Raises:
        RunFolderError: a file is too large, or a whole line of it is not what it should be.
    """
    headers: list[Header] = []
    lines: dict[tuple[str, int], Line] = {}
    for path in sorted(folder.glob(PATTERN)):
        for record in _records(path):
            if isinstance(record, Header):
                headers.append(record)
            else:
                lines.setdefault((record.member, record.seed), record)
    return headers, list(lines.values())


def _records(path: Path) -> Iterator[Header | Line]:
    if path.stat().st_size > MAX_BYTES:
        raise RunFolderError(f"{path}: larger than {MAX_BYTES} bytes, no journal of ours")
    whole, _, _ = path.read_bytes().rpartition(b"\n")  # a torn last line is dropped
    for number, text in enumerate(whole.split(b"\n") if whole else (), 1):
        try:
            document = jsontext.parse(text)
            kind, body = next(iter(document.items()))
            yield from_json({"header": Header, "line": Line}[kind], body)
        except Exception as error:
            raise RunFolderError(
                f"{path}: line {number} is no line of a build ({type(error).__name__})"
            ) from None


def missing(lines: Sequence[Line], members: Sequence[str], seeds: int) -> list[tuple[str, int]]:
    """Return the trainings that are still to be done, seed by seed."""
    done = {(line.member, line.seed) for line in lines}
    wanted = [(member, seed) for seed in range(seeds) for member in members]
    return [task for task in wanted if task not in done]
