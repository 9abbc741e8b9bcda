"""One candidate tried: built, trained and measured, in any process; a failure is an outcome."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import define, evolve, field, frozen

from nastk.errors import TrialError
from nastk.evaluator import Candidate
from nastk.records import Architecture, Budget, Cost, Evaluation, Status, Trial
from nastk.trainer import Pair, Plan, Training

if TYPE_CHECKING:
    from nastk.dataset import SplitName
    from nastk.evaluator import Evaluator
    from nastk.executor import Executor
    from nastk.inheritance import Heirloom
    from nastk.randomness import Randomness
    from nastk.space import SearchSpace
    from nastk.trainer import Trainer

FAILURES = (TrialError, RuntimeError)
"""What makes a candidate a failed one; anything else is a defect and ends the run."""

CANDIDATES = "candidates"
"""Ledger phase of candidates that are trained in one go."""


@frozen
class Job:
    """A candidate to try, or to try further.

    Attributes:
        number: of the candidate in the run.
        architecture: complete.
        heirloom: weights to begin with, None: drawn ones.
        state: of a training that is to be continued; None: a new one.
    """

    number: int
    architecture: Architecture
    heirloom: Heirloom | None = None
    state: Mapping[str, Any] | None = field(default=None, eq=False, repr=False)


@frozen
class Outcome:
    """What came of a job.

    Attributes:
        trial: the record of it; its cost is that of this job alone.
        candidate: to be measured together with others, where the evaluator wants that.
        state: of the training, where it is to be kept.
        bequest: the trained weights, where they are to be kept.
        inheriting: seconds spent on copying weights, a part of the cost.
        recalled: answered from memory, at no cost.
    """

    trial: Trial
    candidate: Candidate | None = None
    state: Mapping[str, Any] | None = field(default=None, eq=False, repr=False)
    bequest: Any = field(default=None, eq=False, repr=False)
    inheriting: float = 0.0
    recalled: bool = False


@frozen
class Attempt:
    """Everything needed to try candidates alike, in any process.

    Attributes:
        space: the candidates' space.
        trainer: builds and trains.
        evaluator: measures.
        randomness: of the run; only children and fixed streams are used.
        budget: that the training of each reaches.
        split: real images to measure against.
        horizon: that schedules are laid out for; None: the budget.
        rung: of successive halving, None without.
        done: of the budget, in its unit, by the trainings that are continued.
        resumable: the outcomes are to hold the trainings' states.
        bequeaths: the outcomes are to hold the trained weights.
        measured: each is measured by itself; else the outcomes hold candidates to be measured.
    """

    space: SearchSpace
    trainer: Trainer
    evaluator: Evaluator
    randomness: Randomness
    budget: Budget
    split: SplitName = "validation"
    horizon: Budget | None = None
    rung: int | None = None
    done: float = 0.0
    resumable: bool = False
    bequeaths: bool = False
    measured: bool = True

    @property
    def phase(self) -> str:
        """The ledger's phase of this work."""
        return CANDIDATES if self.rung is None else f"rung{self.rung}"

    def key(self, architecture: Architecture) -> str:
        """Return what an outcome depends on, the candidate's number aside."""
        key = f"{architecture.fingerprint}/{self.budget.amount:.15g}/{self.budget.unit}"
        return key if self.horizon is None else f"{key}/of {self.horizon.amount:.15g}"

    def run(self, jobs: Sequence[Job], executor: Executor) -> Iterable[Outcome]:
        """Return what comes of each job, in order, as soon as it is known."""
        if not self.evaluator.builds:
            return predict(self, jobs)
        if self.evaluator.together:
            return judge(self, list(executor.map(evolve(self, measured=False), jobs)))
        return executor.map(self, jobs)

    def __call__(self, job: Job) -> Outcome:
        """Build, train and measure one candidate; a failure is an outcome.

        One that runs out of memory is tried once more in smaller portions, where the trainer can.
        """
        outcome = self._tried(job)
        smaller = self.trainer.smaller() if outcome.trial.status == "out-of-memory" else None
        if smaller is None:
            return outcome
        again = evolve(self, trainer=smaller)._tried(job)
        trial = evolve(again.trial, cost=again.trial.cost + outcome.trial.cost)
        if trial.ok:
            trial = evolve(trial, reason="out of memory at first; trained in smaller portions")
        return evolve(again, trial=trial)

    def _tried(self, job: Job) -> Outcome:
        started, before = time.perf_counter(), Cost()
        trial = Trial(job.number, job.architecture, "ok", Cost(), self.budget, rung=self.rung)
        outcome = Outcome(trial)
        training: Training | None = None
        will = _Will(self.trainer, job.heirloom)
        try:
            training = self.begin(job, will)
            before, outcome = training.cost, will.note(outcome)
            training.advance(Budget(self.budget.amount - self.done, self.budget.unit))
            outcome = self._measured(outcome, training)
        except FAILURES as error:
            failed = evolve(outcome.trial, status=status_of(error), reason=reason_of(error))
            outcome = evolve(outcome, trial=failed)
        cost = Cost() if training is None else training.cost - before
        if training is None or not training.recorded:
            cost = evolve(cost, seconds=time.perf_counter() - started)
        return evolve(outcome, trial=evolve(outcome.trial, cost=cost))

    def refused(self, job: Job, reason: str, status: Status = "crashed") -> Outcome:
        """Return the outcome of a job that was given up, or is not begun any more."""
        trial = Trial(
            job.number, job.architecture, status, Cost(), self.budget, reason=reason,
            rung=self.rung,
        )  # fmt: skip
        return Outcome(trial)

    def begin(self, job: Job, prepare: Callable[[Pair], None] | None = None) -> Training:
        """Return the job's training as it begins, or where its state left it.

        ``prepare`` may change freshly built networks.
        """
        child = self.randomness.child(f"candidate/{job.number}")
        ahead = self.horizon or self.budget
        horizon = round(ahead.amount) if ahead.unit == "steps" else None
        plan = Plan(phase=self.phase, horizon=horizon)
        training = begin(self.trainer, self.space, job.architecture, plan, child, prepare)
        if job.state is not None:
            training.load_state_dict(job.state)
        return training

    def _measured(self, outcome: Outcome, training: Training) -> Outcome:
        architecture = outcome.trial.architecture
        if self.resumable:
            outcome = evolve(outcome, state=training.state_dict())
        if self.bequeaths:
            outcome = evolve(outcome, bequest=self.trainer.bequest(training))
        if not self.measured:
            return evolve(outcome, candidate=candidate_of(training, architecture))
        found = measure(self.evaluator, training, architecture, self.split, self.randomness)
        return evolve(outcome, trial=evolve(outcome.trial, evaluation=found))


@define
class _Will:
    """Puts inherited weights into a pair whose training has not begun."""

    trainer: Trainer
    heirloom: Heirloom | None
    share: float = 0.0
    seconds: float = 0.0

    def __call__(self, pair: Pair) -> None:
        if self.heirloom is not None:
            started = time.perf_counter()
            self.share = self.trainer.inherit(pair, self.heirloom.weights)
            self.seconds = time.perf_counter() - started

    def note(self, outcome: Outcome) -> Outcome:
        """Return the outcome with whose weights they are."""
        if self.heirloom is None:
            return outcome
        trial = evolve(outcome.trial, parent=self.heirloom.number, inherited=self.share)
        return evolve(outcome, trial=trial, inheriting=self.seconds)


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


def judge(attempt: Attempt, trained: Sequence[Outcome]) -> list[Outcome]:
    """Return the outcomes with what the evaluator says of all trained candidates together."""
    candidates = [outcome.candidate for outcome in trained if outcome.candidate is not None]
    for candidate in candidates:
        discriminator: Any = candidate.discriminator
        if getattr(discriminator, "training", False):
            discriminator.eval()
    started = time.perf_counter()
    found = iter(_together(attempt, candidates))
    share = Cost(seconds=(time.perf_counter() - started) / max(1, len(candidates)))
    outcomes = []
    for outcome in trained:
        trial = outcome.trial
        if outcome.candidate is not None:
            said = next(found)
            trial = evolve(trial, cost=trial.cost + share)
            if isinstance(said, Evaluation):
                trial = evolve(trial, evaluation=said)
            else:
                trial = evolve(trial, status=status_of(said), reason=reason_of(said))
        outcomes.append(evolve(outcome, trial=trial, candidate=None))
    return outcomes


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


def predict(attempt: Attempt, jobs: Sequence[Job]) -> list[Outcome]:
    """Return outcomes of an evaluator that scores architectures without building them."""
    if not jobs:
        return []
    started = time.perf_counter()
    candidates = [Candidate(job.architecture, attempt.space) for job in jobs]
    evaluations = attempt.evaluator.evaluate(candidates, attempt.split, attempt.randomness)
    cost = Cost(seconds=(time.perf_counter() - started) / len(jobs))
    return [
        Outcome(Trial(job.number, job.architecture, "ok", cost, attempt.budget, evaluation))
        for job, evaluation in zip(jobs, evaluations, strict=True)
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
