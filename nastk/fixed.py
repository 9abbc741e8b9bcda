"""No search: the answer is one architecture, given (``fixed``) or drawn (``sampling``).

A training is a run with such a strategy, so that the engine, the folder, resuming and the report
are those of a search.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from nastk.errors import SpaceError
from nastk.records import Leader
from nastk.strategy import StepReport, Strategy

if TYPE_CHECKING:
    from nastk.search import Search


@frozen
class FixedConfig:
    """Settings of the strategy ``fixed``."""

    architecture: str = field(
        default="", metadata={"help": "integer codes of the architecture; 'nastk train' fills it"}
    )


class FixedStrategy(Strategy):
    """Leads with the architecture that it was given; spends nothing, draws nothing.

    Args:
        config: holds the architecture's codes.
    """

    name = "fixed"

    def __init__(self, config: FixedConfig) -> None:
        self.config = config

    def unsupported(self, search: Search) -> str:
        """Return why the codes are no architecture of the space, else empty."""
        if not self.config.architecture:
            return "strategy.architecture is empty (use 'nastk train ARCHITECTURE')"
        try:
            search.space.parse(self.config.architecture)
        except SpaceError as error:
            return str(error)
        return ""

    def step(self) -> StepReport:
        """Be done."""
        return StepReport("the architecture is given", done=True, share=1.0)

    def leaders(self) -> list[Leader]:
        """Return the given architecture."""
        return [Leader(self.search.space.parse(self.config.architecture))]

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: nothing changes."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore nothing."""


class SampledStrategy(Strategy):
    """Leads with one architecture drawn at random: what a search costs nothing to beat.

    Source: the random sampling of Yang, Esperança & Carlucci 2020 (arXiv:1912.12522).
    """

    name = "sampling"

    def __init__(self, config: None = None) -> None:
        self.codes = ""

    def step(self) -> StepReport:
        """Draw it."""
        space = self.search.space
        self.codes = space.encode(space.sample(self.search.randomness.numpy("sampling")))
        return StepReport("one architecture is drawn", done=True, share=1.0)

    def leaders(self) -> list[Leader]:
        """Return it; none before the step."""
        return [Leader(self.search.space.parse(self.codes))] if self.codes else []

    def state_dict(self) -> dict[str, Any]:
        """Return its codes."""
        return {"codes": self.codes}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore its codes."""
        self.codes = str(state["codes"])
