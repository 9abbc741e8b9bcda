"""Whole runs by the engine, with toy parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nastk import engine
from nastk.config import resolve
from nastk.errors import ConfigError, PairError
from nastk.registry import Entry, Registry
from nastk.rundir import RunFolder
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
