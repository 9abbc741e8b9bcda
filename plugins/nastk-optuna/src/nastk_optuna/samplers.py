"""One fresh sampler per proposal, so that a proposal is a function of what can be written down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import TrialState

from nastk.randomness import derive_seed

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from nastk_optuna.config import Nsga2Config, TpeConfig

Make = Callable[[int, "Study"], BaseSampler]
"""Seed (32 bits) and study → one of Optuna's samplers."""


class NumberedSampler(BaseSampler):
    """Hands every trial to a fresh sampler of Optuna's, seeded by run seed and trial number.

    A proposal then depends on the seed, the trial's number and the trials of the study, and on
    nothing that a sampler keeps to itself. Processes that share a study and a seed still draw
    differently, because the storage numbers their trials.

    Args:
        make: makes the sampler.
        seed: of the run.
    """

    def __init__(self, make: Make, seed: int) -> None:
        self._make = make
        self._seed = seed
        self._number = -1
        self._inner: BaseSampler = RandomSampler(seed=0)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Make the trial's sampler."""
        self._for(study, trial).before_trial(study, trial)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return what the trial's sampler infers."""
        return self._for(study, trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return what the trial's sampler proposes for decisions taken together."""
        return self._for(study, trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Return what the trial's sampler proposes for one decision."""
        inner = self._for(study, trial)
        return inner.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Tell the trial's sampler of the outcome."""
        self._for(study, trial).after_trial(study, trial, state, values)

    def _for(self, study: Study, trial: FrozenTrial) -> BaseSampler:
        if trial.number != self._number:
            seed = derive_seed(self._seed, f"optuna/{trial.number}") % 2**32
            self._inner, self._number = self._make(seed, study), trial.number
        return self._inner


def uniform(seed: int, study: Study) -> BaseSampler:
    """Return Optuna's random sampler."""
    return RandomSampler(seed=seed)


def tpe(config: TpeConfig) -> Make:
    """Return the maker of Optuna's TPE.

    Optuna counts refused proposals as trials that its model starts after; here only measured
    candidates count, lest tight limits use up the random start.
    """

    def make(seed: int, study: Study) -> BaseSampler:
        states = (TrialState.COMPLETE,)
        if len(study.get_trials(deepcopy=False, states=states)) < config.startup_trials:
            return RandomSampler(seed=seed)
        return TPESampler(
            seed=seed,
            n_startup_trials=0,
            n_ei_candidates=config.ei_candidates,
            multivariate=config.multivariate,
        )

    return make


def nsga2(config: Nsga2Config) -> Make:
    """Return the maker of Optuna's NSGA-II."""

    def make(seed: int, study: Study) -> BaseSampler:
        return NSGAIISampler(
            population_size=config.population, crossover_prob=config.crossover, seed=seed
        )

    return make
