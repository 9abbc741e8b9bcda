"""Random search with weight sharing: one supernet, many candidates rated with its weights.

The supernet is trained along uniformly drawn single paths. Then architectures are drawn at random
and rated with the shared weights, without training of their own; the best are the leaders.

Source: L. Li, A. Talwalkar, UAI 2019 (arXiv:1902.07638). Differs: ratings measure each candidate's
batch-norm statistics anew, and invalid or too large draws are drawn anew, as in the strategy
``random``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nastk.errors import ConfigError, TrialError, nearest
from nastk.nn.inspect import training_bytes
from nastk.records import Architecture, Budget, Cost, Leader, Trial, from_json, to_json
from nastk.search import Search
from nastk.space import SearchSpace
from nastk.strategy import StepReport, Strategy
from nastk_optuna.config import SharingConfig
from nastk_optuna.proposals import Referee
from nastk_optuna.supernet import RATING, SUPERNET, Rating, Supernet, opens

CHUNK = 50
"""Updates of G between two looks of the engine."""

AT_ONCE = 4
"""Candidates rated between two looks of the engine."""

SHARE = 0.8
"""Of a budget, what the supernet's training is fitted to; ratings have the rest."""

FREE = ("steps", "images")
"""Units in which a rating costs nothing."""


class RandomSharingStrategy(Strategy):
    """Searches any space whose generator can be built with its decisions open.

    A discriminator whose decisions cannot be open is drawn once, from the seed.

    Args:
        config: lengths and limits.

    Attributes:
        steps: updates of the present supernet.
        restarts: supernets that collapsed or diverged before it.
        failure: why the search was given up, else empty.
        trials: the ratings so far, in order.
    """

    name = "random-sharing"

    def __init__(self, config: SharingConfig) -> None:
        self.config = config
        self.steps = 0
        self.restarts = 0
        self.failure = ""
        self.trials: list[Trial] = []
        self._supernet: Supernet | None = None

    # -- life ----------------------------------------------------------------------------------

    def start(self, search: Search) -> None:
        """Take the search; nothing is built yet."""
        super().start(search)
        self.space = _shareable(search)
        self.direction = search.evaluator.metrics.get(self.config.metric, "minimise")
        self.referee = Referee(self.space, self.config, repairs=False)

    def unsupported(self, search: Search) -> str:
        """Return why nothing can be shared or rated here, else empty."""
        known = search.evaluator.metrics
        if self.config.metric not in known:
            hint = nearest(self.config.metric, known)
            return (
                f"evaluator '{search.evaluator.name}' does not measure "
                f"'{self.config.metric}'; {hint}"
            )
        if not search.evaluator.builds:
            return f"evaluator '{search.evaluator.name}' looks at no networks, so at no weights"
        if not opens(search.space, "generator"):
            return f"the generator of space '{search.space.name}' cannot be built as a supernet"
        return ""

    def state_bytes(self, search: Search) -> int:
        """Return the bytes of the supernet's training."""
        return training_bytes(_shareable(search), {}, {}, averaged=False)

    def fitted(self, steps: float, unit: str) -> Mapping[str, Any]:
        """Return a length of the supernet's training that leaves enough for the ratings."""
        share = 0.98 if unit in FREE else SHARE
        return {"shared_steps": max(1, int(share * steps))}

    def step(self) -> StepReport:
        """Train the supernet for a chunk, or rate some candidates."""
        return self._train() if self.steps < self.config.shared_steps else self._rate()

    def leaders(self) -> list[Leader]:
        """Return the rated architectures, best first.

        Before any was rated, one that is drawn at random: weights that rate nothing say no more.
        None after a supernet that could not be trained.
        """
        if not self.trials:
            return [] if self.failure else [Leader(self._drawn(0))]
        sign = 1.0 if self.direction == "minimise" else -1.0
        scored = [(value, t) for t in self.trials if (value := self._score(t)) is not None]
        leaders: dict[str, Leader] = {}
        for value, trial in sorted(scored, key=lambda e: (sign * e[0], e[1].number)):
            leader = Leader(trial.architecture, value, {self.config.metric: value})
            leaders.setdefault(trial.architecture.fingerprint, leader)
        return list(leaders.values())

    def pictures(self) -> Any:
        """Return images of the best path, or of the first drawn one; None before the first."""
        found = self.leaders()
        if self._supernet is None or not found:
            return None
        self._supernet.activate(found[0].architecture)
        return self._supernet.training.pictures()

    # -- shared weights ------------------------------------------------------------------------

    def _train(self) -> StepReport:
        training = self._current().training
        before, chunk = training.cost, min(CHUNK, self.config.shared_steps - self.steps)
        try:
            progress = self._current().advance(chunk)
        except TrialError as error:
            return self._give_up(str(error), training.cost - before)
        self.search.spend(SUPERNET, progress.cost)
        self.steps += chunk
        trained = self.steps >= self.config.shared_steps
        return self._report({**progress.losses, **progress.health}, milestone=trained)

    def _give_up(self, reason: str, spent: Cost) -> StepReport:
        """Count the whole supernet as lost work, and begin another unless there were enough."""
        ledger = self.search.ledger
        lost = self._current().training.cost - spent
        self.search.spend(SUPERNET, spent)
        ledger.failed = ledger.failed + lost + spent
        self.search.emit("failure", phase=SUPERNET, reason=reason)
        self._supernet, self.steps = None, 0
        if self.restarts < self.config.max_restarts:
            self.restarts += 1
            return StepReport(f"the supernet starts anew: {reason}", share=0.0)
        self.failure = reason
        return StepReport(f"supernet given up: {reason}", done=True, milestone=True)

    def _current(self) -> Supernet:
        if self._supernet is None:
            self._supernet = Supernet(self.search, self.space, self.restarts)
        return self._supernet

    # -- candidates ----------------------------------------------------------------------------

    def _rate(self) -> StepReport:
        first = len(self.trials)
        drawn = [self._drawn(n) for n in range(first, min(first + AT_ONCE, self.config.rated))]
        search = self.search.with_space(self.space)
        rating = Rating(
            space=self.space,
            trainer=search.trainer,
            evaluator=search.evaluator,
            randomness=search.randomness,
            budget=Budget(self.config.shared_steps),
            search=search,
            supernet=self._current(),
            batches=self.config.recalibrate_batches,
        )
        self.trials += [o.trial for o in search.attempt(drawn, rating, first)]
        found = self.leaders()
        best = {} if not found or found[0].score is None else {"best": found[0].score}
        done = len(self.trials) >= self.config.rated
        return self._report(best, done=done, milestone=done)

    def _drawn(self, number: int) -> Architecture:
        """Return candidate ``number``, which is a function of seed and number alone.

        Raises:
            ConfigError: too many draws in a row were refused.
        """
        streams = self.search.randomness.child(f"random-sharing/candidate{number}")
        rng, reason = streams.numpy("draw"), ""
        for _ in range(self.config.redraws):
            verdict = self.referee.judge(self.space.sample(rng).choices)
            if verdict.architecture is not None:
                return verdict.architecture
            reason = verdict.reason
        raise ConfigError(
            f"{self.config.redraws} draws in a row were refused, the last as {reason}",
            "raise strategy.max_parameters, strategy.max_macs or strategy.redraws (0: no limit)",
        )

    def _score(self, trial: Trial) -> float | None:
        found = trial.evaluation
        return found.value(self.config.metric) if trial.ok and found is not None else None

    # -- reports and state ---------------------------------------------------------------------

    def _report(self, values: dict[str, float], **flags: bool) -> StepReport:
        training, rated = self.config.shared_steps, self.config.rated
        share = SHARE * self.steps / training + (1 - SHARE) * len(self.trials) / rated
        message = f"{SUPERNET} {self.steps}/{training}"
        if self.trials:
            message = f"{RATING} {len(self.trials)}/{rated}"
        values = {**values, "candidates": float(len(self.trials))}
        return StepReport(message, share=share, values=values, **flags)

    def state_dict(self) -> dict[str, Any]:
        """Return the supernet's training, counters and ratings."""
        held = self._supernet
        return {
            "steps": self.steps,
            "restarts": self.restarts,
            "failure": self.failure,
            "trials": [to_json(t) for t in self.trials],
            "training": None if held is None else held.training.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.steps, self.restarts = int(state["steps"]), int(state["restarts"])
        self.failure = str(state["failure"])
        self.trials = [from_json(Trial, t) for t in state["trials"]]
        self._supernet = None
        if state["training"] is not None:
            self._current().training.load_state_dict(state["training"])


def _shareable(search: Search) -> SearchSpace:
    """Return the space, with the discriminator drawn where it cannot be a supernet."""
    space = search.space
    names = [d.name for d in space.decisions if d.role == "discriminator"]
    if not names or opens(space, "discriminator"):
        return space
    rng = search.randomness.child("random-sharing/discriminator").numpy("draw")
    drawn = space.sample(rng).choices
    return space.freeze({name: drawn[name] for name in names if name in drawn})
