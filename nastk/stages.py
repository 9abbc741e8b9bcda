"""The stages of a run: search, retrain the leaders, evaluate the winner.

The engine drives all three the same way: one bounded step at a time, with all state in the open.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

from nastk.assembly import World
from nastk.best import write_best
from nastk.config import parse_budget
from nastk.dataset import SplitName
from nastk.errors import TrialError
from nastk.records import Architecture, Budget, Cost, Evaluation, Leader, from_json, to_json
from nastk.rundir import RunFolder
from nastk.search import begin, measure, reason_of, status_of
from nastk.strategy import StepReport
from nastk.trainer import Pair, Plan, Progress, Training

RETRAIN = "retrain"
"""Ledger phase of the final training."""

EVALUATE = "evaluate"
"""Ledger phase of measuring finalists and winner."""

OUTSIDE_BUDGET = (RETRAIN, EVALUATE)
"""Ledger phases that the search's budget does not cover."""

CHUNK = 100
"""Generator updates of one step of the final training, at most."""

LEADERS_TOLD = 10
"""Leaders that the event ``leaders`` holds."""


class Stage(ABC):
    """One part of a run.

    Life: constructed → ``start`` → ``load_state_dict`` if resumed → ``step`` until its report says
    done, with ``state_dict`` between steps → ``outcome``.

    Args:
        world: the parts of the run.
        folder: where the run is kept.

    Attributes:
        name: unique within the run.
        began: told of every final training after its first update; set by whoever wants to know.
    """

    name: str
    began: Callable[[Training], None] | None = None

    def __init__(self, world: World, folder: RunFolder) -> None:
        self.world = world
        self.search = world.search
        self.folder = folder

    @abstractmethod
    def start(self, outcomes: Mapping[str, Any]) -> None:
        """Take the outcomes of the stages before; draws and spends nothing."""

    @abstractmethod
    def step(self) -> StepReport:
        """Do one bounded piece of work."""

    @abstractmethod
    def outcome(self) -> dict[str, Any]:
        """Return what later stages need, as a state tree; called when done."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Return everything that changes, as a state tree."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""

    def pictures(self) -> Any:
        """Return ``(N, C, H, W)`` images in [-1, 1] for the sheet, or None."""
        return None


class SearchStage(Stage):
    """Steps the strategy until it is done or the budget is spent."""

    name = "search"

    def start(self, outcomes: Mapping[str, Any]) -> None:
        """Start the strategy."""
        self.world.strategy.start(self.search)

    def step(self) -> StepReport:
        """Do one step of the strategy."""
        report = self.world.strategy.step()
        used = self.search.ledger.share(self.world.budget, without=OUTSIDE_BUDGET)
        if self.world.budget is not None:
            report.share = min(1.0, max(used, report.share or 0.0))
        report.done = report.done or used >= 1.0
        return report

    def outcome(self) -> dict[str, Any]:
        """Return the leaders, best first, with some in reserve for those that fail."""
        self.search.executor.close()  # whatever workers hold is free for the training to come
        leaders = self.world.strategy.leaders()
        engine, final = self.world.config.engine, self.world.config.final
        best = [self._told(x) for x in leaders[:LEADERS_TOLD]]
        going = min(final.leaders, len(leaders))
        self.search.emit("leaders", found=len(leaders), going_on=going, leaders=best)
        told = [to_json(x) for x in leaders[: final.leaders + engine.max_failures]]
        kept = self.world.strategy.kept()
        return {"leaders": told} | ({} if kept is None else {"kept": kept})

    def state_dict(self) -> dict[str, Any]:
        """Return the strategy's state."""
        return self.world.strategy.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the strategy's state."""
        self.world.strategy.load_state_dict(state)

    def pictures(self) -> Any:
        """Return the strategy's pictures."""
        return self.world.strategy.pictures()

    def _told(self, leader: Leader) -> dict[str, Any]:
        return {**to_json(leader), "codes": self.search.space.encode(leader.architecture)}


class RetrainStage(Stage):
    """Trains the leaders from scratch under one recipe and keeps the best on validation.

    A leader that fails is recorded, and the next one takes its place.
    """

    name = "retrain"

    def start(self, outcomes: Mapping[str, Any]) -> None:
        """Queue the leaders."""
        self.length = final_length(self.world)
        self.queue = [from_json(Leader, x).architecture for x in outcomes["search"]["leaders"]]
        self.kept = outcomes["search"].get("kept")
        self.index = 0
        self.trained = 0.0
        self.training: Training | None = None
        self.finalists: list[dict[str, Any]] = []
        self.best: dict[str, Any] | None = None
        self.shown: Any = None

    @property
    def over(self) -> bool:
        """Whether enough leaders were retrained, or none are left."""
        good = sum(finalist["status"] == "ok" for finalist in self.finalists)
        return good >= self.world.config.final.leaders or self.index >= len(self.queue)

    def step(self) -> StepReport:
        """Train the current leader for a chunk; measure it when its training is over."""
        if self.over:
            return StepReport("no leader to retrain", done=True)
        training = self._current()
        before, progress = training.cost, None
        quarantine = self.search.quarantine
        try:
            with quarantine.trying(f"leader {self.index}") if quarantine else nullcontext():
                progress = self._advance(training)
                self.trained = spent_share(self.length, training.cost)
                if self.trained >= 1.0:
                    self._measure(training)
        except (TrialError, RuntimeError) as error:
            self._close({"status": status_of(error), "reason": reason_of(error)})
        cost = training.cost - before
        self.search.ledger.enter(RETRAIN, cost, failed=progress is None)
        return self._report(progress)

    def outcome(self) -> dict[str, Any]:
        """Return the best finalist with its trained state, and all finalists without."""
        return {"finalists": self.finalists, "best": self.best}

    def state_dict(self) -> dict[str, Any]:
        """Return position, finalists, and the state of the running training and of the best."""
        return {
            "index": self.index,
            "trained": self.trained,
            "finalists": self.finalists,
            "best": self.best,
            "training": None if self.training is None else self.training.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.index, self.trained = state["index"], state["trained"]
        self.finalists, self.best = list(state["finalists"]), state["best"]
        if state["training"] is not None:
            self._current().load_state_dict(state["training"])

    def pictures(self) -> Any:
        """Return pictures of the leader in training."""
        return self.shown if self.training is None else self.training.pictures()

    def _current(self) -> Training:
        if self.training is None:
            architecture = self.queue[self.index]
            self.training = begin_final(self.world, architecture, self.index, self.kept)
        return self.training

    def _advance(self, training: Training) -> Progress:
        """Train for a chunk; only after its first update is all of a training's state there."""
        ahead = updates_ahead(self.length, training.cost)
        if training.cost.steps:
            return training.advance(Budget(ahead))
        progress = training.advance(Budget(1))
        if self.began is not None:
            self.began(training)
        return training.advance(Budget(ahead - 1)) if ahead > 1 else progress

    def _measure(self, training: Training) -> None:
        found = measure_final(self.world, training, self.queue[self.index], "validation")
        self.shown = training.pictures()
        self._close({"status": "ok", "evaluation": to_json(found)})

    def _close(self, result: Mapping[str, Any]) -> None:
        architecture = self.queue[self.index]
        entry = {"index": self.index, "architecture": to_json(architecture), **result}
        codes = self.search.space.encode(architecture)
        self.search.emit("finalist", codes=codes, **entry)
        self.finalists.append(entry)
        if entry["status"] == "ok" and self._is_better(entry):
            assert self.training is not None
            self.best = {**entry, "training": self.training.state_dict()}
        self.index, self.trained, self.training = self.index + 1, 0.0, None

    def _is_better(self, entry: Mapping[str, Any]) -> bool:
        return self.best is None or self._rank(entry) < self._rank(self.best)

    def _rank(self, entry: Mapping[str, Any]) -> float:
        """Return a number that is smaller for the better; unmeasured is worst."""
        evaluation: Evaluation = from_json(Evaluation, entry["evaluation"])
        known = self.search.evaluator.metrics
        name = "rating" if "rating" in known else next(iter(known))
        value = evaluation.value(name)
        if value is None:
            return float("inf")
        return value if known[name] == "minimise" else -value

    def _report(self, progress: Progress | None) -> StepReport:
        wanted = self.world.config.final.leaders
        good = sum(finalist["status"] == "ok" for finalist in self.finalists)
        goal = min(wanted, len(self.queue))
        return StepReport(
            message=f"retraining leader {min(good + 1, goal)}/{goal}",
            done=self.over,
            share=min(1.0, (good + min(1.0, self.trained)) / wanted),
            values={} if progress is None else dict(progress.losses),
        )


class EvaluateStage(Stage):
    """Measures the best finalist, on the test split unless told otherwise; writes ``best/``."""

    name = "evaluate"

    def start(self, outcomes: Mapping[str, Any]) -> None:
        """Take the best finalist."""
        self.best: Mapping[str, Any] | None = outcomes["retrain"]["best"]
        self.metrics: Mapping[str, Any] = {}
        self.shown: Any = None

    def step(self) -> StepReport:
        """Measure and write, in one step."""
        if self.best is None:
            return StepReport("no architecture to evaluate", done=True)
        architecture = from_json(Architecture, self.best["architecture"])
        training = begin_final(self.world, architecture, self.best["index"])
        training.load_state_dict(self.best["training"])
        evaluation = self._evaluation(training, architecture)
        self.metrics = to_json(evaluation)["metrics"]
        self.shown = training.pictures()
        self._keep(architecture, training, evaluation)
        return StepReport("winner evaluated", done=True, share=1.0)

    def outcome(self) -> dict[str, Any]:
        """Return the winner and its metrics."""
        if self.best is None:
            return {"architecture": None, "codes": "", "metrics": {}}
        architecture = from_json(Architecture, self.best["architecture"])
        return {
            "architecture": self.best["architecture"],
            "codes": self.search.space.encode(architecture),
            "fingerprint": architecture.fingerprint,
            "metrics": self.metrics,
        }

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: the one step is done or not."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore nothing."""

    def pictures(self) -> Any:
        """Return pictures of the winner."""
        return self.shown

    def _keep(self, architecture: Architecture, training: Training, evaluation: Evaluation) -> None:
        write_best(self.folder, self.search.space, architecture, training, evaluation)

    def _evaluation(self, training: Training, architecture: Architecture) -> Evaluation:
        assert self.best is not None
        if not self.world.config.final.evaluate:
            return from_json(Evaluation, self.best["evaluation"])  # type: ignore[no-any-return]
        return measure_final(self.world, training, architecture, self.world.config.final.split)


STAGES: tuple[type[Stage], ...] = (SearchStage, RetrainStage, EvaluateStage)


def final_length(world: World) -> Budget:
    """Return how long a leader is retrained."""
    final = world.config.final
    return parse_budget(final.budget) if final.budget else Budget(final.steps)


def spent_share(length: Budget, cost: Cost) -> float:
    """Return the share of a training's length that ``cost`` is; 1 or more when it is over."""
    return float(getattr(cost, length.unit)) / length.amount


def updates_ahead(length: Budget, cost: Cost) -> int:
    """Return the generator updates until the next look, at least 1 and at most :data:`CHUNK`.

    What an update costs in units other than steps is known after the first one.
    """
    spent = float(getattr(cost, length.unit))
    if length.unit == "steps":
        return min(CHUNK, round(length.amount - spent))
    if not spent:
        return 1
    return max(1, min(CHUNK, math.ceil((length.amount - spent) * cost.steps / spent)))


def begin_final(world: World, architecture: Architecture, index: int, kept: Any = None) -> Training:
    """Return the final training of the leader at ``index``, at its beginning.

    What the search kept is given to the strategy to put into the networks.
    """
    seed = world.config.final.seed
    child = world.search.randomness.child(f"final/{index}" + (f"/{seed}" if seed else ""))
    length = final_length(world)
    horizon = round(length.amount) if length.unit == "steps" else None
    plan = Plan(phase=RETRAIN, horizon=horizon)
    search = world.search

    def prepare(pair: Pair) -> None:
        if kept is not None:
            world.strategy.prepare_retraining(search, pair, kept)

    return begin(search.trainer, search.space, architecture, plan, child, prepare)


def measure_final(
    world: World, training: Training, architecture: Architecture, split: SplitName
) -> Evaluation:
    """Return what the evaluator says of a finally trained network; its time is in the ledger."""
    started = time.perf_counter()
    search, samples = world.search, world.config.final.samples
    found = measure(
        search.evaluator, training, architecture, split, search.randomness, samples=samples
    )
    search.ledger.enter(EVALUATE, Cost(seconds=time.perf_counter() - started))
    return found
