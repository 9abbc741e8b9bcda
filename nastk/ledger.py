"""What each part of a run cost: steps, images, MACs and seconds, by phase."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from nastk.records import Budget, Cost, from_json, to_json


class Ledger:
    """Costs by phase, with failed and repeated work.

    Attributes:
        phases: phase → cost, in order of first entry; failed work included.
        failed: cost of candidates that failed (a part of ``phases``).
        trials: candidates entered.
        failures: candidates that failed.
        reused: candidates that were answered from memory at no cost.
        saved: steps that were planned for candidates and not taken, because they were ended early.
        repeated: work done again after a kill, on top of ``phases``. It depends on when a process
            was killed, so it is neither saved with the state nor counted against a budget.
    """

    def __init__(self) -> None:
        self.phases: dict[str, Cost] = {}
        self.failed = Cost()
        self.trials = 0
        self.failures = 0
        self.reused = 0
        self.saved = 0
        self.repeated = Cost()

    def enter(self, phase: str, cost: Cost, *, failed: bool = False) -> None:
        """Add ``cost`` to ``phase``; ``failed`` counts it as lost work too."""
        self.phases[phase] = self.phases.get(phase, Cost()) + cost
        if failed:
            self.failed = self.failed + cost

    @property
    def hit_rate(self) -> float:
        """The share of the candidates asked for that memory answered; 0 before the first."""
        asked = self.trials + self.reused
        return self.reused / asked if asked else 0.0

    def total(self, without: Collection[str] = ()) -> Cost:
        """Return the sum over all phases but those ``without``."""
        return sum((c for p, c in self.phases.items() if p not in without), start=Cost())

    def spent(self, unit: str, without: Collection[str] = ()) -> float:
        """Return the total in ``steps``, ``images``, ``macs`` or ``seconds``."""
        return float(getattr(self.total(without), unit))

    def share(self, budget: Budget | None, without: Collection[str] = ()) -> float:
        """Return the share of ``budget`` that is spent; 0 without a budget, 1 or more when gone."""
        return 0.0 if budget is None else self.spent(budget.unit, without) / budget.amount

    def state_dict(self) -> dict[str, Any]:
        """Return everything but ``repeated``."""
        return {
            "phases": {phase: to_json(cost) for phase, cost in self.phases.items()},
            "failed": to_json(self.failed),
            "trials": self.trials,
            "failures": self.failures,
            "reused": self.reused,
            "saved": self.saved,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.phases = {phase: from_json(Cost, cost) for phase, cost in state["phases"].items()}
        self.failed = from_json(Cost, state["failed"])
        self.trials = int(state["trials"])
        self.failures = int(state["failures"])
        self.reused = int(state["reused"])
        self.saved = int(state.get("saved", 0))
