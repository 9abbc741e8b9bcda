"""``Evaluator``: a batch of candidates in, named metrics with their protocol out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import define, field

from nastk.records import Architecture, Direction, Evaluation

if TYPE_CHECKING:
    from torch import nn

    from nastk.dataset import SplitName
    from nastk.randomness import Randomness
    from nastk.search import Search
    from nastk.space import SearchSpace


@define
class Candidate:
    """What an evaluator is handed of one candidate.

    Attributes:
        architecture: complete.
        space: the space it belongs to.
        generator: in eval mode, on its device; None for predictors.
        discriminator: in eval mode, or None.
        weights: ``ema`` or ``live``: which weights the generator holds.
        extra: whatever the trainer adds.
    """

    architecture: Architecture
    space: SearchSpace
    generator: nn.Module | None = None
    discriminator: nn.Module | None = None
    weights: str = "live"
    extra: Mapping[str, Any] = field(factory=dict)


class Evaluator(ABC):
    """Measures candidates; a *predictor* scores architectures without building them.

    Attributes:
        name: registered name.
        metrics: every metric it may return, with its direction.
        builds: False for a predictor: candidates come without networks.
        together: candidates of one batch are trained first and then measured in one call, for
            scores that depend on the others; else each is measured as soon as it is trained.
    """

    name: str
    metrics: Mapping[str, Direction]
    builds: bool = True
    together: bool = False

    def start(self, search: Search) -> None:  # noqa: B027
        """Take the search whose candidates are measured; spends nothing, draws nothing.

        Called once in every process before anything is measured. ``search.memory`` holds all
        candidates labelled so far, ``search.space`` gives any number of unlabelled ones.
        """

    @abstractmethod
    def evaluate(
        self, candidates: Sequence[Candidate], split: SplitName, randomness: Randomness
    ) -> list[Evaluation]:
        """Return one evaluation per candidate, in order.

        Args:
            candidates: measured on one bank of inputs, the same for all.
            split: the real images to measure against.
            randomness: named generators; the evaluator only uses ``fixed`` ones, so calling it
                twice gives the same numbers and advances nothing.

        Raises:
            TrialError: a candidate cannot be measured (non-finite images). Of several, each is
                then measured by itself to find out which, and the sound ones together again.
        """
