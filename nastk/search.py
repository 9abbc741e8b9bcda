"""``Search``: what a strategy is handed, its whole world."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import define, evolve, field, frozen

from nastk.errors import NastkError, TrialError
from nastk.evaluator import Candidate
from nastk.executor import Executor, InProcess
from nastk.ledger import Ledger
from nastk.randomness import Randomness
from nastk.records import (
    Architecture,
    Budget,
    Cost,
    Evaluation,
    Status,
    Task,
    Trial,
    from_json,
    to_json,
)
from nastk.trainer import Pair, Plan, Training

if TYPE_CHECKING:
    from nastk.dataset import Dataset, SplitName
    from nastk.evaluator import Evaluator
    from nastk.objective import Objective
    from nastk.space import SearchSpace
    from nastk.trainer import Trainer

FAILURES = (TrialError, RuntimeError)
"""What makes a candidate a failed one; anything else is a defect and ends the run."""

CANDIDATES = "candidates"
"""Ledger phase of the candidates that :meth:`Search.evaluate` trains."""


@define
class Memory:
    """What one run remembers across steps, strategies and narrowed spaces.

    Attributes:
        trials: (fingerprint, budget) → the trial that was run for it.
        max_failures: failed candidates that the run bears.
    """

    trials: dict[str, Trial] = field(factory=dict)
    max_failures: int = 20

    def state_dict(self) -> dict[str, Any]:
        """Return the trials."""
        return {"trials": {key: to_json(trial) for key, trial in self.trials.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the trials."""
        self.trials = {key: from_json(Trial, trial) for key, trial in state["trials"].items()}


def _ignore(kind: str, values: Mapping[str, Any]) -> None:
    pass


@define(slots=False)
class Search:
    """A search in progress, as a strategy sees it.

    Attributes:
        space: what is searched; narrow it with :meth:`with_space`.
        task: what the networks map.
        dataset: the real images.
        trainer: builds and trains networks.
        evaluator: measures candidates.
        objective: the adversarial losses the trainer was made with.
        executor: where independent candidates run.
        randomness: named streams of the run; saved and restored by the engine.
        ledger: what was spent so far; saved and restored by the engine.
        seed: of the run.
        device: e.g. ``cpu`` or ``cuda:0``.
        memory: outcomes so far; saved and restored by the engine.
        observer: told of every event as (type, values).
    """

    space: SearchSpace
    task: Task
    dataset: Dataset
    trainer: Trainer
    evaluator: Evaluator
    objective: Objective
    randomness: Randomness
    executor: Executor = field(factory=InProcess)
    ledger: Ledger = field(factory=Ledger)
    seed: int = 0
    device: str = "cpu"
    memory: Memory = field(factory=Memory)
    observer: Callable[[str, Mapping[str, Any]], None] = _ignore

    def with_space(self, space: SearchSpace) -> Search:
        """Return the same search (ledger, memory, randomness shared) over another space."""
        other = copy.copy(self)
        other.space = space
        return other

    def emit(self, kind: str, /, **values: Any) -> None:
        """Tell the run's journal and screens of an event."""
        self.observer(kind, values)

    def spend(self, phase: str, cost: Cost) -> None:
        """Enter ``cost`` in the ledger under ``phase``."""
        self.ledger.enter(phase, cost)

    def evaluate(
        self,
        architectures: Sequence[Architecture],
        budget: Budget,
        first_number: int = 0,
        *,
        reuse: bool = True,
    ) -> list[Trial]:
        """Train each architecture from scratch, measure it on validation, and record it.

        Candidate ``n`` draws from ``randomness.child("candidate/n")``, so its outcome does not
        depend on when or where it runs.

        Args:
            architectures: complete ones of this space.
            budget: of each.
            first_number: number of the first in the run; the others follow.
            reuse: answer an architecture that was tried with this budget before from memory, at
                no cost; its ``reason`` says so.

        Returns:
            One trial each, in order; failed ones too.

        Raises:
            NastkError: more candidates failed than the run bears.
        """
        seen = set(self.memory.trials) if reuse else set()
        tasks = []
        for task in enumerate(architectures, first_number):
            if not (reuse and _key(task[1], budget) in seen):
                tasks.append(task)
                seen.add(_key(task[1], budget))
        fresh = {number for number, _ in tasks}
        outcomes = iter(self._run(tasks, budget))
        trials = []
        for number, architecture in enumerate(architectures, first_number):
            key = _key(architecture, budget)
            trial = (
                self._enter(key, next(outcomes)) if number in fresh else self._recall(key, number)
            )
            self._record(trial)
            trials.append(trial)
        return trials

    def _enter(self, key: str, trial: Trial) -> Trial:
        failed = trial.status not in ("ok", "pruned")  # a pruned candidate did as it was told
        self.memory.trials[key] = trial
        self.ledger.enter(CANDIDATES, trial.cost, failed=failed)
        self.ledger.trials += 1
        self.ledger.failures += failed
        return trial

    def _recall(self, key: str, number: int) -> Trial:
        known = self.memory.trials[key]
        self.ledger.reused += 1
        reason = f"known from candidate {known.number}"
        if not known.ok:
            reason = f"{reason}: {known.reason}"
        return evolve(known, number=number, cost=Cost(), reason=reason)

    def _run(self, tasks: Sequence[tuple[int, Architecture]], budget: Budget) -> Iterable[Trial]:
        attempt = Attempt(self.space, self.trainer, self.evaluator, self.randomness, budget)
        if not self.evaluator.builds:
            return predict(attempt, tasks)
        if self.evaluator.together:
            return judge(attempt, list(self.executor.map(attempt.train, tasks)))
        return self.executor.map(attempt, tasks)

    def _record(self, trial: Trial) -> None:
        codes = self.space.encode(trial.architecture)
        self.emit("trial", trial=trial, codes=codes)
        if self.ledger.failures > self.memory.max_failures:
            raise NastkError(
                f"candidate {trial.number} failed ({trial.reason}): {self.ledger.failures} "
                f"candidates failed, expected at most {self.memory.max_failures}",
                "see the reasons in candidates.jsonl, or raise engine.max_failures",
            )


@frozen
class Attempt:
    """Everything needed to try one candidate, in any process.

    Attributes:
        space: the candidates' space.
        trainer: builds and trains.
        evaluator: measures.
        randomness: of the run; only children and fixed streams are used.
        budget: of each candidate.
        split: real images to measure against.
    """

    space: SearchSpace
    trainer: Trainer
    evaluator: Evaluator
    randomness: Randomness
    budget: Budget
    split: SplitName = "validation"

    def __call__(self, task: tuple[int, Architecture]) -> Trial:
        """Build, train and measure one (number, architecture); a failure is an outcome."""
        return self._try(task, measured=True)[0]

    def train(self, task: tuple[int, Architecture]) -> tuple[Trial, Candidate | None]:
        """Build and train one, to be measured with others; no candidate where it failed."""
        return self._try(task, measured=False)

    def _try(
        self, task: tuple[int, Architecture], *, measured: bool
    ) -> tuple[Trial, Candidate | None]:
        number, architecture = task
        started = time.perf_counter()
        trial = Trial(number, architecture, "ok", Cost(), self.budget)
        training: Training | None = None
        candidate: Candidate | None = None
        try:
            child = self.randomness.child(f"candidate/{number}")
            horizon = round(self.budget.amount) if self.budget.unit == "steps" else None
            plan = Plan(phase=CANDIDATES, horizon=horizon)
            training = begin(self.trainer, self.space, architecture, plan, child)
            training.advance(self.budget)
            if measured:
                evaluation = measure(
                    self.evaluator, training, architecture, self.split, self.randomness
                )
                trial = evolve(trial, evaluation=evaluation)
            else:
                candidate = candidate_of(training, architecture)
        except FAILURES as error:
            trial = evolve(trial, status=status_of(error), reason=reason_of(error))
        cost = Cost() if training is None else training.cost
        trial = evolve(trial, cost=evolve(cost, seconds=time.perf_counter() - started))
        return trial, candidate


def begin(
    trainer: Trainer,
    space: SearchSpace,
    architecture: Architecture,
    plan: Plan,
    randomness: Randomness,
    prepare: Callable[[Pair], None] | None = None,
) -> Training:
    """Return the training of freshly built, derived networks of ``architecture``.

    ``prepare`` may change them before it begins.
    """
    choices = architecture.choices
    pair = Pair(
        trainer.build(space, "generator", choices, randomness),
        trainer.build(space, "discriminator", choices, randomness),
        space,
    )
    if prepare is not None:
        prepare(pair)
    return trainer.begin(pair, plan, randomness)


def measure(
    evaluator: Evaluator,
    training: Training,
    architecture: Architecture,
    split: SplitName,
    randomness: Randomness,
    **extra: Any,
) -> Evaluation:
    """Return what ``evaluator`` says of the networks in ``training``, averaged where kept.

    The discriminator is put into evaluation mode for the time being; nothing advances.
    """
    discriminator: Any = training.pair.discriminator
    was_training = bool(getattr(discriminator, "training", False))
    if was_training:
        discriminator.eval()
    candidate = candidate_of(training, architecture, **extra)
    try:
        return evaluator.evaluate([candidate], split, randomness)[0]
    finally:
        if was_training:
            discriminator.train()


def candidate_of(training: Training, architecture: Architecture, **extra: Any) -> Candidate:
    """Return what an evaluator sees of a training; the discriminator's mode is as it is."""
    return Candidate(
        architecture,
        training.pair.space,
        training.eval_generator(),
        training.pair.discriminator,
        weights="ema" if training.averaged else "live",
        extra=extra,
    )


def judge(attempt: Attempt, trained: Sequence[tuple[Trial, Candidate | None]]) -> list[Trial]:
    """Return the trials with what the evaluator says of all trained candidates together."""
    candidates = [candidate for _, candidate in trained if candidate is not None]
    for candidate in candidates:
        discriminator: Any = candidate.discriminator
        if getattr(discriminator, "training", False):
            discriminator.eval()
    started = time.perf_counter()
    found = iter(_together(attempt, candidates))
    share = Cost(seconds=(time.perf_counter() - started) / max(1, len(candidates)))
    trials = []
    for trial, own in trained:
        if own is not None:
            outcome = next(found)
            trial = evolve(trial, cost=trial.cost + share)
            if isinstance(outcome, Evaluation):
                trial = evolve(trial, evaluation=outcome)
            else:
                trial = evolve(trial, status=status_of(outcome), reason=reason_of(outcome))
        trials.append(trial)
    return trials


def _together(attempt: Attempt, candidates: Sequence[Candidate]) -> list[Evaluation | Exception]:
    """Return an evaluation of each in one call; where that fails, the faults of the faulty ones."""
    if not candidates:
        return []
    try:
        return [*attempt.evaluator.evaluate(candidates, attempt.split, attempt.randomness)]
    except FAILURES as error:
        fault = error
    if len(candidates) == 1:
        return [fault]
    alone = [_together(attempt, [candidate])[0] for candidate in candidates]
    sound = [c for c, found in zip(candidates, alone, strict=True) if isinstance(found, Evaluation)]
    if len(sound) == len(candidates):
        return [fault for _ in candidates]
    again = iter(_together(attempt, sound))
    return [next(again) if isinstance(found, Evaluation) else found for found in alone]


def predict(attempt: Attempt, tasks: Sequence[tuple[int, Architecture]]) -> list[Trial]:
    """Return trials of an evaluator that scores architectures without building them."""
    if not tasks:
        return []
    started = time.perf_counter()
    candidates = [Candidate(architecture, attempt.space) for _, architecture in tasks]
    evaluations = attempt.evaluator.evaluate(candidates, attempt.split, attempt.randomness)
    cost = Cost(seconds=(time.perf_counter() - started) / len(tasks))
    return [
        Trial(number, architecture, "ok", cost, attempt.budget, evaluation)
        for (number, architecture), evaluation in zip(tasks, evaluations, strict=True)
    ]


def status_of(error: Exception) -> Status:
    """Return the status of a candidate that ended with ``error``."""
    if isinstance(error, TrialError):
        return error.status  # type: ignore[return-value]
    memory = type(error).__name__ == "OutOfMemoryError" or "not enough memory" in str(error)
    return "out-of-memory" if memory else "crashed"


def reason_of(error: Exception) -> str:
    """Return one line of what went wrong."""
    text = " ".join(str(error).split())[:300]
    return text if isinstance(error, TrialError) else f"{type(error).__name__}: {text}"


def _key(architecture: Architecture, budget: Budget) -> str:
    return f"{architecture.fingerprint}/{budget.amount:.15g}/{budget.unit}"
