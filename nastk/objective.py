"""``Objective``: the adversarial losses of D and of G."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from attrs import define

if TYPE_CHECKING:
    from torch import Tensor, nn


class Scores(NamedTuple):
    """What a discriminator says of a batch of N images.

    Attributes:
        validity: ``(N, …)`` raw outputs of any shape (a logit, a map, a vector).
        classes: ``(N, K + 1)`` class logits, or None without a class head.
        features: ``(N, F)`` penultimate features, or None.
    """

    validity: Tensor
    classes: Tensor | None = None
    features: Tensor | None = None


def as_scores(output: Any) -> Scores:
    """Return ``output`` of a discriminator as :class:`Scores`."""
    return output if isinstance(output, Scores) else Scores(output)


@define
class Exchange:
    """One exchange between G and D: all that an objective may look at.

    In a D update everything of G is detached. In separate D updates ``real`` or ``fake`` is None.

    Attributes:
        real: D on real images.
        fake: D on generated images.
        real_images: ``(N, C, H, W)`` in [-1, 1].
        fake_images: ``(M, C, H, W)`` in [-1, 1].
        labels: ``(N,)`` int64 of the real images, -1 where hidden; None without labels.
        condition: ``(M, …)`` what G was given (latents, or masked images).
        mask: ``(M, 1, H, W)`` 1 where the image was hidden from G, or None.
        progress: 0 to 1, share of the training done.
        discriminator: for objectives that need further passes (gradient penalty).
        uniform: returns as many draws in [0, 1) as asked for, one an image of N or of M, from
            torch's global generator; in micro-batches they are those of the whole batch.
    """

    real: Scores | None
    fake: Scores | None
    real_images: Tensor | None = None
    fake_images: Tensor | None = None
    labels: Tensor | None = None
    condition: Tensor | None = None
    mask: Tensor | None = None
    progress: float = 0.0
    discriminator: Callable[[Tensor], Scores] | None = None
    uniform: Callable[[int], Tensor] | None = None


class Objective(ABC):
    """Losses of D and G; called once per update.

    Attributes:
        name: registered name.
        separable: the D loss is a sum of a term on real and a term on fake images, so that D may
            be updated on each by itself.
        micro_batching: the losses are means over samples, so that a batch may be split.
        real_in_generator_step: ``generator_loss`` needs ``Exchange.real``.
        adversarial: False: D sees real images only, and G is neither run nor trained.
    """

    name: str
    separable: bool = True
    micro_batching: bool = True
    real_in_generator_step: bool = False
    adversarial: bool = True

    def class_logits(self, classes: int) -> int:
        """Return the number of class outputs that D must have, 0 for none."""
        return 0

    @abstractmethod
    def discriminator_terms(self, exchange: Exchange) -> Mapping[str, Tensor]:
        """Return named scalars that sum to D's loss.

        Separable objectives return ``real`` where ``exchange.real`` is given and ``fake`` where
        ``exchange.fake`` is given.
        """

    @abstractmethod
    def generator_terms(self, exchange: Exchange) -> Mapping[str, Tensor]:
        """Return named scalars that sum to G's loss; gradients flow through ``exchange.fake``."""

    def companions(self) -> Mapping[str, nn.Module]:
        """Return frozen networks that the objective needs on the training device."""
        return {}

    def logged(self) -> Mapping[str, float]:
        """Return the objective's own quantities for the log."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Return everything that changes, as tensors and JSON."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:  # noqa: B027
        """Restore what :meth:`state_dict` returned."""
