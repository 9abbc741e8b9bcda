"""Each law of each suite has a fault that it catches."""

from __future__ import annotations

import re
from pathlib import Path

from nastk.testing.contracts import (
    ComponentContract,
    DatasetContract,
    EvaluatorContract,
    ExecutorContract,
    ObjectiveContract,
    PassContract,
    SpaceContract,
    StrategyContract,
    TrainerContract,
)

SUITES = {
    "component": ComponentContract,
    "dataset": DatasetContract,
    "evaluator": EvaluatorContract,
    "executor": ExecutorContract,
    "network_pass": PassContract,
    "objective": ObjectiveContract,
    "space": SpaceContract,
    "strategy": StrategyContract,
    "trainer": TrainerContract,
}


def laws(suite: type) -> set[str]:
    return {name.removeprefix("test_") for name in dir(suite) if name.startswith("test_")}


def test_every_law_has_a_fault_that_it_catches() -> None:
    missing = {}
    for name, suite in SUITES.items():
        source = (Path(__file__).parent / f"test_{name}.py").read_text("utf-8")
        named = set(re.findall(r'\(\s*"(\w+)",', source))
        common = laws(ComponentContract) if suite is not ComponentContract else set()
        missing[name] = laws(suite) - common - named
    # Held to its suite with settings of its own, so it is called by itself.
    missing["component"].remove("settings_of_a_wrong_type_are_refused_in_one_line")
    assert missing == {name: set() for name in SUITES}
