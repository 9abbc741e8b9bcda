"""The table on disk and in memory: exact round trips, forgeries refused, honest answers."""

from __future__ import annotations

import json
import lzma
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nastk.errors import ConfigError, DataError, SpaceError
from nastk.records import digest
from nastk_bench.files import KEYS, MAX_PACKED, document_of, load, save
from nastk_bench.space import NanoSpace
from nastk_bench.standing import standing
from nastk_bench.table import Table


def _write(path: Path, document: Any) -> Path:
    path.write_bytes(lzma.compress(json.dumps(document).encode()))
    return path


def _forged(table: Table, change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Return a document with a change and a hash that fits it."""
    document = json.loads(json.dumps(document_of(table)))
    change(document)
    document["hash"] = digest({k: v for k, v in document.items() if k != "hash"})[:12]
    return document


def test_a_table_is_read_as_it_was_written(table: Table, tmp_path: Path) -> None:
    save(table, tmp_path / "again.xz")
    again = load(tmp_path / "again.xz")
    assert again.hash == table.hash
    assert document_of(again) == document_of(table)
    for name in ("validation", "test", "status", "trained", "seconds"):
        assert np.array_equal(getattr(again, name), getattr(table, name), equal_nan=True)
    assert again.cards == table.cards
    assert again.protocol == table.protocol


def test_equal_tables_are_equal_bytes(table: Table, table_file: Path, tmp_path: Path) -> None:
    save(table, tmp_path / "again.xz")
    assert (tmp_path / "again.xz").read_bytes() == table_file.read_bytes()


def test_any_genotype_of_a_member_gets_its_answer(table: Table, space: NanoSpace) -> None:
    for choices in list(space.genotypes())[::37]:
        row = table.members[space.architecture(choices).fingerprint]
        assert table.query(choices, 1, 27) == table.at(row, 1, 1)


def test_an_answer_holds_metrics_and_the_recorded_cost(table: Table, space: NanoSpace) -> None:
    member = space.members()[11]
    answer = table.query(member, 2, 54)
    assert answer.status == "ok"
    assert answer.metrics["log_fd"] == table.validation[11, 2, 3, 0]
    assert answer.metrics["parameters"] == 111
    assert (answer.cost.steps, answer.cost.images) == (54, 54 * 64)
    assert answer.cost.macs == 54 * 10_011
    assert answer.cost.seconds == 27.0


def test_the_test_split_is_answered_after_the_whole_training_only(
    table: Table, space: NanoSpace
) -> None:
    member = space.members()[3]
    assert table.query(member, 0, split="test").metrics["log_fd"] == table.test[3, 0, 0]
    with pytest.raises(ConfigError, match="test after 108"):
        table.query(member, 0, 54, split="test")


@pytest.mark.parametrize("steps", [0, 13, 107, 400])
def test_nothing_is_interpolated_between_fidelities(
    table: Table, space: NanoSpace, steps: int
) -> None:
    with pytest.raises(ConfigError, match="12, 27, 36, 54, 108"):
        table.query(space.members()[0], 0, steps)


def test_a_failed_training_is_told_with_what_it_cost(table: Table, failing: int) -> None:
    early, late = table.at(failing, 0, 2), table.at(failing, 0, 4)
    assert (early.status, late.status, late.metrics) == ("ok", "collapsed", {})
    assert late.cost.steps == 40
    assert table.failed_at(failing, 0) == (40, "collapsed")
    assert table.failed_at(failing + 1, 0) is None


@pytest.mark.parametrize("seed", [-1, 3])
def test_seeds_that_the_table_lacks_are_refused(table: Table, seed: int) -> None:
    with pytest.raises(ConfigError, match="0 to 2"):
        table.at(0, seed, 0)


def test_what_is_no_architecture_of_the_space_is_refused(table: Table) -> None:
    with pytest.raises(SpaceError):
        table.query({"norm": "layer"}, 0)


class Canary:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("packed", [False, True])
def test_a_pickle_in_the_place_of_a_table_is_refused_and_not_run(
    tmp_path: Path, packed: bool
) -> None:
    evil = pickle.dumps(Canary(tmp_path / "ran"))
    (tmp_path / "table").write_bytes(lzma.compress(evil) if packed else evil)
    with pytest.raises(DataError, match="no table of a benchmark"):
        load(tmp_path / "table")
    assert not (tmp_path / "ran").exists()


FORGERIES: dict[str, Callable[[dict[str, Any]], None]] = {
    "a key more": lambda d: d.update(extra=1),
    "a key less": lambda d: d.pop("codes"),
    "another kind": lambda d: d.update(kind="something"),
    "too few members": lambda d: d["members"].pop(),
    "a member twice": lambda d: d["members"].__setitem__(1, d["members"][0]),
    "a row less": lambda d: d["validation"].pop(),
    "ragged rows": lambda d: d["validation"][0][0][0].pop(),
    "text for a number": lambda d: d["test"][0][0].__setitem__(0, "5"),
    "truth for a number": lambda d: d["seconds"][0][0].__setitem__(0, True),
    "a negative status": lambda d: d["status"][0][0].__setitem__(0, -1),
    "an unknown status": lambda d: d["status"][0][0].__setitem__(0, 99),
    "a fractional count": lambda d: d["parameters"].__setitem__(0, 1.5),
    "seeds beyond reason": lambda d: d.update(seeds=10**9),
    "fidelities that fall": lambda d: d["protocol"].update(fidelities=[108, 54, 36, 27, 12]),
    "a card of another shape": lambda d: d["cards"]["test"]["log_fd"].update(code="import os"),
}


@pytest.mark.parametrize("how", FORGERIES)
def test_a_forged_table_is_refused_though_its_hash_fits(
    table: Table, tmp_path: Path, how: str
) -> None:
    document = _forged(table, FORGERIES[how])
    with pytest.raises(DataError, match="no table of a benchmark"):
        load(_write(tmp_path / "forged", document))


def test_a_changed_number_is_seen_by_the_hash(table: Table, tmp_path: Path) -> None:
    document = json.loads(json.dumps(document_of(table)))
    assert set(document) == KEYS
    document["validation"][0][0][0][0] = 0.0
    with pytest.raises(DataError, match="hash"):
        load(_write(tmp_path / "changed", document))


def test_numbers_that_json_does_not_know_are_refused(tmp_path: Path) -> None:
    (tmp_path / "nan").write_bytes(lzma.compress(b'{"validation": NaN}'))
    with pytest.raises(DataError, match="NaN"):
        load(tmp_path / "nan")


def test_a_file_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nastk_bench.files.MAX_PLAIN", 1000)
    (tmp_path / "bomb").write_bytes(lzma.compress(b" " * 10**6))
    with pytest.raises(DataError, match="unpacks to too much"):
        load(tmp_path / "bomb")


def test_a_large_or_cut_or_absent_file_is_refused(table_file: Path, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"\0" * (MAX_PACKED + 1))
    (tmp_path / "cut").write_bytes(table_file.read_bytes()[:-40])
    for name in ("large", "cut", "absent"):
        with pytest.raises(DataError):
            load(tmp_path / name)


def test_a_member_stands_where_its_test_score_puts_it(table: Table, failing: int) -> None:
    test = table.test[:, :, 0].mean(1)
    best = int(np.nanargmin(test))
    assert standing(table, table.codes[best])["rank (test)"] == 1
    assert standing(table, table.codes[best])["regret (test)"] == 0.0
    failed = standing(table, table.codes[failing])
    assert (failed["failed"], failed["rank (test)"], failed["regret (test)"]) == (3, None, None)
