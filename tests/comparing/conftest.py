"""Comparisons of toys, and cells made by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve

from nastk.builtin import register_components
from nastk.comparing.cells import Bill, Cell
from nastk.comparing.planning import LABELS, Asked, Comparison, Plan, Row, make_plan
from nastk.records import Cost, Metric, MetricCard
from nastk.registry import Entry, Registry
from nastk.testing import toys

COMMON = {k: v for k, v in toys.FLAGS.items() if k != "run.strategy"} | {"final.steps": 30}
BENCHMARK = "0123456789ab"


@pytest.fixture(scope="session")
def registry() -> Registry:
    found = toys.registry()
    for component in register_components():
        if component.name in ("fixed", "sampling"):
            found.add(Entry(component, "nastk", "1.0"))
    return found


@pytest.fixture
def asked() -> Asked:
    return Asked(
        rows={"toy-growing": {}},
        common=COMMON,
        seeds=(0, 1, 2),
        budget="40steps",
        baseline="toy-random",
        sharing="toy-growing",
    )


@pytest.fixture
def planned(registry: Registry, asked: Asked) -> Callable[..., Plan]:
    def plan(**changes: Any) -> Plan:
        memory = changes.pop("in_memory", True)
        return evolve(make_plan(evolve(asked, **changes), registry, env={}), in_memory=memory)

    return plan


def cell(row: str, seed: int, value: float | None, **more: Any) -> Cell:
    """Return a cell with a result on the test split; None: it failed."""
    card = more.pop("card", MetricCard(extractor="judge", split="test", n_fake=100))
    metrics = {} if value is None else {"fd": Metric("fd", value, "minimise", card)}
    bill = Bill({"candidates": Cost(steps=more.pop("steps", 100))}, final=Cost(steps=50))
    facts: dict[str, Any] = {"training": 0, "benchmark": BENCHMARK, "codes": "0", "bill": bill,
                             "status": "failed" if value is None else "ok", **more}  # fmt: skip
    return Cell(row=row, seed=seed, metrics=metrics, **facts)


def table(*labels: str, seeds: int = 6, **more: Any) -> Comparison:
    """Return a table of random sampling, random search and contestants."""
    rows = [Row(LABELS["sampling"], "sampling"), Row(LABELS["search"], "search")]
    rows += [Row(label, "contestant") for label in labels]
    facts = {"budget": "100steps", **more}
    return Comparison("toys", BENCHMARK, tuple(rows), tuple(range(seeds)), **facts)


def plan_of(made: Comparison, **more: Any) -> Plan:
    return Plan((made,), metric="fd", **more)


NOISE = (1.0, 1.02, 0.97, 1.01, 0.99, 1.03)


def cells(**means: float) -> list[Cell]:
    """Return six seeds of every row, named with underscores, around its mean."""
    base = {"random_sampling": 20.0, "random": 10.0, **means}
    return [
        cell(row.replace("_", "-"), seed, mean * noise * (1 + 0.01 * ((seed * 7 + i) % 5)))
        for i, (row, mean) in enumerate(base.items())
        for seed, noise in enumerate(NOISE)
    ]
