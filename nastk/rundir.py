"""The folder of a run: journals, generations and the lock that keeps two processes apart.

::

    run.json                 what was asked for, and with which versions; never changes
    events.jsonl             every event, in order
    candidates.jsonl         every candidate, in order
    generations/00008/       a committed state: <part>.json, <part>.safetensors, manifest.json
    sheets/00008.png         pictures of that generation
    best/                    the winner: architecture, weights, metrics, pictures, drawing
    sessions.jsonl           when which process worked here; no part of the result
    run.lock, holder.json    held while a process works here
    under-way.json, fatal.log  there when a process died at work: at what, and where

A generation is committed by one rename. Its manifest holds the checksum of each of its files and
the lengths of the journals at that moment; what a journal holds beyond is work that a killed
process did not commit, and is cut off when the run is resumed. Reading changes nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

from attrs import frozen

from nastk import disk, holding, jsontext
from nastk.errors import DiskError, RunFolderError
from nastk.records import SCHEMA
from nastk.state import load_state, read_json, save_state

if TYPE_CHECKING:
    from filelock import FileLock

Journal = Literal["events", "candidates", "sessions"]

COMMITTED: tuple[Journal, ...] = ("events", "candidates")
"""The journals whose length is part of a generation."""

RUN_DOCUMENT, HOLDER = "run.json", "holder.json"
MAX_DOCUMENT_BYTES = 4 * 2**20
MAX_LINE_BYTES = 16 * 2**20
_NUMBER = re.compile(r"\d{5,12}")
_PART = re.compile(r"[a-z][a-z0-9-]{0,40}")
_OWN = (
    RUN_DOCUMENT, "events.jsonl", "candidates.jsonl", "sessions.jsonl", "generations", "sheets",
    "best", "run.lock", HOLDER, "under-way.json", "fatal.log",
)  # fmt: skip
_BEFORE_A_RUN = {"run.lock", HOLDER, f"{HOLDER}.new", f"{RUN_DOCUMENT}.new"}


@frozen
class Generation:
    """A verified generation, read back.

    Attributes:
        number: engine steps done when it was committed.
        states: part → state tree.
        lengths: journal → bytes that belong to it.
        warnings: one line per newer generation that was passed over because it is damaged.
    """

    number: int
    states: Mapping[str, Any]
    lengths: Mapping[str, int]
    warnings: tuple[str, ...] = ()


class RunFolder:
    """One run on disk. Made by :meth:`create` (held at once) or :meth:`open` (only read).

    Attributes:
        path: the folder.
        document: the content of ``run.json``.
    """

    def __init__(self, path: Path, document: Mapping[str, Any]) -> None:
        self.path = path
        self.document = document
        self._lock: FileLock | None = None
        self._heart: holding.Heart | None = None
        self._files: dict[str, IO[bytes]] = {}

    # -- life ----------------------------------------------------------------------------------

    @classmethod
    def create(cls, path: Path, document: Mapping[str, Any]) -> RunFolder:
        """Make the folder of a new run and hold it.

        Raises:
            RunFolderError: the folder holds a run or anything else, or cannot be written.
        """
        check_free(path)
        folder = cls(path, {"schema": SCHEMA, "kind": "run", **document})
        disk.make(path)
        folder.hold()
        check_free(path)
        write_json(path / RUN_DOCUMENT, folder.document)
        return folder

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Return an existing run for reading; nothing is changed, nothing executed.

        Raises:
            RunFolderError: no run, malformed, or parts of it are links that lead elsewhere.
        """
        if not (path / RUN_DOCUMENT).is_file():
            what = "no folder" if not path.is_dir() else f"a folder without '{RUN_DOCUMENT}'"
            raise RunFolderError(f"{path}: got {what}, expected the folder of a run")
        for name in _OWN:
            if (path / name).is_symlink():
                raise RunFolderError(f"{path}: '{name}' is a link, expected a file or folder")
        return cls(path, read_json(path / RUN_DOCUMENT, "run", MAX_DOCUMENT_BYTES))

    def hold(self) -> None:
        """Take the lock, so that no other process works here.

        Raises:
            RunFolderError: somebody holds it; the message names process and machine.
        """
        from filelock import FileLock, Timeout

        lock = FileLock(self.path / "run.lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise self._in_use(holding.locked_by(self.path / HOLDER)) from None
        except (OSError, NotImplementedError) as error:
            raise RunFolderError(f"{self.path}: cannot be locked: {error}") from None
        self._lock = lock
        try:
            if other := holding.living(self.path / HOLDER):
                raise self._in_use(other)
            document = {"schema": SCHEMA, "kind": "holder", **holding.myself()}
            write_json(self.path / HOLDER, document)
        except RunFolderError:
            lock.release()
            self._lock = None
            raise
        self._heart = holding.Heart(self.path / HOLDER)

    def release(self) -> None:
        """Close the journals and give the lock back; harmless when not held."""
        for file in self._files.values():
            file.close()
        self._files = {}
        if self._heart is not None:
            self._heart.stop()
            self._heart = None
        if self._lock is not None:
            with suppress(DiskError):  # whoever comes next sees that this process holds it no more
                disk.remove(self.path / HOLDER)
            self._lock.release()
            self._lock = None

    def __enter__(self) -> RunFolder:
        """Hold the folder for a ``with`` block."""
        if self._lock is None:
            self.hold()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    # -- journals ------------------------------------------------------------------------------

    def append(self, journal: Journal, record: Mapping[str, Any]) -> None:
        """Add one line to a journal; it survives a kill of this process, not yet a power cut."""
        line = json.dumps(record, allow_nan=False).encode() + b"\n"
        disk.append(self.path / f"{journal}.jsonl", self._file(journal), line)

    def read(self, journal: Journal, start: int = 0) -> Iterator[dict[str, Any]]:
        """Yield the records of a journal from byte ``start``; a torn last line is left out.

        Raises:
            RunFolderError: a line is no JSON object.
        """
        path = self.path / f"{journal}.jsonl"
        if not path.is_file():
            return
        with path.open("rb") as file:
            file.seek(start)
            for number, line in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES), b""), 1):
                if not line.endswith(b"\n") and len(line) < MAX_LINE_BYTES:
                    return
                yield _record(line, f"{path}: line {number}")

    def _file(self, journal: Journal) -> IO[bytes]:
        if journal not in self._files:
            path = self.path / f"{journal}.jsonl"
            with disk.telling(path):
                _cut_torn_line(path)
                self._files[journal] = path.open("ab", buffering=0)
        return self._files[journal]

    # -- generations ---------------------------------------------------------------------------

    def commit(self, number: int, states: Mapping[str, Any], keep: int = 2) -> None:
        """Write all ``states`` as generation ``number``, whole or not at all.

        Args:
            number: engine steps done; larger than that of every generation before.
            states: part (lower case) → state tree.
            keep: newest generations to leave on disk, at least 2.
        """
        final = self.path / "generations" / f"{number:05d}"
        if final.exists():  # stopped again at the very step that was resumed
            return
        new = final.with_name(f".new-{number:05d}")
        disk.remove(new)
        disk.make(new)
        names = [name for part, tree in states.items() for name in save_state(new, part, tree)]
        lengths = {journal: self._file(journal).seek(0, os.SEEK_END) for journal in COMMITTED}
        manifest = {
            "schema": SCHEMA, "kind": "generation", "number": number, "parts": list(states),
            "files": {name: checksum(new / name) for name in names}, "journals": lengths,
        }  # fmt: skip
        _write_text(new / "manifest.json", manifest)
        disk.sync(*(self.path / f"{name}.jsonl" for name in COMMITTED), *sorted(new.iterdir()))
        disk.sync(new)
        disk.rename(new, final)
        disk.sync(final.parent)
        for old in self.generations()[: -max(keep, 2)]:
            disk.remove(self.path / "generations" / f"{old:05d}")

    def generations(self) -> list[int]:
        """Return the numbers of the generations on disk, ascending."""
        folder = self.path / "generations"
        if not folder.is_dir():
            return []
        return sorted(int(p.name) for p in folder.iterdir() if _NUMBER.fullmatch(p.name))

    def latest(self) -> Generation | None:
        """Return the newest generation that is whole; None before the first.

        Raises:
            RunFolderError: there are generations, and every one is damaged.
        """
        damaged: list[str] = []
        for number in reversed(self.generations()):
            try:
                found = self._read_generation(number)
            except RunFolderError as error:
                damaged.append(f"generation {number} is damaged ({error.message})")
                continue
            warnings = tuple(f"{line}; continued from generation {number}" for line in damaged)
            return Generation(number, found.states, found.lengths, warnings)
        if damaged:
            raise RunFolderError(f"{self.path}: no generation is whole: {damaged[0]}")
        return None

    def generation(self, number: int) -> Generation:
        """Return one generation that is on disk.

        Raises:
            RunFolderError: it is missing or damaged.
        """
        return self._read_generation(number)

    def rewind(self, generation: Generation | None) -> None:
        """Make the folder what it was when ``generation`` was committed; None: before the first.

        Cuts the journals and removes later generations, sheets and unfinished writes.
        """
        number = -1 if generation is None else generation.number
        lengths = {} if generation is None else generation.lengths
        for journal in COMMITTED:
            if (self.path / f"{journal}.jsonl").exists():
                disk.truncate(self.path / f"{journal}.jsonl", lengths.get(journal, 0))
        for later in (n for n in reversed(self.generations()) if n > number):
            disk.remove(self.path / "generations" / f"{later:05d}")
        for rest in [*self.path.glob("generations/.new-*"), *self.path.glob(".best.new")]:
            disk.remove(rest)
        for sheet in self.path.glob("sheets/*"):
            if not _NUMBER.fullmatch(sheet.stem) or int(sheet.stem) > number:
                disk.remove(sheet)

    def replace_best(self, new: Path) -> None:
        """Put the finished folder ``new`` (beside it) in the place of ``best``."""
        disk.sync(*sorted(new.iterdir()))
        disk.remove(self.path / "best")
        disk.rename(new, self.path / "best")
        disk.sync(self.path)

    def _read_generation(self, number: int) -> Generation:
        folder = self.path / "generations" / f"{number:05d}"
        manifest = read_json(folder / "manifest.json", "generation", MAX_DOCUMENT_BYTES)
        try:
            files, parts = dict(manifest["files"]), list(manifest["parts"])
            lengths: dict[str, int] = {
                journal: int(manifest["journals"][journal]) for journal in COMMITTED
            }
            if manifest["number"] != number or not all(map(_PART.fullmatch, parts)):
                raise ValueError("number or parts do not fit")
        except (KeyError, TypeError, ValueError) as error:
            raise RunFolderError(f"{folder}: malformed manifest: {error}") from None
        present = {p.name for p in folder.iterdir() if p.is_file() and not p.is_symlink()}
        if present - {"manifest.json"} != set(files):
            raise RunFolderError(f"{folder}: its files are not those of its manifest")
        for name, expected in files.items():
            if checksum(folder / name) != expected:
                raise RunFolderError(f"{folder / name}: its checksum is not that of the manifest")
        self._check_lengths(lengths)
        return Generation(number, {part: load_state(folder, part) for part in parts}, lengths)

    def _check_lengths(self, lengths: Mapping[str, int]) -> None:
        for journal, length in lengths.items():
            path = self.path / f"{journal}.jsonl"
            size = path.stat().st_size if path.is_file() else 0
            if not 0 <= length <= size:
                raise RunFolderError(f"{path}: got {size} bytes, expected at least {length}")
            if length and _byte_before(path, length) != b"\n":
                raise RunFolderError(f"{path}: no line ends at byte {length}")

    def _in_use(self, who: str) -> RunFolderError:
        return RunFolderError(f"{self.path}: in use by {who}", "wait for it, or stop it first")


def check_free(path: Path) -> None:
    """Check that a new run may be made at ``path``.

    Raises:
        RunFolderError: it holds a run or anything else.
    """
    if (path / RUN_DOCUMENT).exists():
        if (path / "best").is_dir():
            raise RunFolderError(
                f"{path}: already holds a run, which is finished",
                f"look at it with: nastk show {path}, or choose another folder with --out",
            )
        raise RunFolderError(
            f"{path}: already holds a run", f"continue it with: nastk resume {path}"
        )
    if path.exists() and not path.is_dir():
        raise RunFolderError(f"{path}: got a file, expected a folder")
    if path.is_dir() and {p.name for p in path.iterdir()} - _BEFORE_A_RUN:
        raise RunFolderError(f"{path}: is not empty", "choose another folder with --out")


def write_json(path: Path, document: Mapping[str, Any], *, synced: bool = True) -> None:
    """Write a JSON document, whole or not at all; ``synced``: also if the power fails."""
    new = path.with_name(f"{path.name}.new")
    _write_text(new, document)
    if synced:
        disk.sync(new)
    disk.rename(new, path)


def _write_text(path: Path, document: Mapping[str, Any]) -> None:
    disk.write(path, (json.dumps(document, indent=1, allow_nan=False) + "\n").encode())


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file's content in hex.

    Raises:
        RunFolderError: it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(2**20):
                digest.update(chunk)
    except OSError as error:
        raise RunFolderError(f"{path}: cannot be read: {error.strerror}") from None
    return digest.hexdigest()


def _cut_torn_line(path: Path) -> None:
    """Cut off a last line that a kill left without its end; lines are short."""
    size = path.stat().st_size if path.exists() else 0
    if size and _byte_before(path, size) != b"\n":
        with path.open("rb") as file:
            start = max(0, size - MAX_LINE_BYTES)
            file.seek(start)
            os.truncate(path, start + file.read().rfind(b"\n") + 1)


def _byte_before(path: Path, position: int) -> bytes:
    with path.open("rb") as file:
        file.seek(position - 1)
        return file.read(1)


def _record(line: bytes, where: str) -> dict[str, Any]:
    try:
        record = jsontext.parse(line)
    except ValueError:
        record = None
    if isinstance(record, dict):
        return record
    raise RunFolderError(f"{where}: expected a JSON object of at most {MAX_LINE_BYTES} bytes")
