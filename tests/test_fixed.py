from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from nastk import engine
from nastk.assembly import assemble
from nastk.builtin import register_components
from nastk.config import Config, resolve
from nastk.errors import PairError
from nastk.plugins import load
from nastk.records import Budget, Cost
from nastk.registry import Entry, Registry
from nastk.rundir import RunFolder
from nastk.stages import CHUNK, updates_ahead
from nastk.testing import toys
from nastk.testing.folders import result_files

CODES = "1 / 0 / 1 | 1"


def registry() -> Registry:
    """Return the toys and the strategy ``fixed``."""
    found = toys.registry()
    (fixed,) = [c for c in register_components() if c.name == "fixed"]
    found.add(Entry(fixed, "nastk", "1.0"))
    return found


def config(**flags: Any) -> Config:
    given = {**toys.FLAGS, "run.strategy": "fixed", "strategy.architecture": CODES}
    return resolve(registry(), flags={**given, **flags}, env={})


class StopAt:
    """Asks for an end at the n-th step."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.stop = engine.StopRequest()

    def emit(self, event: Mapping[str, Any]) -> None:
        if event["type"] == "step" and event["step"] == self.step:
            self.stop.set()


def test_a_training_trains_the_given_architecture_and_spends_nothing_else(tmp_path: Path) -> None:
    result = engine.run(config(), registry(), tmp_path / "r")
    assert result.codes == CODES
    assert set(result.ledger) == {"retrain", "evaluate"}
    assert result.ledger["retrain"].steps == 250
    assert list(RunFolder.open(tmp_path / "r").read("candidates")) == []


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        ("", "strategy.architecture is empty"),
        ("1 / 0", "expected more"),
        ("9 / 0 / 1 | 1", "got code 9"),
    ],
)
def test_codes_that_are_no_architecture_are_refused_before_anything_is_written(
    tmp_path: Path, codes: str, message: str
) -> None:
    with pytest.raises(PairError, match=message):
        engine.run(config(**{"strategy.architecture": codes}), registry(), tmp_path / "r")
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("length", "steps"),
    [
        ("1000images", 125),
        ("1001images", 126),
        ("2kimg", 250),
        ("250000macs", 250),
        ("30steps", 30),
    ],
)
def test_a_training_is_as_long_as_its_budget_in_any_unit(
    tmp_path: Path, length: str, steps: int
) -> None:
    result = engine.run(config(**{"final.budget": length}), registry(), tmp_path / "r")
    assert result.ledger["retrain"].steps == steps


def test_a_budget_of_seconds_is_approached_in_chunks_by_the_pace_so_far() -> None:
    length = Budget(10, "seconds")
    assert updates_ahead(length, Cost()) == 1
    assert updates_ahead(length, Cost(steps=5, seconds=1.0)) == 45
    assert updates_ahead(length, Cost(steps=500, seconds=1.0)) == CHUNK
    assert updates_ahead(length, Cost(steps=5, seconds=9.999)) == 1


@pytest.mark.parametrize("length", ["", "3kimg"])
@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_a_training_stopped_anywhere_and_resumed_ends_bitwise_as_if_never_stopped(
    tmp_path: Path, length: str, step: int
) -> None:
    asked = config(**{"final.budget": length})
    engine.run(asked, registry(), tmp_path / "whole")
    stopper = StopAt(step)
    first = engine.run(asked, registry(), tmp_path / "r", [stopper], stopper.stop)
    assert first.interrupted
    assert not engine.resume(tmp_path / "r", registry()).interrupted
    assert result_files(tmp_path / "r") == result_files(tmp_path / "whole")


def test_a_training_measured_against_the_training_images_leaves_the_test_split_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    original = toys.ToyDataset.split
    monkeypatch.setattr(
        toys.ToyDataset,
        "split",
        lambda self, name, device="cpu": opened.append(name) or original(self, name, device),
    )
    result = engine.run(config(**{"final.split": "train"}), registry(), tmp_path / "r")
    assert result.metrics["rating"].card.split == "train"
    assert "test" not in opened


def test_learning_rates_that_fall_need_a_length_in_steps() -> None:
    found = load(env={})
    flags = {
        "run.strategy": "fixed",
        "strategy.architecture": "0 / 0 0 / 0 0 0 0 0",
        "run.device": "cpu",
        "final.budget": "5min",
        "trainer.lr_decay": "linear",
    }
    with pytest.raises(PairError, match="lr_decay 'linear', expected steps"):
        assemble(resolve(found, flags=flags, env={}), found)
    counted = resolve(found, flags={**flags, "final.budget": "64steps"}, env={})
    assert assemble(counted, found).config.final.budget == "64steps"


def sampled(**flags: Any) -> Config:
    given = {**toys.FLAGS, "run.strategy": "sampling", **flags}
    return resolve(sampling_registry(), flags=given, env={})


def sampling_registry() -> Registry:
    found = registry()
    (drawn,) = [c for c in register_components() if c.name == "sampling"]
    found.add(Entry(drawn, "nastk", "1.0"))
    return found


def test_sampling_draws_one_architecture_by_the_seed_and_searches_nothing(tmp_path: Path) -> None:
    found = [
        engine.run(sampled(**{"run.seed": seed}), sampling_registry(), tmp_path / str(i))
        for i, seed in enumerate((1, 1, 2, 3))
    ]
    assert found[0].codes == found[1].codes
    assert len({result.codes for result in found}) > 1
    assert set(found[0].ledger) == {"retrain", "evaluate"}


def test_another_final_seed_is_another_training_of_the_same_on_the_same_data(
    tmp_path: Path,
) -> None:
    first, again, other = (
        engine.run(config(**{"final.seed": seed}), registry(), tmp_path / str(i))
        for i, seed in enumerate((0, 0, 1))
    )
    assert first.metrics == again.metrics
    assert other.codes == first.codes
    assert other.metrics["rating"].value != first.metrics["rating"].value
    assert other.metrics["rating"].card == first.metrics["rating"].card
