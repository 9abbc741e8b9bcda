"""The table: what every member came to, with several seeds, at several fidelities.

Pure data, JSON within xz: reading it runs nothing, and what does not look as it must is refused.
Needs neither torch nor a folder; a query is a few lookups.
"""

from __future__ import annotations

import json
import lzma
import math
from bisect import bisect_left
from collections.abc import Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from nastk.errors import ConfigError, DataError, SpaceError
from nastk.records import Architecture, Choices, Cost, MetricCard, Status, digest, from_json
from nastk_bench.protocol import MEASURED, NAME, Protocol, read_protocol

if TYPE_CHECKING:
    from nastk_bench.space import NanoSpace

SHIPPED = Path(__file__).parent / "data" / f"{NAME}.json.xz"
MAX_PACKED, MAX_PLAIN = 2 * 1024**2, 64 * 1024**2
"""Bytes of a table's file, and of what it unpacks to; larger ones are not ours."""
MAX_MEMBERS, MAX_SEEDS = 100_000, 1_000
STATUSES: tuple[Status, ...] = (
    "ok",
    "diverged",
    "collapsed",
    "out-of-memory",
    "timed-out",
    "crashed",
)
KEYS = frozenset(
    "schema kind protocol cards versions codes members parameters macs step_macs step_images "
    "seeds status trained validation test seconds measuring hash".split()
)
SCHEMA, KIND = 1, "nastk-bench table"


@frozen
class Answer:
    """What the table says of one training at one fidelity.

    Attributes:
        status: ``ok``, or why the training had failed by then.
        metrics: name → value on the split asked for, None: not measured; empty where it failed.
        cost: of the training up to there; seconds are CPU seconds of one thread.
    """

    status: Status
    metrics: Mapping[str, float | None]
    cost: Cost


@frozen(eq=False)
class Table:
    """Outcomes of M members with S seeds at F fidelities, K metrics each.

    Attributes:
        protocol: how they came about.
        cards: split → metric → card.
        versions: library → version, of the build.
        codes: integer codes of the M members.
        members: fingerprint → row.
        parameters: ``(M,)`` of the generator.
        macs: ``(M,)`` of one generated image.
        step_macs: ``(M,)`` of one training step.
        step_images: real images of one training step.
        status: ``(M, S, F)`` indices into :data:`STATUSES`.
        trained: ``(M, S, F)`` generator updates made, fewer than the fidelity where it failed.
        validation: ``(M, S, F, K)``, NaN where not measured.
        test: ``(M, S, K)`` at the last fidelity.
        seconds: ``(M, S, F)`` CPU seconds of training from its start.
        measuring: ``(M, S, F)`` CPU seconds of one measurement.
        hash: of the content, 12 hex digits.
    """

    protocol: Protocol
    cards: Mapping[str, Mapping[str, MetricCard]]
    versions: Mapping[str, str]
    codes: tuple[str, ...]
    members: Mapping[str, int]
    parameters: NDArray[np.int64]
    macs: NDArray[np.int64]
    step_macs: NDArray[np.int64]
    step_images: int
    status: NDArray[np.int64]
    trained: NDArray[np.int64]
    validation: NDArray[np.float64]
    test: NDArray[np.float64]
    seconds: NDArray[np.float64]
    measuring: NDArray[np.float64]
    hash: str

    # -- questions -----------------------------------------------------------------------------

    @property
    def seeds(self) -> int:
        """Number of trainings of every member."""
        return int(self.status.shape[1])

    @cached_property
    def space(self) -> NanoSpace:
        """The whole space of the table; imports torch."""
        from nastk_bench.protocol import nano_space

        return nano_space(self.protocol)

    def row(self, member: Architecture | Choices) -> int:
        """Return the row of a member, given as it is or as any genotype of the same network.

        Raises:
            SpaceError: no member of the table.
        """
        if isinstance(member, Architecture):
            row = self.members.get(member.fingerprint)
            if row is not None:
                return row
            member = member.choices
        whole = self.space.architecture(member)
        row = self.members.get(whole.fingerprint)
        if row is None:
            codes = self.space.encode(whole)
            raise SpaceError(f"benchmark '{self.protocol.name}': no member has the codes '{codes}'")
        return row

    def fidelity(self, steps: int) -> int:
        """Return the index of the fidelity of so many steps.

        Raises:
            ConfigError: the table has no measurement after that many steps.
        """
        known = self.protocol.fidelities
        index = bisect_left(known, steps)
        if index == len(known) or known[index] != steps:
            raise ConfigError(
                f"benchmark '{self.protocol.name}': nothing was measured after {steps} steps, "
                f"expected one of {', '.join(map(str, known))}",
                "set strategy.steps and final.steps to one of them",
            )
        return index

    def query(
        self,
        member: Architecture | Choices,
        seed: int,
        fidelity: int | None = None,
        split: str = "validation",
    ) -> Answer:
        """Return what one training came to.

        Args:
            member: of the space, or the choices of any genotype.
            seed: 0 to ``seeds`` - 1.
            fidelity: generator updates; None: the whole training.
            split: ``validation``, or ``test`` after the whole training.

        Raises:
            SpaceError: no member of the table.
            ConfigError: no such seed, split or fidelity.
        """
        steps = self.protocol.steps if fidelity is None else fidelity
        return self.at(self.row(member), seed, self.fidelity(steps), split)

    def at(self, row: int, seed: int, index: int, split: str = "validation") -> Answer:
        """Return what one training came to, by row and index of the fidelity."""
        if not 0 <= seed < self.seeds:
            raise ConfigError(f"seed: got {seed}, expected 0 to {self.seeds - 1}")
        status = STATUSES[self.status[row, seed, index]]
        metrics: dict[str, float | None] = {}
        if status == "ok":
            values = self._values(row, seed, index, split)
            named = zip(MEASURED, values.tolist(), strict=True)
            metrics = {name: None if math.isnan(value) else value for name, value in named}
            metrics["parameters"] = float(self.parameters[row])
            metrics["macs"] = float(self.macs[row])
        return Answer(status, metrics, self.cost(row, seed, int(self.trained[row, seed, index])))

    def cost(self, row: int, seed: int, steps: int) -> Cost:
        """Return what so many steps cost; seconds lie on a line between two fidelities."""
        known = (0.0, *self.trained[row, seed].tolist())
        taken = (0.0, *self.seconds[row, seed].tolist())
        return Cost(
            steps=steps,
            images=steps * self.step_images,
            macs=steps * int(self.step_macs[row]),
            seconds=float(np.interp(steps, known, taken)),
        )

    def failed_at(self, row: int, seed: int) -> tuple[int, Status] | None:
        """Return after how many steps a training was found to have failed, and how; or None."""
        for index in range(len(self.protocol.fidelities)):
            status = STATUSES[self.status[row, seed, index]]
            if status != "ok":
                return int(self.trained[row, seed, index]), status
        return None

    def _values(self, row: int, seed: int, index: int, split: str) -> NDArray[np.float64]:
        if split == "validation":
            return self.validation[row, seed, index]
        last = len(self.protocol.fidelities) - 1
        if split != "test" or index != last:
            raise ConfigError(
                f"benchmark '{self.protocol.name}': got split '{split}' after "
                f"{self.protocol.fidelities[index]} steps, expected validation, or test after "
                f"{self.protocol.steps}"
            )
        return self.test[row, seed]

    def scores(self, metric: str = "log_fd", split: str = "validation") -> NDArray[np.float64]:
        """Return ``(M, S)`` values after the whole training, NaN where it failed."""
        column = MEASURED.index(metric)
        return (self.validation[:, :, -1] if split == "validation" else self.test)[..., column]


# -- files -------------------------------------------------------------------------------------


def document_of(table: Table) -> dict[str, Any]:
    """Return the table as JSON data, with its hash."""
    from nastk.records import to_json

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
        return json.loads(plain, parse_constant=lambda word: _refuse(path, f"it holds {word}"))
    except (lzma.LZMAError, ValueError, RecursionError, MemoryError) as error:
        _refuse(path, f"no JSON within xz ({type(error).__name__})")


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
    shapes: dict[str, tuple[int, ...]] = {name: (m,) for name in _WHOLE}
    shapes |= {name: (m, seeds, f) for name in ("status", "trained", "seconds", "measuring")}
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
    return np.where(np.isnan(array), None, array.astype(object)).tolist()


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
