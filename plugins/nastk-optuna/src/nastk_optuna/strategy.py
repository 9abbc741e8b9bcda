"""Optuna's samplers as strategies: propose, have it trained and measured, tell."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from attrs import define
from optuna.exceptions import StorageInternalError
from optuna.trial import Trial as OptunaTrial
from optuna.trial import TrialState

from nastk.errors import ConfigError, NastkError, nearest
from nastk.executor import InProcess
from nastk.records import Architecture, Budget, Direction, Trial
from nastk.strategy import AskTellStrategy, Means, StepReport
from nastk_optuna import samplers
from nastk_optuna.config import CommonConfig, Nsga2Config, RandomConfig, TpeConfig
from nastk_optuna.front import front
from nastk_optuna.proposals import SIZES, Referee, suggest
from nastk_optuna.rungs import RungTrainer
from nastk_optuna.sharing import CANDIDATE, RUN, adopt, check_card, join, protocol
from nastk_optuna.storage import Shelf, absolute, dump, open_shelf, restore

if TYPE_CHECKING:
    from optuna.pruners import BasePruner

    from nastk.search import Search


@define
class Proposed:
    """A candidate and the Optuna trial that stands for it."""

    trial: OptunaTrial
    architecture: Architecture


class OptunaStrategy(AskTellStrategy):
    """Base of the strategies: a study, a sampler, a referee of proposals.

    Args:
        config: of the strategy.

    Attributes:
        repairs: whether invalid proposals are repaired rather than redrawn.
        refused: proposals that were refused so far.
    """

    repairs = True

    def __init__(self, config: CommonConfig) -> None:
        super().__init__(
            candidates=config.candidates,
            budget=Budget(config.steps),
            objectives=dict.fromkeys(config.metrics, "minimise"),
        )
        self.config = config
        self.refused = 0
        self._shelf: Shelf | None = None
        self._numbers: list[int] = []
        self._adopted: dict[int, int] = {}
        self._pending: dict[int, Proposed] = {}
        self._rungs: RungTrainer | None = None

    def make_sampler(self) -> samplers.Make:
        """Return the maker of one of Optuna's samplers."""
        raise NotImplementedError

    # -- life ----------------------------------------------------------------------------------

    def unsupported(self, search: Search) -> str:
        """Return why metrics, storage or pruner do not fit this search, else empty."""
        known = search.evaluator.metrics
        for i, name in enumerate(self.config.metrics):
            if name not in known and (i == 0 or name not in SIZES):
                hint = nearest(name, known)
                return f"evaluator '{search.evaluator.name}' does not measure '{name}'; {hint}"
        where = absolute(self.config.storage)
        if where and "://" not in where and not Path(where).parent.is_dir():
            return f"storage '{where}': there is no folder '{Path(where).parent}'"
        return self._unsupported_pruner(search)

    def start(self, search: Search) -> None:
        """Take the search; the study is opened at the first proposal."""
        super().start(search)
        self.objectives = dict(zip(self.config.metrics, self._directions(), strict=True))
        self.referee = Referee(search.space, self.config, repairs=self.repairs)
        self._where = absolute(self.config.storage)
        # A name, not a draw: it must differ between runs of one seed that share a study.
        self._run = uuid.uuid4().hex if self._where else "run"
        if self._pruner_name() != "none":
            self._search_in_rungs()

    def step(self) -> StepReport:
        """Propose, evaluate, tell.

        Raises:
            NastkError: the storage does not answer.
        """
        try:
            return super().step()
        except StorageInternalError as error:
            text = " ".join(str(error).split())[:200]
            raise NastkError(f"storage '{self._where}': {text}", "the run can be resumed") from None

    def report(self) -> StepReport:
        """Return how far the search has come, and how many proposals were refused."""
        report = super().report()
        report.values = {**report.values, "refused": float(self.refused)}
        return report

    def ask(self) -> list[Architecture]:
        """Return the next batch of architectures that keep rules and limits.

        Raises:
            ConfigError: too many proposals in a row were refused.
        """
        first = len(self.trials)
        room = min(self.config.batch, self.candidates - first)
        self._pending = {first + i: self._propose(first + i) for i in range(room)}
        if self._rungs is not None:
            (proposed,) = self._pending.values()
            self._rungs.architecture = proposed.architecture
            self._rungs.look = lambda step, value: _look(proposed.trial, step, value)
        return [p.architecture for p in self._pending.values()]

    def propose(self, number: int) -> Architecture:
        """Return a candidate that keeps rules and limits; running ones are none to its model."""
        self._pending[number] = self._propose(number)
        return self._pending[number].architecture

    def tell(self, trials: Sequence[Trial]) -> None:
        """Tell the study the outcomes; failed candidates as failed, ended ones as pruned."""
        for trial in trials:
            proposed = self._pending.pop(trial.number)
            self._tell(proposed.trial, trial)
            self._numbers.append(proposed.trial.number)

    def order(self, trials: Sequence[Trial]) -> list[Trial]:
        """Return successful candidates: the Pareto front first, then by the first objective."""
        ranked = super().order(trials)
        if len(self.objectives) == 1:
            return ranked
        signs = [1.0 if d == "minimise" else -1.0 for d in self.objectives.values()]
        values = [self._objective_values(trial) for trial in ranked]
        complete = [i for i, found in enumerate(values) if len(found) == len(signs)]
        vectors = [
            [s * values[i][n] for s, n in zip(signs, self.objectives, strict=True)]
            for i in complete
        ]
        best = {complete[i] for i in front(vectors)}
        return [ranked[i] for i in sorted(range(len(ranked)), key=lambda i: i not in best)]

    def refuses(self, means: Means) -> str:
        """Return why the pruner or a shared storage does not go with it, else empty."""
        if means == "in_flight" and self.config.storage:
            return "strategy.storage already serves several runs at a time, one candidate each"
        if means != "inherit" and self._pruner_name() != "none":
            return "strategy.pruner ends trainings too, use one of the two"
        if self.config.storage:
            return "strategy.storage is for scores of whole trainings from scratch"
        return ""

    def state_dict(self) -> dict[str, Any]:
        """Return the trials, and the whole study where the run keeps it itself."""
        own = self._shelf is not None and not self._where
        return {
            **super().state_dict(),
            "numbers": list(self._numbers),
            "pending": [[number, p.trial.number] for number, p in self._pending.items()],
            "refused": self.refused,
            "where": self._where,
            "run": self._run,
            "study": dump(self.shelf) if own else None,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        super().load_state_dict(state)
        self._numbers, self.refused = list(state["numbers"]), state["refused"]
        self._where, self._run = state["where"], state["run"]
        self._shelf = None
        if state["study"] is not None:
            restore(self.shelf, state["study"])
            self._pending = {number: self._again(trial) for number, trial in state["pending"]}

    # -- the study -----------------------------------------------------------------------------

    @property
    def shelf(self) -> Shelf:
        """The study, opened or made when first needed."""
        if self._shelf is None:
            self._shelf = self._open()
        return self._shelf

    def _open(self) -> Shelf:
        search = self.search
        sampler = samplers.NumberedSampler(self.make_sampler(), search.seed)
        name = self.config.study or f"{self.name}-{search.space.name}"
        directions = self._directions()
        shelf = open_shelf(self._where, name, directions, sampler, self._pruner())
        if self._where:
            join(shelf.study, protocol(search, self.config, self.referee.limits), self._where)
            self._adopted = adopt(shelf, self._run, self._numbers)
        return shelf

    def _directions(self) -> list[Direction]:
        known = self.search.evaluator.metrics
        return [known.get(name, "minimise") for name in self.objectives]

    def _propose(self, candidate: int) -> Proposed:
        if (known := self._recall(candidate)) is not None:
            return known
        for _ in range(self.config.redraws):
            trial = self.shelf.study.ask()
            trial.set_user_attr(RUN, self._run)
            verdict = self.referee.judge(suggest(trial, self.search.space))
            for name, value in verdict.sizes.items():
                trial.set_user_attr(name, value)
            for name, value in verdict.excess.items():
                trial.set_constraint(name, float(value))
            if verdict.architecture is not None:
                self._accept(trial, verdict.architecture, candidate, repaired=verdict.repaired)
                return Proposed(trial, verdict.architecture)
            self._refuse(trial, verdict.reason)
        raise ConfigError(
            f"{self.config.redraws} proposals in a row were refused, the last as {verdict.reason}",
            "raise strategy.max_parameters, strategy.max_macs or strategy.redraws (0: no limit)",
        )

    def _recall(self, candidate: int) -> Proposed | None:
        """Return a candidate that was proposed before the run was killed."""
        _ = self.shelf  # opening it finds what was adopted
        return self._again(self._adopted.pop(candidate)) if candidate in self._adopted else None

    def _again(self, number: int) -> Proposed:
        trial = self.shelf.trial(number)
        return Proposed(trial, self.search.space.parse(trial.user_attrs["codes"]))

    def _accept(
        self, trial: OptunaTrial, architecture: Architecture, candidate: int, *, repaired: bool
    ) -> None:
        trial.set_user_attr("codes", self.search.space.encode(architecture))
        trial.set_user_attr("fingerprint", architecture.fingerprint)
        trial.set_user_attr("repaired", repaired)
        # Last, for it says that all others are there.
        trial.set_user_attr(CANDIDATE, candidate)

    def _refuse(self, trial: OptunaTrial, reason: str) -> None:
        self.refused += 1
        trial.set_user_attr("reason", reason)
        self._finish(trial, None, TrialState.PRUNED)

    def _tell(self, asked: OptunaTrial, trial: Trial) -> None:
        if self._state(asked).is_finished():
            return
        asked.set_user_attr("status", trial.status)
        if trial.reason:
            asked.set_user_attr("reason", trial.reason)
        try:
            values = self._values(trial)
        except ConfigError:
            self._finish(asked, None, TrialState.FAIL)
            raise
        if values is not None:
            self._finish(asked, values, TrialState.COMPLETE)
        else:
            ended = trial.status == "pruned"
            self._finish(asked, None, TrialState.PRUNED if ended else TrialState.FAIL)

    def _values(self, trial: Trial) -> list[float] | None:
        """Return the objectives in order, None where any is missing."""
        if not trial.ok or trial.evaluation is None:
            return None
        found = self._objective_values(trial)
        if len(found) < len(self.objectives):
            return None
        if self._where:
            first = next(iter(self.objectives))
            check_card(self.shelf.study, trial.evaluation.metrics[first].card)
        return [found[name] for name in self.objectives]

    def _objective_values(self, trial: Trial) -> dict[str, float]:
        values = super()._objective_values(trial)
        for name in self.objectives:
            if name in SIZES:
                values[name] = float(self.referee.sizes(trial.architecture)[name])
        return values

    def _finish(self, trial: OptunaTrial, values: list[float] | None, state: TrialState) -> None:
        self.shelf.study.tell(trial, values, state)

    def _state(self, trial: OptunaTrial) -> TrialState:
        return self.shelf.study.get_trials(deepcopy=False)[trial.number].state

    # -- pruning -------------------------------------------------------------------------------

    def _pruner_name(self) -> str:
        return self.config.pruner if isinstance(self.config, RandomConfig) else "none"

    def _pruner(self) -> BasePruner:
        if self._pruner_name() == "median":
            return optuna.pruners.MedianPruner()
        if isinstance(self.config, RandomConfig) and self._pruner_name() != "none":
            least = max(1, self.config.steps // self.config.rungs)
            return optuna.pruners.SuccessiveHalvingPruner(min_resource=least, reduction_factor=2)
        return optuna.pruners.NopPruner()

    def _unsupported_pruner(self, search: Search) -> str:
        if self._pruner_name() == "none":
            return ""
        if self.config.batch > 1 or not isinstance(search.executor, InProcess):
            return "a pruner compares candidates as they train: use batch 1 and one process"
        if len(self.config.metrics) > 1:
            return "Optuna's pruners know one objective only: name one metric, or pruner none"
        if not search.evaluator.builds:
            return f"evaluator '{search.evaluator.name}' trains nothing that could be pruned"
        return ""

    def _search_in_rungs(self) -> None:
        assert isinstance(self.config, RandomConfig)
        self._rungs = RungTrainer(self.search, self.config.metrics[0], self.config.rungs)
        self.search = self.search.with_space(self.search.space)
        self.search.trainer = self._rungs


def _look(trial: OptunaTrial, step: int, value: float) -> bool:
    """Report a value; return whether the pruner ends the trial, as before if it is over."""
    frozen = trial.study.get_trials(deepcopy=False)[trial.number]
    if frozen.state.is_finished():
        return frozen.state == TrialState.PRUNED and step == frozen.last_step
    if step not in frozen.intermediate_values:
        trial.report(value, step)
    return trial.should_prune()


class RandomStrategy(OptunaStrategy):
    """Uniform draws per open decision; invalid ones are redrawn, as ``SearchSpace.sample`` does."""

    name = "random"
    repairs = False

    def make_sampler(self) -> samplers.Make:
        """Return the maker of Optuna's random sampler."""
        return samplers.uniform


class TpeStrategy(OptunaStrategy):
    """Tree-structured Parzen estimator.

    Source: Bergstra et al. 2011; Optuna's implementation.
    """

    name = "tpe"

    def make_sampler(self) -> samplers.Make:
        """Return the maker of Optuna's TPE."""
        assert isinstance(self.config, TpeConfig)
        return samplers.tpe(self.config)


class Nsga2Strategy(OptunaStrategy):
    """Genetic search for a Pareto front; hard limits hold as in the other strategies.

    Source: Deb et al. 2002; Optuna's implementation.
    """

    name = "nsga2"

    def make_sampler(self) -> samplers.Make:
        """Return the maker of Optuna's NSGA-II."""
        assert isinstance(self.config, Nsga2Config)
        return samplers.nsga2(self.config)
