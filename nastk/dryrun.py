"""What a run would do and take, tried on one candidate; nothing is written."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from attrs import evolve

from nastk.assembly import World, assemble
from nastk.config import Config
from nastk.estimate import begun, span
from nastk.fixed import FixedStrategy
from nastk.halving import Halving
from nastk.records import Budget, Cost, to_json
from nastk.registry import Registry
from nastk.retention import shortage
from nastk.search import reason_of
from nastk.stages import final_length, spent_share
from nastk.strategy import AskTellStrategy, WrappingStrategy
from nastk.trainer import Training
from nastk.workers.following import summon

WARM = 1.0
"""Seconds below which a first step tells little of the next, and a second is done."""


def plan(config: Config, registry: Registry) -> dict[str, Any]:
    """Return what a run would do, having built one candidate and trained it for one step.

    The candidate is drawn at random; of a training it is the architecture that is given. How long
    the run takes follows from its step, so candidates that cost more or less make it differ; None
    where the strategy says of its length no more than a budget that it ends within.

    Nothing is written.

    Raises:
        UserError: as :func:`nastk.engine.run`.
    """
    world = assemble(config, registry)
    summon(world)
    search = world.search
    child = search.randomness.child("plan")
    if isinstance(world.strategy, FixedStrategy):
        world.strategy.start(search)
        architecture = world.strategy.leaders()[0].architecture
    else:
        architecture = search.space.sample(child.numpy("sample"))
    candidate: dict[str, Any] = {"codes": search.space.encode(architecture)}
    needs: dict[str, Any] = {}
    length: dict[str, Any] = {}
    try:
        training = begun(world, architecture, child)
        cost, seconds = _one_step(training)
        if seconds < WARM:
            seconds = min(seconds, _one_step(training)[1])
        candidate |= {"step": {"images": cost.images, "macs": cost.macs, "seconds": seconds}}
        length = _length(world, evolve(cost, seconds=seconds))
        needs = span(world, training, architecture, search.randomness.child("plan/needs"))
    except RuntimeError as error:
        candidate["problem"] = reason_of(error)
    return {
        "length": length,
        "components": {e.component.kind: e.component.name for e in world.entries},
        "device": search.device,
        "seed": search.seed,
        "budget": None if world.budget is None else to_json(world.budget),
        "space": {"name": search.space.name, "size": search.space.size()},
        "data": {"name": search.dataset.name, "shape": list(search.dataset.shape),
                 "classes": search.dataset.classes},
        "final": {"leaders": config.final.leaders, "steps": config.final.steps,
                  "budget": config.final.budget},
        "candidate": candidate,
        "needs": needs,
        "room": shortage(
            Path(config.run.out or "runs"),
            needs.get("disk", 0) + config.engine.reserve_mb * 2**20,
            "to finish",
        ),
    }  # fmt: skip


def _one_step(training: Training) -> tuple[Cost, float]:
    started = time.perf_counter()
    cost = training.advance(Budget(1)).cost
    return cost, time.perf_counter() - started


def _length(world: World, step: Cost) -> dict[str, Any]:
    """Return candidates, steps of each and of all, and seconds, at what one step costs."""

    def bought(budget: Budget) -> float:
        share = spent_share(budget, step)
        return 1 / share if share else 0.0

    strategy, planned = world.strategy, None
    asking = strategy.inner if isinstance(strategy, WrappingStrategy) else strategy
    found: dict[str, Any] = {"candidates": None, "each": None}
    if isinstance(asking, AskTellStrategy):
        found = {"candidates": asking.candidates, "each": bought(asking.budget)}
        planned = found["candidates"] * found["each"]
    if isinstance(strategy, Halving):
        planned = float(strategy.schedule.planned())
    if isinstance(strategy, FixedStrategy):
        planned = 0.0
    if world.budget is not None:
        paid = bought(world.budget)
        planned = paid if planned is None else min(paid, planned)
    final = bought(final_length(world)) * world.config.final.leaders
    seconds = None if planned is None else (planned + final) * step.seconds
    return found | {"search": planned, "final": final, "seconds": seconds}
