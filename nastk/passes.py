"""``NetworkPass``: an ordered transformation of a built network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from nastk.records import Role

if TYPE_CHECKING:
    from torch import nn

    from nastk.randomness import Randomness


class NetworkPass(ABC):
    """Changes a network after it is built and before it is trained (spectral norm, swaps).

    Attributes:
        name: registered name.
        roles: the networks that it is applied to.
        order: passes run by ascending order, then by name.
    """

    name: str
    roles: tuple[Role, ...]
    order: int = 0

    @abstractmethod
    def apply(self, network: nn.Module, randomness: Randomness) -> nn.Module:
        """Return the transformed network (the same object or another).

        Called once per built network, before initialisation.
        """

    def progress(self, network: nn.Module, progress: float) -> None:  # noqa: B027
        """Told the share of training done (0 to 1) now and then, for schedules."""
