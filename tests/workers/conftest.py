"""Toy runs in other processes, whose workers can be made to die, hang or err."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nastk import builtin, engine
from nastk.config import Config, resolve
from nastk.registry import Component, Entry, Registry
from nastk.testing import toys
from nastk.testing.folders import result_files

HERE = str(Path(__file__).parent)


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """Return the toys, the real executors, and the parts of ``faulty.py``."""
    monkeypatch.syspath_prepend(HERE)
    found = toys.registry()
    for component in builtin.register_components():
        if component.kind == "executor":
            found.add(Entry(component, "nastk", "1.0"))
    faulty = [
        Component("trainer", "faulty", "faulty:FaultyTrainer", "", "faulty:FaultyConfig"),
        Component("evaluator", "ranking", "faulty:RankingEvaluator", ""),
        Component("dataset", "shifting", "faulty:shifting", ""),
        Component("strategy", "batches", "faulty:Batches", "",
                  "nastk.testing.toy_strategies:RandomConfig"),
    ]  # fmt: skip
    for component in faulty:
        found.add(Entry(component, "nastk-faulty", "1.0"))
    return found


@pytest.fixture
def config(registry: Registry) -> Callable[..., Config]:
    """Return a function: flags → configuration of a short toy run."""

    def make(**flags: Any) -> Config:
        short = {**toys.FLAGS, "run.executor": "processes", "final.steps": 20}
        short["engine.commit_every"] = 100
        if flags.get("run.executor", "processes") == "processes":
            short["executor.workers"] = 2
        return resolve(registry, flags={**short, **flags}, env={})

    return make


@pytest.fixture
def run(registry: Registry, config: Callable[..., Config], tmp_path: Path) -> Callable[..., Any]:
    """Return a function: flags → everything that must be equal in equal runs, and warnings."""

    def go(name: str, warnings: list[str] | None = None, **flags: Any) -> dict[str, Any]:
        class Sink:
            def emit(self, event: Any) -> None:
                if event["type"] == "warning" and warnings is not None:
                    warnings.append(event["message"])

        engine.run(config(**flags), registry, tmp_path / name, [Sink()])
        return comparable(tmp_path / name)

    return go


def comparable(folder: Path) -> dict[str, Any]:
    """Return what a run's result consists of, but for the names of what it ran on."""
    files = result_files(folder)
    for event in files["events"]:
        event.pop("components", None)
    return files
