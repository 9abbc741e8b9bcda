"""Weights of trained candidates, kept so that later ones that share choices may begin with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define, field, frozen

from nastk.records import Architecture, Direction, Trial, from_json, to_json

INHERIT = "inherit"
"""Ledger phase of copying weights from candidate to candidate."""


@frozen
class Heirloom:
    """The weights of one trained candidate.

    Attributes:
        number: of the candidate.
        architecture: of the candidate.
        steps: training behind the weights.
        score: smaller is better.
        weights: a state tree, see :meth:`nastk.trainer.Trainer.bequest`.
    """

    number: int
    architecture: Architecture
    steps: float
    score: float
    weights: Any = field(eq=False, repr=False)


@define
class Estate:
    """What is left to later candidates: the weights of the best few.

    Attributes:
        size: heirlooms that are kept.
        metric: decides which are best.
        direction: of the metric.
        kept: best first; longer trained ones before shorter trained ones.
    """

    size: int
    metric: str
    direction: Direction = "minimise"
    kept: list[Heirloom] = field(factory=list)

    def nearest(self, architecture: Architecture) -> Heirloom | None:
        """Return the heirloom that shares most choices, the best of several; None: none shares."""
        shares = [(shared(architecture, x.architecture), x) for x in self.kept]
        most = max((share for share, _ in shares), default=0.0)
        return next((x for share, x in shares if share == most), None) if most > 0 else None

    def offer(self, trial: Trial, weights: Any) -> None:
        """Keep a trained candidate's weights if they are among the best; failed ones never are."""
        value = trial.evaluation.value(self.metric) if trial.ok and trial.evaluation else None
        if value is None or weights is None:
            return
        score = value if self.direction == "minimise" else -value
        steps = trial.budget.amount if trial.budget else 0.0
        mine = Heirloom(trial.number, trial.architecture, steps, score, weights)
        others = [x for x in self.kept if x.number != trial.number]
        self.kept = sorted([*others, mine], key=lambda x: (-x.steps, x.score, x.number))
        del self.kept[self.size :]

    def state_dict(self) -> list[dict[str, Any]]:
        """Return what is kept, as a state tree."""
        return [
            {
                "number": x.number,
                "architecture": to_json(x.architecture),
                "steps": x.steps,
                "score": x.score,
                "weights": x.weights,
            }
            for x in self.kept
        ]

    def load_state_dict(self, state: list[Mapping[str, Any]]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.kept = [
            Heirloom(**{**x, "architecture": from_json(Architecture, x["architecture"])})
            for x in state
        ]


def shared(one: Architecture, other: Architecture) -> float:
    """Return the share of decisions of either architecture that both decide alike, 0 to 1."""
    decided = {*one.choices, *other.choices}
    alike = sum(one.choices.get(d) == other.choices.get(d) for d in decided)
    return alike / len(decided) if decided else 0.0
