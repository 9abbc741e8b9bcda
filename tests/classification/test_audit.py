"""The audit passes an honest run, and finds every kind of leak that is planted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from attrs import evolve

from nastk import series
from nastk.classification.audit import Auditor
from nastk.classification.cells import Cell
from nastk.classification.secrets import Secrets, holders
from nastk.data import memory
from nastk.dataset import HIDDEN
from nastk.labels import LabelBook
from nastk.registry import Registry


@pytest.fixture
def cell(planned) -> Cell:
    return planned()[0]


def audited(cell: Cell, registry: Registry) -> dict[str, Any]:
    series.carry_on(cell.part, registry)
    return Auditor(registry).audit(cell.part.folder, cell.part.config)


def test_an_honest_run_passes_and_its_labels_are_counted(cell: Cell, registry: Registry) -> None:
    found = audited(cell, registry)
    assert found["problems"] == []
    assert found["passed"]
    assert found["visible"] == sum(found["per_class"]) < found["exist"]
    assert found["hidden"] == found["exist"] - found["visible"]
    readers = {(r["reader"], r["split"]) for r in found["reads"]}
    assert readers == {
        ("trainer", "train"),
        ("evaluator", "validation"),
        ("evaluator", "test"),
    }
    assert json.dumps(found)


def test_a_data_set_that_shows_too_many_labels_fails(
    cell: Cell, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = memory.make_partition

    def generous(*args: Any, **words: Any) -> Any:
        parts = honest(*args, **words)
        labelled = parts.labelled.copy()
        labelled[:200] = True
        return evolve(parts, labelled=labelled)

    monkeypatch.setattr(memory, "make_partition", generous)
    found = audited(cell, registry)
    assert not found["passed"]
    assert any("the budget allows" in problem for problem in found["problems"])


def test_a_run_that_was_handed_hidden_labels_fails_though_the_data_set_is_honest_now(
    cell: Cell, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = memory.InMemoryDataset.split

    def leaking(self: Any, name: Any, device: Any = None) -> Any:
        split = honest(self, name, device)
        return split if name != "train" else evolve(split, labels=split.labels.clamp(min=0))

    with monkeypatch.context() as patch:
        patch.setattr(memory.InMemoryDataset, "split", leaking)
        series.carry_on(cell.part, registry)
    found = Auditor(registry).audit(cell.part.folder, cell.part.config)
    assert found["problems"] == ["trainer was handed other training labels than are visible"]


def test_a_data_set_that_keeps_the_raw_labels_fails(
    cell: Cell, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = memory.InMemoryDataset.__init__

    def hoarding(self: Any, name: str, source: Any, **words: Any) -> None:
        honest(self, name, source, **words)
        self.source = source

    monkeypatch.setattr(memory.InMemoryDataset, "__init__", hoarding)
    found = audited(cell, registry)
    assert any("the data set keeps hidden labels" in p for p in found["problems"])


@pytest.mark.parametrize("form", ["binary", "text"])
def test_a_file_that_holds_hidden_labels_fails(form: str, cell: Cell, registry: Registry) -> None:
    series.carry_on(cell.part, registry)
    truth = Auditor(registry).truth(cell.part.config)
    stray = cell.part.folder / "stray.bin"
    if form == "binary":
        stray.write_bytes(b"x" + truth.astype("<i4").tobytes())
    else:
        stray.write_text(json.dumps(truth.tolist()))
    found = Auditor(registry).audit(cell.part.folder, cell.part.config)
    assert found["problems"] == ["a file holds hidden labels: stray.bin"]


def test_a_reader_of_what_is_not_its_business_is_found(
    cell: Cell, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = LabelBook.told
    monkeypatch.setattr(
        LabelBook,
        "told",
        lambda self: [
            {**r, "reader": "trainer"} if r["split"] == "test" else r for r in honest(self)
        ],
    )
    assert audited(cell, registry)["problems"] == ["trainer read the test split"]


def test_another_data_set_under_the_same_name_is_found(cell: Cell, registry: Registry) -> None:
    series.carry_on(cell.part, registry)
    path = cell.part.folder / "run.json"
    document = json.loads(path.read_text())
    document["data"]["content"] = "0123456789ab"
    path.write_text(json.dumps(document))
    found = Auditor(registry).audit(cell.part.folder, cell.part.config)
    assert any("the run's was 0123456789ab" in p for p in found["problems"])


def test_a_killed_process_is_told(cell: Cell, registry: Registry) -> None:
    series.carry_on(cell.part, registry)
    path: Path = cell.part.folder / "sessions.jsonl"
    start = path.read_text().splitlines()[0]
    path.write_text(start + "\n" + path.read_text())
    found = Auditor(registry).audit(cell.part.folder, cell.part.config)
    assert found["unrecorded_sessions"] == 1


class Hoard:
    def __init__(self, kept: Any) -> None:
        self.kept = kept


@pytest.mark.parametrize(
    "keep",
    [
        torch.from_numpy,
        lambda t: torch.from_numpy(t.astype(np.float32))[:1],
        lambda t: lambda: t.astype(np.uint8),
        lambda t: {"deep": [t.astype(np.int16)[3:5].base]},
        lambda t: t.tolist(),
        lambda t: np.sort(t),
    ],
    ids=["tensor", "view", "closure", "narrow", "list", "other order"],
)
def test_hidden_labels_are_found_in_every_usual_form(keep: Any) -> None:
    truth = np.random.default_rng(0).integers(0, 10, 500)
    shown = np.where(np.arange(500) < 50, truth, HIDDEN)
    secrets = Secrets.of(shown, truth, 10)
    assert secrets is not None
    assert holders(Hoard(keep(truth)), secrets)
    assert not holders(Hoard([torch.from_numpy(shown), np.arange(500)]), secrets)


def test_few_hidden_labels_are_not_looked_for() -> None:
    truth = np.arange(40) % 4
    shown = truth.copy()
    shown[:3] = HIDDEN
    assert Secrets.of(shown, truth, 4) is None
