"""Plans fitted to a budget, so that the budget ends a search and not the plan's default."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from nastk.assembly import World, assemble
from nastk.attempts import begin
from nastk.config import Config, parse_budget
from nastk.errors import NastkError
from nastk.halving import Schedule
from nastk.records import Budget, Cost
from nastk.registry import Registry
from nastk.strategy import AskTellStrategy, Strategy
from nastk.trainer import Plan

PROBED = 8
"""Random architectures whose first step says what a step costs."""

PLENTY = 4
"""So many times the candidates that fit a budget are planned: repeated ones cost nothing."""

AIM = 0.95
"""Share of the budget that a schedule of rungs is fitted to."""


def fitted(config: Config, flags: Mapping[str, Any], registry: Registry) -> Config:
    """Return ``config`` with a plan as long as its budget, apart from what ``flags`` name.

    Strategies that only propose and observe stop after a number of candidates that knows nothing
    of the budget; others are asked (:meth:`nastk.strategy.Strategy.fitted`). Plans that cost
    nothing in the budget's unit are left as they are.
    """
    if "strategy.candidates" in flags or not config.run.budget:
        return config
    try:
        world = assemble(config.override({"search.halving": 0}, registry), registry)
        plan = _plan(world, config)
    except (NastkError, RuntimeError):  # told in full when the row itself is assembled
        return config
    found = {f"strategy.{name}": value for name, value in plan.items()}
    found = {key: value for key, value in found.items() if key not in flags}
    return config.override(found, registry) if found else config


def _plan(world: World, config: Config) -> Mapping[str, Any]:
    """Return the settings of the strategy that its budget decides."""
    strategy, budget = world.strategy, parse_budget(config.run.budget)
    if isinstance(strategy, AskTellStrategy):
        known = hasattr(config.component("strategy"), "candidates")
        count = _candidates(world, strategy, config) if known else 0
        return {"candidates": count} if count else {}
    if type(strategy).fitted is Strategy.fitted:
        return {}  # nothing is probed for nothing
    return strategy.fitted(budget.amount / (_a_step(world, budget.unit) or 1), budget.unit)


def _candidates(world: World, strategy: AskTellStrategy, config: Config) -> int:
    budget = parse_budget(config.run.budget)
    if config.search.halving:
        return _of_rungs(strategy, config, budget.amount / (_a_step(world, budget.unit) or 1))
    whole = strategy.budget.amount
    if strategy.budget.unit != budget.unit:
        if strategy.budget.unit != "steps":
            return 0
        whole *= _a_step(world, budget.unit)
    return math.ceil(PLENTY * budget.amount / whole) if whole else 0


def _of_rungs(strategy: AskTellStrategy, config: Config, steps: float) -> int:
    """Return the most candidates whose rungs together take at most so many steps."""
    length = round(strategy.budget.amount)

    def planned(count: int) -> int:
        return Schedule.of(config.search, length, count).planned()

    low, high = 1, max(2, math.ceil(steps))
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if planned(middle) <= AIM * steps else (low, middle)
    return low


def _a_step(world: World, unit: str) -> float:
    """Return what a training step of a random architecture costs, on average."""
    if unit == "steps":
        return 1.0
    search = world.search
    rng = search.randomness.child("probe").numpy("sample")
    total = Cost()
    for number in range(PROBED):
        architecture = search.space.sample(rng)
        child = search.randomness.child(f"probe/{number}")
        plan = Plan(phase="probe", horizon=None)
        training = begin(search.trainer, search.space, architecture, plan, child)
        total = total + training.advance(Budget(1)).cost
    return float(getattr(total, unit)) / max(1, total.steps)
