"""What the updates of a training cost in multiply-accumulates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nastk.gan.record import MacMeter

if TYPE_CHECKING:
    from nastk.gan.turn import Shown
    from nastk.nn.choice import Network


class Bill:
    """Adds up forward passes; a backward pass counts as two of them.

    Args:
        generator: whose active path is counted.
        discriminator: likewise.
        image: (channels, height, width) of what the discriminator sees.

    Attributes:
        extra: images that an objective had scored again since the last update.
    """

    def __init__(self, generator: Network, discriminator: Network, image: tuple[int, ...]) -> None:
        self.extra = 0
        self._networks = (generator, discriminator)
        self._image = image
        self._meters = {"g": MacMeter(), "d": MacMeter()}
        self._macs = 0

    def discriminator_update(self, shown: Shown) -> None:
        """Enter an update of D on real images and as many fakes as there are inputs."""
        fakes = len(shown.drawn.condition)
        self._macs += fakes * self._of_g(shown)
        self._macs += 3 * (len(shown.images) + fakes + self._take_extra()) * self._of_d()

    def real_update(self, shown: Shown) -> None:
        """Enter an update of D on real images only."""
        self._macs += 3 * len(shown.images) * self._of_d()

    def generator_update(self, shown: Shown) -> None:
        """Enter an update of G through D."""
        passes = 3 * len(shown.drawn.condition)
        self._macs += passes * (self._of_g(shown) + self._of_d())
        self._macs += 3 * self._take_extra() * self._of_d()

    def scored(self, images: int) -> None:
        """Enter a pass of D without gradients."""
        self._macs += images * self._of_d()

    def take(self) -> int:
        """Return the sum since the last call."""
        macs, self._macs = self._macs, 0
        return macs

    def state_dict(self) -> dict[str, Any]:
        """Return the counted paths."""
        return {name: meter.state_dict() for name, meter in self._meters.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        for name, meter in self._meters.items():
            meter.load_state_dict(state[name])

    def _take_extra(self) -> int:
        extra, self.extra = self.extra, 0
        return extra

    def _of_g(self, shown: Shown) -> int:
        shape = tuple(shown.drawn.condition.shape[1:])
        return self._meters["g"].of(self._networks[0], shape)

    def _of_d(self) -> int:
        return self._meters["d"].of(self._networks[1], self._image)
