"""The beam: partial architectures that survive a stage, with the controller's memory of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define

from nastk.records import Choices
from nastk_autogan.controller import Hidden


@define(eq=False)
class Survivor:
    """A partial architecture.

    Attributes:
        choices: of the blocks so far.
        hidden: state of the LSTM after the last decision, ``(1, width)`` each.
        reward: None before it is known; larger is better.
    """

    choices: Choices
    hidden: Hidden
    reward: float | None = None

    @property
    def score(self) -> float:
        """The reward, minus infinity before it is known."""
        return float("-inf") if self.reward is None else self.reward

    def state_dict(self) -> dict[str, Any]:
        """Return the survivor as a state tree."""
        h, c = self.hidden
        return {"choices": dict(self.choices), "h": h, "c": c, "reward": self.reward}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Survivor:
        """Return the survivor that :meth:`state_dict` described."""
        return cls(dict(state["choices"]), (state["h"], state["c"]), state["reward"])


def best(survivors: Sequence[Survivor], number: int) -> list[Survivor]:
    """Return the best, best first; of equal ones the first."""
    return sorted(survivors, key=lambda s: -s.score)[:number]
