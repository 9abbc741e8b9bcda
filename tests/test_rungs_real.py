"""Rungs and inherited weights with real networks on real digits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from nastk import engine
from nastk.assembly import assemble
from nastk.config import resolve
from nastk.plugins import Plugins, load
from nastk.testing.folders import result_files

TINY = {
    "run.strategy": "random",
    "run.space": "autogan",
    "run.device": "cpu",
    "space.generator_width": 2,
    "space.discriminator_width": 4,
    "trainer.batch_size": 8,
    "trainer.g_batch_size": 8,
    "trainer.n_critic": 1,
    "trainer.lr_decay": "linear",
    "evaluator.samples": 32,
    "strategy.candidates": 6,
    "strategy.batch": 2,
    "strategy.steps": 8,
    "search.halving": 2,
    "engine.commit_every": 1,
    "final.steps": 2,
    "final.samples": 32,
}


@pytest.fixture(scope="module")
def registry() -> Plugins:
    return load()


def config(registry: Plugins, **flags: Any) -> Any:
    return resolve(registry, flags={**TINY, **flags}, env={})


def test_candidate_that_went_on_is_bitwise_what_it_is_when_trained_at_once(
    registry: Plugins,
) -> None:
    world = assemble(config(registry), registry)
    strategy: Any = world.strategy
    strategy.start(world.search)
    while not strategy.step().done:
        pass
    (trial,) = [t for t in strategy.inner.promoted if t.rung == 2]
    assert trial.ok
    plain = assemble(config(registry, **{"search.halving": 0}), registry).search
    whole = plain.evaluate([trial.architecture], trial.budget, trial.number)[0]
    assert whole.evaluation == trial.evaluation
    spent = [t.cost.steps for t in strategy.inner.promoted if t.number == trial.number]
    assert [2, *spent] == [2, 2, 4]


def test_run_interrupted_after_every_step_ends_as_the_uninterrupted_one(
    tmp_path: Path, registry: Plugins
) -> None:
    wanted = config(registry, **{"search.inherit": "nearest"})
    whole = engine.run(wanted, registry, tmp_path / "whole")
    assert {"rung0", "rung1", "rung2", "inherit"} <= set(whole.ledger)

    class Stop:
        def __init__(self) -> None:
            self.request = engine.StopRequest()

        def emit(self, event: Mapping[str, Any]) -> None:
            if event["type"] == "step":
                self.request.set()

    stop = Stop()
    held = engine.run(wanted, registry, tmp_path / "r", [stop], stop.request)
    while held.interrupted:
        stop = Stop()
        held = engine.resume(tmp_path / "r", registry, [stop], stop.request)
    assert result_files(tmp_path / "r") == result_files(tmp_path / "whole")
