"""Candidates in flight around any strategy that proposes and observes: no waiting for a batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nastk.attempts import Attempt, Job, Outcome
from nastk.errors import NastkError
from nastk.records import Architecture, Trial, from_json, to_json
from nastk.strategy import AskTellStrategy, StepReport, WrappingStrategy

if TYPE_CHECKING:
    from nastk.search import Search
    from nastk.sections import SearchSettings


class InFlight(WrappingStrategy):
    """Keeps a number of candidates in training; each is told by itself and followed by another.

    First so many are proposed; then one is told and one proposed, in turns. The order of telling
    alone decides what is proposed: that of asking, which is the same whatever runs the candidates;
    that of completion; or a given one, which repeats an earlier run. It is the order of the lines
    of ``candidates.jsonl``. A candidate is told with the number that it was proposed with.

    Args:
        inner: proposes and is told.
        settings: of the section ``[search]``.
    """

    def __init__(self, inner: AskTellStrategy, settings: SearchSettings) -> None:
        super().__init__(inner)
        self.width = settings.in_flight
        self.order = settings.order
        self.given = parse_order(settings.order)
        self.asked = 0
        self.aloft: dict[int, Architecture] = {}
        self.arrived: dict[int, Outcome | None] = {}
        self._sent: set[int] = set()

    def start(self, search: Search) -> None:
        """Take the search."""
        super().start(search)
        self.inner.start(search)

    def step(self) -> StepReport:
        """Propose until enough are in flight, then wait for one and tell it."""
        attempt = self.search.attempts(self.inner.budget)
        self._fill(attempt)
        number = self._next()
        architecture, outcome = self.aloft.pop(number), self.arrived.pop(number)
        told = self.search.enter(architecture, number, attempt, outcome).trial
        self.inner.trials.append(told)
        self.inner.tell([told])
        self._release(attempt.key(architecture), attempt)
        return self.inner.report()

    # -- proposals and arrivals ------------------------------------------------------------------

    def _fill(self, attempt: Attempt) -> None:
        """Send what a resumed run had in flight, and new candidates until there are enough."""
        for number in [n for n in self.aloft if n not in self._sent | set(self.arrived)]:
            self._send(number, attempt)
        while len(self.aloft) < self.width and self.asked < self.inner.candidates:
            number, self.asked = self.asked, self.asked + 1
            self.aloft[number] = self.inner.propose(number)
            self._send(number, attempt)

    def _send(self, number: int, attempt: Attempt) -> None:
        """Submit a candidate, unless its outcome is known or on its way under another number."""
        key = attempt.key(self.aloft[number])
        if key in self.search.memory.trials:
            self.arrived[number] = None
            return
        self._sent.add(number)
        twins = [n for n, a in self.aloft.items() if n < number and attempt.key(a) == key]
        if not twins:
            self.search.executor.submit(attempt, Job(number, self.aloft[number]))

    def _release(self, key: str, attempt: Attempt) -> None:
        """Let those arrive that wait for the outcome that was just told."""
        for number, architecture in self.aloft.items():
            if number not in self.arrived and attempt.key(architecture) == key:
                self.arrived[number] = None

    def _next(self) -> int:
        """Wait until the candidate that is to be told next has arrived, and return its number."""
        while True:
            number = self._due()
            if number in self.arrived:
                return number
            job, outcome = self.search.executor.collect()
            self.arrived[job.number] = outcome

    def _due(self) -> int:
        if self.order == "completed":
            return next(iter(self.arrived), -1)
        if self.order == "asked":
            return min(self.aloft)
        told = len(self.inner.trials)
        number = self.given[told] if told < len(self.given) else -1
        if number in self.aloft:
            return number
        raise NastkError(
            f"search.order: the {told + 1}. candidate to be told is {number}, in flight are "
            f"{', '.join(map(str, self.aloft))}",
            "was the order recorded with another search.in_flight?",
        )

    # -- state ---------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return the inner strategy, what is in flight, and what has arrived and was not told."""
        return {
            "inner": self.inner.state_dict(),
            "asked": self.asked,
            "aloft": [[number, to_json(a)] for number, a in self.aloft.items()],
            "arrived": [
                [number, None if outcome is None else to_json(outcome.trial)]
                for number, outcome in self.arrived.items()
            ],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned; what was in training begins anew."""
        self.inner.load_state_dict(state["inner"])
        self.asked, self._sent = state["asked"], set()
        self.aloft = {number: from_json(Architecture, a) for number, a in state["aloft"]}
        self.arrived = {
            number: None if trial is None else Outcome(from_json(Trial, trial))
            for number, trial in state["arrived"]
        }


def parse_order(text: str) -> tuple[int, ...]:
    """Return the numbers of ``search.order``; empty where it is a word."""
    if text in ("asked", "completed"):
        return ()
    return tuple(int(word) for word in text.split(","))


def unfit_to_fly(strategy: AskTellStrategy, settings: SearchSettings, search: Search) -> str:
    """Return one line why candidates cannot be kept in flight, else empty."""
    if settings.halving or settings.inherit != "none":
        return "a rung, or weights left by others, wait for whole batches; use one of the two"
    if type(strategy).propose is AskTellStrategy.propose:
        return f"strategy '{strategy.name}' proposes whole batches only"
    if search.evaluator.together:
        return f"evaluator '{search.evaluator.name}' measures whole batches together"
    given = parse_order(settings.order)
    if given and sorted(given) != list(range(strategy.candidates)):
        return f"search.order must hold every number from 0 to {strategy.candidates - 1} once"
    return ""
