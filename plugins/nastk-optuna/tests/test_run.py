"""Whole runs by the engine, with toy parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nastk import engine
from nastk.config import resolve
from nastk.errors import ConfigError, PairError
from nastk.registry import Component, Entry, Registry
from nastk.rundir import RunFolder
from nastk.state import load_state
from nastk.testing import toys
from nastk_optuna import register_components


def registry() -> Registry:
    result = toys.registry()
    for component in register_components():
        result.add(Entry(component, "nastk-optuna", "0.1.0"))
    return result


def config(strategy: str, **flags: Any) -> Any:
    settings: dict[str, Any] = {
        "strategy.candidates": 12,
        "strategy.steps": 5,
        "engine.max_failures": 100,
    }
    if strategy == "nsga2":
        settings["strategy.metrics"] = "rating,size"
        settings["strategy.population"] = 4
    picked = {**toys.FLAGS, "run.strategy": strategy, "final.steps": 20}
    return resolve(registry(), flags={**picked, **settings, **flags}, env={})


def told(folder: Path) -> list[Any]:
    records = RunFolder.open(folder).read("candidates")
    return [{k: v for k, v in r.items() if k != "time"} for r in records]


@pytest.mark.parametrize("strategy", ["random", "tpe", "nsga2"])
@pytest.mark.parametrize("shared", [False, True])
def test_interrupted_run_resumed_from_its_folder_ends_as_the_uninterrupted(
    tmp_path: Path, strategy: str, shared: bool
) -> None:
    def storage(name: str) -> dict[str, Any]:
        return {"strategy.storage": str(tmp_path / f"{name}.log")} if shared else {}

    whole = engine.run(config(strategy, **storage("a")), registry(), tmp_path / "whole")
    stop = engine.StopRequest()

    class Stop:
        def emit(self, event: Any) -> None:
            if event["step"] >= 5:
                stop.set()

    flags = storage("b")
    cut = engine.run(config(strategy, **flags), registry(), tmp_path / "r", [Stop()], stop)
    assert cut.interrupted
    done = engine.resume(tmp_path / "r", registry())
    assert done.codes == whole.codes
    assert done.codes
    assert dict(done.metrics) == dict(whole.metrics)
    assert told(tmp_path / "r") == told(tmp_path / "whole")


def test_bad_settings_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Redis"):
        config("tpe", **{"strategy.storage": "redis://host"})
    with pytest.raises(PairError, match="does not measure 'fid'"):
        engine.run(config("tpe", **{"strategy.metrics": "fid"}), registry(), tmp_path / "r")
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("strategy", ["random", "tpe", "nsga2"])
def test_strategy_in_rungs_is_resumed_to_the_same_end(tmp_path: Path, strategy: str) -> None:
    flags = {"search.halving": 2, "search.inherit": "nearest", "strategy.steps": 8}
    flags["strategy.batch"] = 2
    whole = engine.run(config(strategy, **flags), registry(), tmp_path / "whole")
    stop = engine.StopRequest()

    class Stop:
        def emit(self, event: Any) -> None:
            if event["type"] == "trial" and event["rung"] == 1:
                stop.set()

    cut = engine.run(config(strategy, **flags), registry(), tmp_path / "r", [Stop()], stop)
    assert cut.interrupted
    done = engine.resume(tmp_path / "r", registry())
    assert (done.codes, done.interrupted) == (whole.codes, False)
    assert told(tmp_path / "r") == told(tmp_path / "whole")
    assert {r["rung"] for r in told(tmp_path / "r")} == {0, 1, 2}


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ({"strategy.pruner": "median"}, r"search\.halving: strategy\.pruner ends trainings too"),
        ({"strategy.storage": "trials.log"}, r"search\.halving: strategy\.storage is for scores"),
        (
            {"strategy.storage": "trials.log", "search.halving": 0, "search.inherit": "nearest"},
            r"search\.inherit: strategy\.storage is for scores",
        ),
    ],
)
def test_what_does_not_go_with_pruner_or_shared_study_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: dict[str, Any], line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    flags = {"search.halving": 2, "strategy.steps": 8, "run.executor": "in-process", **flags}
    parts, picked = with_in_process(), {**toys.FLAGS, "run.strategy": "random"}
    wanted = resolve(parts, flags={**picked, **flags}, env={})
    with pytest.raises(PairError, match=line):
        engine.run(wanted, parts, tmp_path / "r")
    assert list(tmp_path.iterdir()) == []


def test_steps_that_the_pruner_saved_are_in_the_ledger(tmp_path: Path) -> None:
    flags = {"strategy.pruner": "successive-halving", "strategy.steps": 8, "strategy.rungs": 4}
    flags |= {"run.executor": "in-process", "strategy.candidates": 20}
    parts = with_in_process()
    picked = resolve(parts, flags={**toys.FLAGS, "run.strategy": "random", **flags}, env={})
    engine.run(picked, parts, tmp_path / "r")
    ended = [r for r in told(tmp_path / "r") if r["status"] == "pruned" and r["cost"]["steps"]]
    folder = sorted((tmp_path / "r" / "generations").iterdir())[-1]
    saved = load_state(folder, "ledger")["saved"]
    assert saved == sum(8 - r["cost"]["steps"] for r in ended) > 0


def with_in_process() -> Registry:
    """Return the registry with the core's executor, which pruners insist on."""
    result = registry()
    component = Component(
        kind="executor", name="in-process", factory="nastk.executor:in_process", summary="one"
    )
    result.add(Entry(component, "nastk", "0.1.0"))
    return result
