"""``Search``: what a strategy is handed, its whole world."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import define, evolve, field

from nastk.attempts import (
    CANDIDATES,
    Attempt,
    Job,
    Outcome,
    begin,
    candidate_of,
    measure,
    reason_of,
    status_of,
)
from nastk.errors import NastkError
from nastk.executor import Executor, InProcess
from nastk.inheritance import INHERIT, Estate
from nastk.ledger import Ledger
from nastk.randomness import Randomness
from nastk.records import Architecture, Budget, Cost, Task, Trial, from_json, to_json

if TYPE_CHECKING:
    from nastk.dataset import Dataset
    from nastk.evaluator import Evaluator
    from nastk.objective import Objective
    from nastk.quarantine import Quarantine
    from nastk.space import SearchSpace
    from nastk.trainer import Trainer

__all__ = [
    "CANDIDATES",
    "KNOWN",
    "Memory",
    "Search",
    "begin",
    "candidate_of",
    "measure",
    "reason_of",
    "status_of",
]

KNOWN = "known from candidate "
"""Begins the reason of a trial that was answered from memory; the number follows."""


@define
class Memory:
    """What one run remembers across steps, strategies and narrowed spaces.

    Attributes:
        trials: (fingerprint, budget) → the trial that was run for it.
        max_failures: failed candidates that the run bears.
        estate: trained weights for later candidates; None: all begin from scratch.
    """

    trials: dict[str, Trial] = field(factory=dict)
    max_failures: int = 20
    estate: Estate | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return the trials, and the weights that are kept."""
        return {
            "trials": {key: to_json(trial) for key, trial in self.trials.items()},
            "estate": None if self.estate is None else self.estate.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.trials = {key: from_json(Trial, trial) for key, trial in state["trials"].items()}
        if self.estate is not None:
            self.estate.load_state_dict(state.get("estate") or [])


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
        quarantine: what may not be tried any more; None: nothing is watched.
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
    quarantine: Quarantine | None = None

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
        """Train each architecture, measure it on validation, and record it.

        Candidate ``n`` draws from ``randomness.child("candidate/n")``, so its outcome does not
        depend on when or where it runs. Its weights begin from scratch, or, where the memory has
        an estate, with those of the nearest candidate of the batches before.

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
        outcomes = self.attempt(architectures, self.attempts(budget), first_number, reuse=reuse)
        return [outcome.trial for outcome in outcomes]

    def attempts(self, budget: Budget) -> Attempt:
        """Return how candidates of this search are tried with ``budget`` each."""
        attempt = Attempt(self.space, self.trainer, self.evaluator, self.randomness, budget)
        return evolve(attempt, bequeaths=self.memory.estate is not None)

    def attempt(
        self,
        architectures: Sequence[Architecture],
        attempt: Attempt,
        first_number: int = 0,
        *,
        reuse: bool = True,
    ) -> list[Outcome]:
        """Do as :meth:`evaluate`, in the way that ``attempt`` says.

        What is answered from memory comes without state and bequest.
        """
        seen = set(self.memory.trials) if reuse else set()
        jobs = []
        for number, architecture in enumerate(architectures, first_number):
            if not (reuse and attempt.key(architecture) in seen):
                jobs.append(Job(number, architecture, self._heirloom(architecture)))
                seen.add(attempt.key(architecture))
        ran = iter(attempt.run(jobs, self.executor))
        fresh = {job.number for job in jobs}
        outcomes = []
        for number, architecture in enumerate(architectures, first_number):
            outcome = next(ran) if number in fresh else None
            outcomes.append(self.enter(architecture, number, attempt, outcome))
        return outcomes

    def resume(
        self, jobs: Sequence[Job], attempt: Attempt, origins: Sequence[Trial]
    ) -> list[Outcome]:
        """Train candidates further that were tried before, measure and record them.

        Args:
            jobs: with the states of their trainings.
            attempt: its budget is what they reach, its ``done`` what they have.
            origins: what came of each before; whom it inherited from is handed on.

        Raises:
            NastkError: more candidates failed than the run bears.
        """
        found = []
        for outcome, origin in zip(attempt.run(jobs, self.executor), origins, strict=True):
            trial = evolve(outcome.trial, parent=origin.parent, inherited=origin.inherited)
            found.append(
                self.enter(trial.architecture, trial.number, attempt, evolve(outcome, trial=trial))
            )
        return found

    def _heirloom(self, architecture: Architecture) -> Any:
        estate = self.memory.estate
        return None if estate is None else estate.nearest(architecture)

    def enter(
        self, architecture: Architecture, number: int, attempt: Attempt, outcome: Outcome | None
    ) -> Outcome:
        """Return the outcome, entered in ledger, memory and journal; None: known from memory.

        Raises:
            NastkError: more candidates failed than the run bears.
        """
        if outcome is None:
            outcome = Outcome(self._recall(attempt.key(architecture), number), recalled=True)
        else:
            self._pay(outcome, attempt)
            self.memory.trials[attempt.key(architecture)] = outcome.trial
            if self.memory.estate is not None:
                self.memory.estate.offer(outcome.trial, outcome.bequest)
        self._record(outcome.trial)
        return outcome

    def _pay(self, outcome: Outcome, attempt: Attempt) -> None:
        trial = outcome.trial
        failed = trial.status not in ("ok", "pruned")  # a pruned candidate did as it was told
        copying = Cost(seconds=outcome.inheriting)
        if copying != Cost():
            self.ledger.enter(INHERIT, copying)
        self.ledger.enter(attempt.phase, trial.cost - copying, failed=failed)
        self.ledger.trials += not attempt.done
        self.ledger.failures += failed
        if trial.status == "pruned" and attempt.budget.unit == "steps":
            self.ledger.saved += round(attempt.budget.amount - attempt.done) - trial.cost.steps

    def _recall(self, key: str, number: int) -> Trial:
        known = self.memory.trials[key]
        self.ledger.reused += 1
        reason = f"{KNOWN}{known.number}"
        if not known.ok:
            reason = f"{reason}: {known.reason}"
        return evolve(known, number=number, cost=Cost(), reason=reason)

    def _record(self, trial: Trial) -> None:
        codes = self.space.encode(trial.architecture)
        self.emit("trial", trial=trial, codes=codes)
        if self.ledger.failures > self.memory.max_failures:
            raise NastkError(
                f"candidate {trial.number} failed ({trial.reason}): {self.ledger.failures} "
                f"candidates failed, expected at most {self.memory.max_failures}",
                "see the reasons in candidates.jsonl, or raise engine.max_failures",
            )
