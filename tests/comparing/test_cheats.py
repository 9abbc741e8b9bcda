"""Cheats planted in whole comparisons: what strategies do, not what cells say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from nastk.comparing.collecting import Diary
from nastk.comparing.concluding import conclude
from nastk.comparing.planning import Asked, make_plan
from nastk.comparing.running import complete
from nastk.comparing.store import Store
from nastk.comparing.verdicts import Judged
from nastk.errors import NastkError
from nastk.records import Cost
from nastk.registry import Component, Entry, Registry
from nastk.strategy import StepReport
from nastk.testing.toy_strategies import ToyGrowing, ToyRandom


class Spending(ToyRandom):
    """Spends more in its last step than it was given for all of them."""

    def step(self) -> StepReport:
        report = super().step()
        self.search.spend("hidden", Cost(steps=500))
        return report


class Crashing(ToyRandom):
    """Crashes with one seed."""

    def step(self) -> StepReport:
        if self.search.seed == 1:
            raise NastkError("the strategy lost its way")
        return super().step()


class Planning(ToyGrowing):
    """Plans as much as it is told to."""

    def fitted(self, steps: float, unit: str) -> Mapping[str, Any]:
        return {"chunk": int(steps)}


def with_cheats(registry: Registry) -> Registry:
    found = Registry()
    for entry in registry:
        found.add(entry)
    for name, kind in (("Spending", "Random"), ("Crashing", "Random"), ("Planning", "Growing")):
        settings = f"nastk.testing.toy_strategies:{kind}Config"
        own = Component("strategy", name.lower(), f"{__name__}:{name}", "a cheat", config=settings)
        found.add(Entry(own, "cheats", "1"))
    return found


def judged(path: Path, asked: Asked, registry: Registry, label: str, in_memory: bool) -> Judged:
    """Return a strategy's row of a comparison that was run from plan to verdict."""
    known = with_cheats(registry)
    wanted = evolve(asked, rows={label: {"candidates": 4}}, sharing="other")
    plan = evolve(make_plan(wanted, known, env={}), in_memory=in_memory)
    store = Store.make(path, plan)
    assert complete(store, known, 1, lambda line: None)
    return conclude(store).verdicts[0].rows[-1]


def test_cheat_what_a_search_spends_beyond_its_budget_is_found_in_its_ledger(
    tmp_path: Path, asked: Asked, registry: Registry
) -> None:
    row = judged(tmp_path, asked, registry, "spending", True)
    assert "unequal-budget" in {problem.kind for problem in row.problems}
    assert row.overrun is not None
    assert row.overrun > 10


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_seed_that_crashes_stays_in_the_comparison_as_the_worst(
    tmp_path: Path, asked: Asked, registry: Registry, in_memory: bool
) -> None:
    row = judged(tmp_path, asked, registry, "crashing", in_memory)
    assert [value is None for value in row.values] == [False, True, False]
    (problem,) = row.problems
    assert problem.kind == "crashed"
    assert "the strategy lost its way" in problem.text


def test_cheat_the_splits_of_scores_and_of_the_choice_are_taken_from_the_cards() -> None:
    def measured(split: str) -> dict[str, Any]:
        card = {"split": split, "extra": {}}
        metric = {"value": 1.0, "direction": "minimise", "card": card}
        return {"status": "ok", "evaluation": {"metrics": {"rating": metric}}}

    diary = Diary("steps")
    diary.trial(measured("validation"), "0", 1.0)
    assert diary.into()["search_splits"] == ("validation",)
    diary.trial(measured("test"), "1", 2.0)
    diary.finalist(measured("test"))
    assert diary.into()["search_splits"] == ("test", "validation")
    assert diary.into()["choice_splits"] == ("test",)


def test_a_strategy_that_plans_its_training_is_told_what_the_budget_buys(
    asked: Asked, registry: Registry
) -> None:
    def chunk(settings: Mapping[str, Any], budget: str) -> int:
        wanted = evolve(asked, rows={"planning": settings}, budget=budget)
        row = make_plan(wanted, with_cheats(registry), env={}).tables[0].rows[-1]
        found: int = row.config["values"]["strategy"]["chunk"]
        return found

    assert chunk({}, "40steps") == 40
    assert chunk({}, "70000macs") == 70  # a toy's step costs 1000
    assert chunk({"chunk": 5}, "40steps") == 5
