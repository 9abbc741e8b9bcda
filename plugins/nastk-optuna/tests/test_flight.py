"""Optuna's strategies with candidates in flight: proposals depend on what was told, not on time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nastk.config import SearchSettings
from nastk.flight import InFlight, unfit_to_fly
from nastk.state import load_state, save_state
from nastk_optuna.config import Nsga2Config, RandomConfig, TpeConfig
from nastk_optuna.strategy import Nsga2Strategy, RandomStrategy, TpeStrategy

KINDS: list[Any] = [
    (RandomStrategy, RandomConfig),
    (TpeStrategy, TpeConfig),
    (Nsga2Strategy, Nsga2Config),
]


def flying(kind: Any, order: str = "asked", **settings: Any) -> InFlight:
    strategy, config = kind
    inner = strategy(config(candidates=14, steps=5, **settings))
    return InFlight(inner, SearchSettings(in_flight=3, order=order))


def fly(strategy: InFlight, steps: int) -> list[Any]:
    for _ in range(steps):
        strategy.step()
    inner: Any = strategy.inner
    return [
        (t.number, t.state.name, t.values, t.params)
        for t in inner.shelf.study.get_trials(deepcopy=False)
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_resumed_flight_ends_as_the_uninterrupted_one(
    world: Any, tmp_path: Path, kind: Any
) -> None:
    order = "1,0,2,4,3,5,6,8,7,9,11,10,13,12"
    whole = flying(kind, order)
    whole.start(world.table())
    told = fly(whole, 14)
    search, again = world.table(), world.table()
    first, second = flying(kind, order), flying(kind, order)
    first.start(search)
    assert any(state == "RUNNING" for _, state, _, _ in fly(first, 6))
    save_state(tmp_path, "s", {"flight": first.state_dict(), "memory": search.memory.state_dict()})
    state = load_state(tmp_path, "s")
    second.start(again)
    again.memory.load_state_dict(state["memory"])
    second.load_state_dict(state["flight"])
    assert fly(second, 8) == told
    assert [t.number for t in second.inner.trials] == [int(n) for n in order.split(",")]
    assert [t.number for t in whole.inner.trials] == [t.number for t in second.inner.trials]


def test_order_of_telling_decides_what_a_model_proposes(world: Any) -> None:
    found = []
    for order in ("asked", "1,0,2,4,3,5,6,8,7,9,11,10,13,12"):
        strategy = flying(KINDS[1], order, startup_trials=2)
        strategy.start(world.table())
        found.append([params for *_, params in fly(strategy, 14)])
    assert found[0] != found[1]


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"storage": "trials.log"}, "already serves several runs"),
        ({"pruner": "median"}, "pruner ends trainings"),
    ],
)
def test_pruner_and_shared_storage_do_not_fly(settings: Any, text: str) -> None:
    inner = TpeStrategy(TpeConfig(**settings))
    assert text in inner.refuses("in_flight")


def test_optunas_strategies_can_fly(world: Any) -> None:
    search = world.table()
    for strategy, config in KINDS:
        assert unfit_to_fly(strategy(config()), SearchSettings(in_flight=2), search) == ""
