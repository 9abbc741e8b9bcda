"""Searches on the table: the live price, honest fidelities, refusals where weights are needed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from nastk import engine
from nastk.assembly import World, assemble
from nastk.attempts import Attempt, Job
from nastk.comparing.memory import run_in_memory
from nastk.config import Config, resolve
from nastk.errors import ConfigError, PairError
from nastk.evaluator import Candidate
from nastk.plugins import Plugins, load
from nastk.records import Budget
from nastk.trainer import Pair, Plan
from nastk_bench.table import Table
from nastk_bench.tabulated import RETRAIN, searched_seeds


@pytest.fixture(scope="module")
def registry() -> Plugins:
    return load()


@pytest.fixture
def flags(table_file: Path) -> dict[str, Any]:
    return {
        "run.strategy": "random",
        "run.space": "nano",
        "run.preset": "tabulated",
        "run.device": "cpu",
        "strategy.candidates": 6,
        "trainer.table": str(table_file),
        "evaluator.table": str(table_file),
    }


def _config(registry: Plugins, flags: Mapping[str, Any], **more: Any) -> Config:
    own = {name.replace("__", "."): value for name, value in more.items()}
    return resolve(registry, flags={**flags, **own}, env={})


@pytest.fixture
def world(registry: Plugins, flags: dict[str, Any]) -> World:
    return assemble(_config(registry, flags), registry)


def _attempt(world: World, steps: float, **more: Any) -> Attempt:
    search = world.search
    budget = Budget(steps)
    return Attempt(
        search.space, search.trainer, search.evaluator, search.randomness, budget, **more
    )


def test_a_candidate_costs_what_its_training_cost(world: World, table: Table) -> None:
    member = world.search.space.members()[20]
    outcome = _attempt(world, 54)(Job(0, member))
    cost = outcome.trial.cost
    assert (cost.steps, cost.images, cost.macs) == (54, 54 * 64, 54 * 10_020)
    assert cost.seconds == 27.0  # recorded, not gone by
    assert outcome.trial.evaluation is not None
    assert outcome.trial.evaluation.value("rating") in table.validation[20, :, 3, 0]


def test_the_ledger_of_a_run_holds_the_recorded_costs(
    registry: Plugins, flags: dict[str, Any], table: Table, tmp_path: Path
) -> None:
    result = engine.run(_config(registry, flags), registry, tmp_path / "run")
    cost = result.ledger["candidates"]
    assert cost.steps <= 6 * 108
    assert cost.images == cost.steps * 64
    assert result.ledger["retrain"].steps == 108
    assert result.architecture is not None
    row = table.row(result.architecture)
    assert result.metrics["log_fd"].value == table.test[row, 2, 0]
    assert result.metrics["log_fd"].card.split == "test"
    assert table.hash in result.metrics["log_fd"].card.extra["table"]


@pytest.mark.parametrize("strategy", ["random", "tpe", "nsga2", "sampling"])
def test_strategies_that_observe_run_on_the_table_without_a_folder(
    registry: Plugins, flags: dict[str, Any], strategy: str
) -> None:
    if strategy == "sampling":
        flags.pop("strategy.candidates")
    config = _config(registry, flags, run__strategy=strategy)
    first = run_in_memory(config, strategy, registry, "steps")
    again = run_in_memory(config, strategy, registry, "steps")
    assert first.status == "ok"
    assert first.codes
    assert (first.codes, first.metrics) == (again.codes, again.metrics)


@pytest.mark.parametrize("factor", [2, 3])
def test_both_factors_of_halving_find_their_rungs(
    registry: Plugins, flags: dict[str, Any], factor: int
) -> None:
    config = _config(registry, flags, search__halving=factor)
    cell = run_in_memory(config, "halving", registry, "steps")
    assert (cell.status, cell.reason) == ("ok", "")


@pytest.mark.parametrize("strategy", ["blockwise", "autogan", "adversarialnas"])
def test_strategies_that_need_weights_are_refused_before_the_start(
    registry: Plugins, flags: dict[str, Any], strategy: str
) -> None:
    flags.pop("strategy.candidates")
    config = _config(registry, flags, run__strategy=strategy)
    with pytest.raises(PairError, match=r"a table has no weights: --trainer gan"):
        assemble(config, registry)


def test_inherited_weights_are_refused_before_the_start(
    registry: Plugins, flags: dict[str, Any]
) -> None:
    with pytest.raises(PairError, match="passes no weights on"):
        assemble(_config(registry, flags, search__inherit="nearest"), registry)


def test_a_fidelity_that_was_not_measured_is_refused(world: World) -> None:
    member = world.search.space.members()[20]
    with pytest.raises(ConfigError, match="expected one of 12, 27, 36, 54, 108"):
        _attempt(world, 50)(Job(0, member))


def test_a_training_longer_than_the_recorded_ones_is_refused(world: World) -> None:
    with pytest.raises(ConfigError, match="at most 108"):
        _attempt(world, 400)(Job(0, world.search.space.members()[20]))


def test_a_training_that_failed_fails_again_at_the_same_cost(world: World, failing: int) -> None:
    member = world.search.space.members()[failing]
    trial = _attempt(world, 108)(Job(0, member)).trial
    assert (trial.status, trial.cost.steps, trial.evaluation) == ("collapsed", 40, None)
    assert _attempt(world, 36)(Job(0, member)).trial.ok


def test_a_continued_training_pays_for_the_rest_only(world: World) -> None:
    member = world.search.space.members()[20]
    whole = _attempt(world, 108)(Job(4, member)).trial
    first = _attempt(world, 27, resumable=True)(Job(4, member))
    rest = _attempt(world, 108, done=27)(Job(4, member, state=first.state)).trial
    assert rest.evaluation == whole.evaluation
    assert first.trial.cost.steps + rest.cost.steps == whole.cost.steps
    assert rest.cost.macs == 81 * 10_020


def test_final_trainings_are_never_those_that_the_search_saw(world: World, table: Table) -> None:
    search = world.search
    seen: dict[str, set[int]] = {"candidates": set(), RETRAIN: set()}
    for phase, number in [(p, n) for p in seen for n in range(40)]:
        own = search.randomness.child(f"{phase}/{number}")
        member = search.space.members()[5]
        stub = search.trainer.build(search.space, "generator", member.choices, own)
        training = search.trainer.begin(Pair(stub, stub, search.space), Plan(phase=phase), own)
        seen[phase].add(training.state_dict()["seed"])
    assert seen == {"candidates": {0, 1}, RETRAIN: {2}}
    assert [searched_seeds(n) for n in (1, 2, 3, 4, 5)] == [1, 1, 2, 2, 3]


def test_networks_of_another_trainer_are_refused(world: World) -> None:
    member = world.search.space.members()[0]
    candidate = Candidate(member, world.search.space, generator=None)
    with pytest.raises(PairError, match="preset tabulated"):
        world.search.evaluator.evaluate([candidate], "validation", world.search.randomness)


@pytest.mark.parametrize(
    "wrong",
    [
        {"dataset.image_size": 16},
        {"run.objective": "least-squares"},
        {"run.passes": ["spectral-norm"]},
    ],
)
def test_data_objective_and_passes_of_another_benchmark_are_refused(
    registry: Plugins, flags: dict[str, Any], wrong: dict[str, Any]
) -> None:
    with pytest.raises(PairError, match="the table was built with"):
        assemble(_config(registry, {**flags, **wrong}), registry)


def test_another_width_than_the_tables_is_refused(registry: Plugins, flags: dict[str, Any]) -> None:
    world = assemble(_config(registry, flags, space__generator_width=16), registry)
    with pytest.raises(PairError, match="'generator_width': 12"):
        _attempt(world, 108)(Job(0, world.search.space.members()[0]))


def test_an_open_network_is_refused(world: World) -> None:
    search = world.search
    with pytest.raises(PairError, match="whole architectures only"):
        search.trainer.build(search.space, "generator", {}, search.randomness)
