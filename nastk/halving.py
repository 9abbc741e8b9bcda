"""Successive halving around any strategy that proposes and observes: short trainings first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

from attrs import define, evolve, field, fields, frozen

from nastk.attempts import Job, Outcome
from nastk.flight import InFlight, unfit_to_fly
from nastk.inheritance import Estate
from nastk.records import Architecture, Budget, Trial, from_json, to_json
from nastk.search import Search
from nastk.strategy import AskTellStrategy, Means, StepReport, Strategy, WrappingStrategy

if TYPE_CHECKING:
    from nastk.sections import SearchSettings


@frozen
class Schedule:
    """How long candidates train, and how many go on.

    Attributes:
        steps: training that each rung reaches, rising; the last is the strategy's own.
        sizes: candidates of each bracket; in bracket b all reach rung b before any choice.
        factor: of so many candidates one goes on.
    """

    steps: tuple[int, ...]
    sizes: tuple[int, ...]
    factor: int

    @classmethod
    def of(cls, settings: SearchSettings, steps: int, candidates: int) -> Schedule:
        """Return the schedule for trainings of ``steps`` and so many candidates in all.

        Source: Jamieson & Talwalkar 2016 (arXiv:1502.07943), Li et al. 2018 (arXiv:1603.06560)
        for the sizes of brackets, scaled to the given number. Differs: every candidate is
        measured at the first rung, whichever bracket it is in.
        """
        factor, rungs = settings.halving, settings.rungs
        lengths = tuple(steps // factor**k for k in reversed(range(rungs)))
        left = [rungs - 1 - b for b in range(settings.brackets)]
        weights = [factor**s / (s + 1) for s in left]
        ends = [round(candidates * w / sum(weights)) for w in accumulate(weights)]
        return cls(lengths, tuple(b - a for a, b in pairwise([0, *ends])), factor)

    def quota(self, bracket: int, rung: int, count: int) -> int:
        """Return how many of ``count`` candidates go on from a rung."""
        if rung + 1 == len(self.steps):
            return 0
        return count if rung < bracket else max(1, count // self.factor)

    def before(self, rung: int) -> int:
        """Return the steps that a candidate has when it enters a rung."""
        return self.steps[rung - 1] if rung else 0

    def planned(self) -> int:
        """Return the steps of all brackets together when nothing fails."""
        total = 0
        for bracket, count in enumerate(self.sizes):
            for rung, steps in enumerate(self.steps):
                total += count * (steps - self.before(rung))
                count = self.quota(bracket, rung, count)
        return total


@define(slots=False)
class RungSearch(Search):
    """A search whose candidates are trained for the first rung only, and may go on later.

    Attributes:
        first: steps of the first rung.
        outcomes: of all evaluations since it was last emptied, states included.
    """

    first: int = 1
    outcomes: list[Outcome] = field(factory=list)

    @classmethod
    def around(cls, search: Search, first: int) -> RungSearch:
        """Return a search that shares everything with ``search``."""
        return cls(**{f.name: getattr(search, f.name) for f in fields(Search)}, first=first)

    def evaluate(
        self,
        architectures: Sequence[Architecture],
        budget: Budget,
        first_number: int = 0,
        *,
        reuse: bool = True,
    ) -> list[Trial]:
        """Do as :meth:`Search.evaluate` for the first part of ``budget``."""
        attempt = self.attempts(Budget(self.first))
        attempt = evolve(attempt, horizon=budget, rung=0, resumable=True)
        outcomes = self.attempt(architectures, attempt, first_number, reuse=reuse)
        self.outcomes.extend(outcomes)
        return [outcome.trial for outcome in outcomes]


class Halving(WrappingStrategy):
    """Trains all candidates briefly and the better ones longer, from where they stood.

    The inner strategy proposes as ever and is told what its candidates score at the first rung,
    so that all its scores are of one fidelity. When a bracket has its candidates, the best of
    each rung go on to the next: their trainings continue, bit for bit as if they had never
    stopped. Failed candidates never go on.

    Args:
        inner: proposes and is told.
        settings: of the section ``[search]``.
    """

    def __init__(self, inner: AskTellStrategy, settings: SearchSettings) -> None:
        super().__init__(inner)
        self.settings = settings
        self.schedule = Schedule.of(settings, round(inner.budget.amount), inner.candidates)
        self.bracket = 0
        self.rung = 0
        self.field: list[Trial] = []
        self.queue: list[Trial] = []
        self.states: dict[str, Any] = {}
        self.width = 1
        self.asked_all = False
        self.trained = 0

    @property
    def waiting(self) -> int:
        """About how many trainings of candidates its state holds at most."""
        if len(self.inner.objectives) > 1:
            return max(self.schedule.sizes)
        return max(self.schedule.quota(b, 0, n) for b, n in enumerate(self.schedule.sizes))

    # -- life ----------------------------------------------------------------------------------

    def start(self, search: Search) -> None:
        """Take the search; the inner strategy sees one that trains for the first rung only."""
        super().start(search)
        self.shortened = RungSearch.around(search, self.schedule.steps[0])
        self.inner.start(self.shortened)

    def step(self) -> StepReport:
        """Have a batch proposed and trained for the first rung, or train a batch further."""
        report = self._climb() if self.queue else self._gather()
        if not self.queue:
            report.milestone = True
        report.done = self.asked_all and not self.queue
        report.share = min(1.0, self.trained / self.schedule.planned())
        report.share = 1.0 if report.done else report.share
        values = {k: v for k, v in report.values.items() if k != "best"}
        report.values = {**values, **self._bests()}
        return report

    def state_dict(self) -> dict[str, Any]:
        """Return the inner strategy, the standing of the bracket and all trainings that wait."""
        return {
            "inner": self.inner.state_dict(),
            "promoted": [to_json(trial) for trial in self.inner.promoted],
            "bracket": self.bracket,
            "rung": self.rung,
            "field": [to_json(trial) for trial in self.field],
            "queue": [to_json(trial) for trial in self.queue],
            "states": dict(self.states),
            "width": self.width,
            "asked_all": self.asked_all,
            "trained": self.trained,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.inner.load_state_dict(state["inner"])
        self.inner.promoted = [from_json(Trial, t) for t in state["promoted"]]
        self.bracket, self.rung = state["bracket"], state["rung"]
        self.field = [from_json(Trial, t) for t in state["field"]]
        self.queue = [from_json(Trial, t) for t in state["queue"]]
        self.states = dict(state["states"])
        self.width, self.asked_all = state["width"], state["asked_all"]
        self.trained = state["trained"]

    # -- rungs ---------------------------------------------------------------------------------

    def _gather(self) -> StepReport:
        """Let the inner strategy do a step at the first rung."""
        report = self.inner.step()
        outcomes, self.shortened.outcomes = self.shortened.outcomes, []
        self.asked_all = report.done
        self.width = max(self.width, len(outcomes))
        self._take([outcome for outcome in outcomes if not outcome.recalled])
        self.trained += self.schedule.steps[0] * sum(outcome.recalled for outcome in outcomes)
        report.message = f"{report.message} at rung 0 ({self.schedule.steps[0]} steps)"
        if self.asked_all or len(self.field) >= self.schedule.sizes[self.bracket]:
            self._choose()
        else:
            self._forget()
        return report

    def _climb(self) -> StepReport:
        """Train the next ones of the queue for the current rung; choose when it is empty."""
        batch, self.queue = self.queue[: self.width], self.queue[self.width :]
        jobs = [Job(t.number, t.architecture, state=self.states.pop(str(t.number))) for t in batch]
        steps = self.schedule.steps[self.rung]
        attempt = evolve(
            self.search.attempts(Budget(steps)),
            horizon=self.inner.budget,
            rung=self.rung,
            done=self.schedule.before(self.rung),
            resumable=self.rung + 1 < len(self.schedule.steps),
        )
        outcomes = self.search.resume(jobs, attempt, origins=batch)
        self._take(outcomes)
        told = [outcome.trial for outcome in outcomes]
        self.inner.promoted.extend(told)
        self.inner.tell_promoted(told)
        count = len(self.field) + len(self.queue)
        report = StepReport(
            f"candidate {len(self.field)}/{count} at rung {self.rung} ({steps} steps)"
        )
        if not self.queue:
            self._choose()
        return report

    def _take(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            self.field.append(outcome.trial)
            if outcome.trial.ok and outcome.state is not None:
                self.states[str(outcome.trial.number)] = outcome.state
        gained = self.schedule.steps[self.rung] - self.schedule.before(self.rung)
        self.trained += gained * len(outcomes)

    def _choose(self) -> None:
        """End a rung: queue its best for the next one, or begin the next bracket."""
        quota = self.schedule.quota(self.bracket, self.rung, len(self.field))
        ranked = self.inner.order(self.field)
        self.queue = ranked[:quota]
        ahead = self.schedule.steps[-1] - self.schedule.steps[self.rung]
        stopped = [trial for trial in self.field if trial.ok and trial not in self.queue]
        self.search.ledger.saved += ahead * len(stopped)
        self._tell(ranked)
        self._hold(self.queue)
        self.field = []
        self.rung += 1
        if not self.queue:
            self.rung = 0
            self.bracket = min(self.bracket + 1, len(self.schedule.sizes) - 1)

    def _forget(self) -> None:
        """Drop the trainings of those that can no longer go on.

        With several objectives the order of two may turn when a third is known, so all are kept.
        """
        if len(self.inner.objectives) == 1:
            size = max(len(self.field), self.schedule.sizes[self.bracket] + self.width)
            quota = self.schedule.quota(self.bracket, self.rung, size)
            self._hold(self.inner.order(self.field)[:quota])

    def _hold(self, trials: Sequence[Trial]) -> None:
        names = {str(trial.number) for trial in trials}
        self.states = {name: state for name, state in self.states.items() if name in names}

    # -- telling -------------------------------------------------------------------------------

    def _tell(self, ranked: Sequence[Trial]) -> None:
        name = next(iter(self.inner.objectives))
        best = ranked[0].evaluation if ranked else None
        self.search.emit(
            "rung",
            bracket=self.bracket,
            rung=self.rung,
            steps=self.schedule.steps[self.rung],
            candidates=len(self.field),
            failed=sum(not trial.ok for trial in self.field),
            promoted=[trial.number for trial in self.queue],
            metric=name,
            best=None if best is None else best.value(name),
        )

    def _bests(self) -> dict[str, float]:
        """Return the best score of each rung; ``best`` is that of full trainings."""
        found: dict[str, float] = {}
        name = next(iter(self.inner.objectives))
        trials = [*self.inner.trials, *self.inner.promoted]
        for rung in range(len(self.schedule.steps)):
            ranked = self.inner.order([t for t in trials if t.rung == rung])
            value = ranked[0].evaluation.value(name) if ranked and ranked[0].evaluation else None
            if value is not None:
                last = rung + 1 == len(self.schedule.steps)
                found["best" if last else f"best.rung{rung}"] = value
        return found


def refusal(strategy: Strategy, settings: SearchSettings, search: Search) -> str:
    """Return one line why the means of ``[search]`` do not go with the run's parts, else empty."""
    means: list[tuple[Means, bool]] = [
        ("halving", settings.halving > 0),
        ("inherit", settings.inherit != "none"),
        ("in_flight", settings.in_flight > 0),
    ]
    for name in [name for name, wanted in means if wanted]:
        if not isinstance(strategy, AskTellStrategy):
            return f"search.{name} needs a strategy that only proposes candidates and observes"
        if not search.evaluator.builds:
            return f"search.{name}: evaluator '{search.evaluator.name}' trains nothing"
        if name == "halving":
            own = _unfit(strategy, settings)
        elif name == "in_flight":
            own = unfit_to_fly(strategy, settings, search)
        else:
            own = search.trainer.disinherits(search.space)
        if problem := strategy.refuses(name) or own:
            return f"search.{name}: {problem}"
    return ""


def _unfit(strategy: AskTellStrategy, settings: SearchSettings) -> str:
    budget = strategy.budget
    if budget.unit != "steps":
        return f"trainings are counted in {budget.unit}, expected steps"
    least = settings.halving ** (settings.rungs - 1)
    if budget.amount < least:
        return (
            f"{settings.rungs} rungs by {settings.halving} need trainings of at least {least} "
            f"steps, got {budget.amount:.15g}"
        )
    if settings.brackets > settings.rungs:
        return f"got {settings.brackets} brackets, expected at most {settings.rungs}, one per rung"
    if min(Schedule.of(settings, math.ceil(budget.amount), strategy.candidates).sizes) < 1:
        return f"{strategy.candidates} candidates do not fill {settings.brackets} brackets"
    return ""


def economised(strategy: Strategy, settings: SearchSettings, search: Search) -> Strategy:
    """Return the strategy as ``[search]`` wants it, which :func:`refusal` has nothing against.

    Unless something is wanted it is returned as it is. The search's memory gets its estate here.
    """
    if not isinstance(strategy, AskTellStrategy):
        return strategy
    if settings.inherit != "none":
        metric = next(iter(strategy.objectives))
        direction = search.evaluator.metrics.get(metric, "minimise")
        search.memory.estate = Estate(settings.heirlooms, metric, direction)
    if settings.in_flight:
        return InFlight(strategy, settings)
    return Halving(strategy, settings) if settings.halving else strategy
