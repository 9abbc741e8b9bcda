"""Rewards: one score per path of the shared generator, while its weights stand still."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from nastk.errors import PairError, TrialError
from nastk.evaluator import Candidate
from nastk.metrics.bank import show_training_inputs
from nastk.metrics.config import QUALIFIED
from nastk.nn.choice import Network
from nastk.nn.norms import recalibrated
from nastk.records import Architecture, Choices, Cost, Evaluation, Metric, Trial
from nastk.search import Search
from nastk_autogan.blocks import codes
from nastk_autogan.shared import activate

PHASE = "reward"
"""Ledger phase of all scores."""


class Rewards:
    """Scores paths on the evaluator's fixed bank of inputs; remembers them until told to forget.

    The ledger counts what was measured (``trials``) and what memory answered (``reused``).

    Args:
        search: whose evaluator judges, on validation images.
        metric: name of the metric; one to be minimised counts with its sign changed.
        recalibrate_batches: of training inputs, which measure batch-norm statistics for each path.

    Attributes:
        measured: paths scored so far, memory not counted.
    """

    def __init__(self, search: Search, metric: str, recalibrate_batches: int) -> None:
        self._search = search
        self._metric = metric
        self._batches = recalibrate_batches
        self._known: dict[str, float] = {}
        self._period = 0
        self.measured = 0

    def forget(self) -> None:
        """Drop all scores: the shared weights have moved."""
        self._known = {}
        self._period += 1

    def __call__(self, generator: Network, choices: Choices, blocks: int) -> float:
        """Return the reward of a path, larger is better.

        A path whose images cannot be scored is a failed trial; its reward is minus infinity.

        Args:
            generator: the shared one of ``blocks`` blocks; its path is left active.
            choices: of all its blocks.
            blocks: their number.

        Raises:
            PairError: the evaluator does not measure this metric here.
        """
        space = self._search.space
        architecture = Architecture(space.name, space.complete(choices, blocks) or choices)
        key, ledger = architecture.fingerprint, self._search.ledger
        if key in self._known:
            ledger.reused += 1
        else:
            ledger.trials += 1
            activate(generator, choices)
            found = self._measure(generator, architecture, blocks)
            self._known[key] = float("-inf") if found is None else found
        return self._known[key]

    def finite(self, reward: float) -> float:
        """Return the reward to learn from: of a failure, the least since the weights moved."""
        if math.isfinite(reward):
            return reward
        return min(filter(math.isfinite, self._known.values()), default=0.0)

    def _measure(self, generator: Network, architecture: Architecture, blocks: int) -> float | None:
        search, began = self._search, time.perf_counter()
        candidate = Candidate(architecture, search.space, generator, extra={"blocks": blocks})
        evaluation, reason = None, ""
        try:
            with self._norms(generator, blocks):
                found = search.evaluator.evaluate([candidate], "validation", search.randomness)
            evaluation = found[0]
        except TrialError as error:
            reason = error.message
        metric = None if evaluation is None else self._metric_of(evaluation)
        macs = 0 if evaluation is None or metric is None else _macs(evaluation, metric)
        cost = Cost(macs=macs, seconds=time.perf_counter() - began)
        search.spend(PHASE, cost)
        self._tell(architecture, blocks, cost, evaluation, reason)
        if metric is None or metric.value is None:
            return None
        return metric.value if metric.direction == "maximise" else -metric.value

    def _metric_of(self, evaluation: Evaluation) -> Metric:
        for name in (self._metric, QUALIFIED.get(self._metric, self._metric)):
            metric = evaluation.metrics.get(name)
            if metric is not None:
                return metric
        raise PairError(
            f"strategy 'autogan': reward '{self._metric}' is not measured on this data",
            f"set strategy.reward to one of {', '.join(sorted(evaluation.metrics))}",
        )

    def _tell(
        self,
        architecture: Architecture,
        blocks: int,
        cost: Cost,
        evaluation: Evaluation | None,
        reason: str,
    ) -> None:
        """Record the score as a trial; scores compare while the weights stand still only."""
        if evaluation is not None:
            group = f"blocks{blocks}/period{self._period}"
            evaluation = Evaluation(evaluation.metrics, evaluation.arrays, group)
        status: Any = "diverged" if evaluation is None else "ok"
        trial = Trial(
            self.measured, architecture, status, cost, evaluation=evaluation, reason=reason
        )
        self.measured += 1
        written = codes(self._search.space, architecture.choices)
        self._search.emit("trial", trial=trial, codes=written)

    def _norms(self, generator: Network, blocks: int) -> AbstractContextManager[None]:
        if not self._batches:
            return nullcontext()
        return recalibrated(generator, lambda: self._show_training_inputs(generator, blocks))

    def _show_training_inputs(self, generator: Network, blocks: int) -> None:
        """Pass a fixed bank of training inputs through the active path."""
        search = self._search
        streams = search.randomness.child("autogan/recalibration")
        show_training_inputs(
            generator, search.space.input, search.dataset, self._batches, streams, search.device
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the scores that still hold and the counters."""
        return {"known": dict(self._known), "period": self._period, "measured": self.measured}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self._known = {key: float(value) for key, value in state["known"].items()}
        self._period, self.measured = int(state["period"]), int(state["measured"])


def _macs(evaluation: Evaluation, metric: Metric) -> int:
    return round(evaluation.value("macs") or 0.0) * metric.card.n_fake
