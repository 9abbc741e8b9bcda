"""``Strategy``: searches a space one bounded step at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Literal

from attrs import define, field

from nastk.records import Architecture, Budget, Leader, Trial

if TYPE_CHECKING:
    from nastk.search import Search
    from nastk.trainer import Pair

Means = Literal["halving", "inherit", "in_flight"]
"""Settings of the section ``[search]`` that a strategy may refuse."""


@define
class StepReport:
    """What one step did.

    Attributes:
        message: one line for the screen and the event log.
        done: the strategy has nothing more to do.
        share: 0 to 1, how much of the planned search is done; None when unknown.
        values: named numbers for the log and the plots.
        milestone: commit a generation now (a phase ended).
    """

    message: str = ""
    done: bool = False
    share: float | None = None
    values: Mapping[str, float] = field(factory=dict)
    milestone: bool = False


class Strategy(ABC):
    """Proposes architectures; owns neither loop, clock, disk nor screen.

    Life: constructed from its config → ``start`` once, in every process → ``load_state_dict`` if
    resumed → ``step`` until done or stopped, with ``state_dict`` between steps → ``leaders``.

    Attributes:
        name: registered name.
    """

    name: str
    search: Search

    def start(self, search: Search) -> None:
        """Take ``search``, the strategy's whole world; spends nothing, draws nothing."""
        self.search = search

    def unsupported(self, search: Search) -> str:
        """Return one line why this search cannot work with this space or task, else empty."""
        return ""

    def fitted(self, steps: float, unit: str) -> Mapping[str, Any]:
        """Return settings of this strategy that make its search cost what a budget buys.

        Asked by comparisons, before the start, for strategies that plan all of their training;
        empty: the settings stand.

        Args:
            steps: training steps of single architectures that the budget pays for.
            unit: of the budget, as in :class:`nastk.records.Budget`.
        """
        return {}

    @abstractmethod
    def step(self) -> StepReport:
        """Do one bounded piece of work (seconds, not minutes)."""

    @abstractmethod
    def leaders(self) -> list[Leader]:
        """Return the best complete architectures so far, best first; may be empty."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Return everything that changes: nested dicts and lists of tensors and JSON values."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""

    def state_bytes(self, search: Search) -> int:
        """Return about the bytes of its largest state, for the estimate before a run.

        Asked before ``start``; nothing is trained. The records of candidates are not counted.
        Default: 0, for strategies that keep no weights; :func:`nastk.nn.inspect.training_bytes`
        helps the others.
        """
        return 0

    def pictures(self) -> Any:
        """Return ``(N, C, H, W)`` images in [-1, 1] for the generation's sheet, or None."""
        return None

    def kept(self) -> Any:
        """Return what the leaders' retraining is to start from, a state tree; default: None.

        Called once, when the search is over.
        """
        return None

    def prepare_retraining(self, search: Search, pair: Pair, kept: Any) -> None:
        """Put what was kept into the freshly built networks of a leader.

        Called before each retraining where :meth:`kept` returned something, perhaps in another
        process and without ``start``.
        """
        raise NotImplementedError


class AskTellStrategy(Strategy):
    """Base of strategies that only propose and observe: fill ``ask`` and ``tell``.

    A step asks for one batch, has it trained and measured, and tells the outcome. Failed trials
    are told too, with their status.

    Attributes:
        trials: all trials so far, in order; all of one fidelity.
        promoted: outcomes of some of them at larger budgets, in order (successive halving).
        objectives: metric name → direction; the first decides ``leaders``.
    """

    trials: list[Trial]
    promoted: list[Trial]

    def __init__(self, *, candidates: int, budget: Budget, objectives: Mapping[str, str]) -> None:
        self.candidates = candidates
        self.budget = budget
        self.objectives = dict(objectives)
        self.trials = []
        self.promoted = []

    @abstractmethod
    def ask(self) -> Sequence[Architecture]:
        """Return a batch of at least one architecture to try next."""

    def propose(self, number: int) -> Architecture:
        """Return candidate ``number``, while earlier ones may still be in training.

        Called instead of :meth:`ask` where candidates are kept in flight (``search.in_flight``),
        for each number once; each is told by itself, in any order. What was proposed and not told
        belongs to the state then. A strategy without it only proposes whole batches.
        """
        raise NotImplementedError

    def tell(self, trials: Sequence[Trial]) -> None:
        """Observe the outcome of a batch; ``self.trials`` already holds it."""

    def tell_promoted(self, trials: Sequence[Trial]) -> None:
        """Observe candidates told before at a larger budget; ``self.promoted`` holds them."""

    def refuses(self, means: Means) -> str:
        """Return one line why a means of the section ``[search]`` will not do, else empty.

        Asked before the start. With ``halving``, what is told are the outcomes of the first rung.
        """
        return ""

    def order(self, trials: Sequence[Trial]) -> list[Trial]:
        """Return the successful ones of trials of one fidelity, best first."""
        sign = self._sign()
        good = [trial for trial in trials if self._is_scored(trial)]
        return sorted(good, key=lambda t: (sign * self._score(t), t.number))

    def step(self) -> StepReport:
        """Ask, evaluate, tell."""
        room = self.candidates - len(self.trials)
        batch = list(self.ask())[:room]
        told = self.search.evaluate(batch, self.budget, first_number=len(self.trials))
        self.trials.extend(told)
        self.tell(told)
        return self.report()

    def report(self) -> StepReport:
        """Return how far the search has come."""
        done = len(self.trials) >= self.candidates
        best = self._ranked()
        values = {"candidates": float(len(self.trials))}
        if best:
            values["best"] = self._score(best[0])
        return StepReport(
            message=f"candidate {len(self.trials)}/{self.candidates}",
            done=done,
            share=len(self.trials) / self.candidates,
            values=values,
            milestone=done,
        )

    def leaders(self) -> list[Leader]:
        """Return distinct successful architectures, those of larger budgets first.

        Among equal budgets the better ones come first, as :meth:`order` says; of several groups
        of scores, the best of each, then the second of each, and so on.
        """
        return [
            Leader(t.architecture, self._score(t), self._objective_values(t))
            for t in self._ranked()
        ]

    def state_dict(self) -> dict[str, Any]:
        """Return the trials; subclasses add their own state."""
        from nastk.records import to_json

        return {"trials": [to_json(t) for t in self.trials]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the trials."""
        from nastk.records import from_json

        self.trials = [from_json(Trial, t) for t in state["trials"]]

    def _score(self, trial: Trial) -> float:
        assert trial.evaluation is not None
        value = trial.evaluation.value(next(iter(self.objectives)))
        assert value is not None
        return value

    def _objective_values(self, trial: Trial) -> dict[str, float]:
        assert trial.evaluation is not None
        values = {n: trial.evaluation.value(n) for n in self.objectives}
        return {n: v for n, v in values.items() if v is not None}

    def _sign(self) -> float:
        return 1.0 if next(iter(self.objectives.values())) == "minimise" else -1.0

    def _is_scored(self, trial: Trial) -> bool:
        found = trial.evaluation
        return (
            trial.ok and found is not None and found.value(next(iter(self.objectives))) is not None
        )

    def _ranked(self) -> list[Trial]:
        """Return one trial per architecture, of its largest budget; fidelities stay apart."""
        best: dict[str, Trial] = {}
        for trial in (*self.trials, *self.promoted):
            key = trial.architecture.fingerprint
            known = best.get(key)
            equal = known is None or _fidelity(trial) == _fidelity(known)
            if known is None or (
                not self._is_scored(known) if equal else _fidelity(trial) > _fidelity(known)
            ):
                best[key] = trial
        apart: dict[float, list[Trial]] = {}
        for trial in best.values():
            apart.setdefault(_fidelity(trial), []).append(trial)
        return [t for amount in sorted(apart, reverse=True) for t in self._by_group(apart[amount])]

    def _by_group(self, trials: Sequence[Trial]) -> list[Trial]:
        """Return the best of every group, then the second of every group, and so on."""
        groups: dict[str, list[Trial]] = {}
        for trial in self.order(trials):
            assert trial.evaluation is not None
            groups.setdefault(trial.evaluation.group, []).append(trial)
        # by first candidate, since no score puts one group above another
        ranked = sorted(groups.values(), key=lambda g: min(t.number for t in g))
        return [t for row in zip_longest(*ranked) for t in row if t is not None]


def _fidelity(trial: Trial) -> float:
    return trial.budget.amount if trial.budget is not None else 0.0


class WrappingStrategy(Strategy):
    """Base of strategies that change how another one's candidates are tried, and answer as it does.

    Args:
        inner: proposes and is told.
    """

    def __init__(self, inner: AskTellStrategy) -> None:
        self.name = inner.name
        self.inner = inner

    def unsupported(self, search: Search) -> str:
        """Return what the inner strategy says."""
        return self.inner.unsupported(search)

    def state_bytes(self, search: Search) -> int:
        """Return what the inner strategy says."""
        return self.inner.state_bytes(search)

    def leaders(self) -> list[Leader]:
        """Return the inner strategy's."""
        return self.inner.leaders()

    def pictures(self) -> Any:
        """Return the inner strategy's."""
        return self.inner.pictures()

    def kept(self) -> Any:
        """Return the inner strategy's."""
        return self.inner.kept()

    def prepare_retraining(self, search: Search, pair: Pair, kept: Any) -> None:
        """Do as the inner strategy."""
        self.inner.prepare_retraining(search, pair, kept)
