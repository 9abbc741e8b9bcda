"""The residual discriminator that grows with its generator, shared by several spaces.

Source: the fixed discriminator family of AutoGAN (X. Gong et al. 2019, arXiv:1908.03835), which
AdversarialNAS uses at its last stage too. Differs: only the blocks that a stage runs are built;
a class head can be added. Spectral normalisation is a pass (``spectral-norm``).
"""

from __future__ import annotations

from torch import Tensor, nn

from nastk.errors import SpaceError
from nastk.nn.fused import Chained
from nastk.objective import Scores

STAGES = 3
"""Stage 0 halves the image once; stages 1 and 2 twice."""


class SummedHead(nn.Module):
    """ReLU, sum over height and width, and a linear layer without bias.

    The class head, where wanted, is a second linear layer (with bias) on the same sums.

    Args:
        width: channels of the features.
        class_logits: class outputs, 0 for none.
    """

    def __init__(self, width: int, class_logits: int = 0) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.validity = nn.Linear(width, 1, bias=False)
        self.classes = nn.Linear(width, class_logits) if class_logits else None

    def forward(self, x: Tensor) -> Scores:
        """Return validity ``(N, 1)``, classes and features ``(N, width)`` of a feature map."""
        features = self.relu(x).sum(dim=(2, 3))
        classes = None if self.classes is None else self.classes(features)
        return Scores(self.validity(features), classes, features)


class _Residual(Chained):
    """conv3 → ReLU → conv3, maybe halved, plus a shortcut."""

    def __init__(self, source: int, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(source, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.relu = nn.ReLU()
        self.halve = nn.AvgPool2d(2)

    def residual(self, x: Tensor, *then: nn.Module) -> Tensor:
        """Return what ``then`` make of the residual branch, which has the side of ``x``."""
        return self.chain(x, self.first, self.relu, self.second, *then)


class FirstBlock(_Residual):
    """Image → ``width`` channels at half the side; no ReLU on the image."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__(channels, width)
        self.shortcut = nn.Conv2d(channels, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(N, width, H / 2, W / 2)``."""
        return self.residual(x, self.halve) + self.chain(x, self.halve, self.shortcut)


class DownBlock(_Residual):
    """A pre-activation block that halves the side; the shortcut convolves before it halves."""

    def __init__(self, width: int) -> None:
        super().__init__(width, width)
        self.shortcut = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(N, width, H / 2, W / 2)``."""
        residual = self.residual(self.relu(x), self.halve)
        return residual + self.chain(x, self.shortcut, self.halve)


class PlainBlock(_Residual):
    """A pre-activation block with an identity shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(N, width, H, W)``."""
        return self.residual(self.relu(x)) + x


class GrowingDiscriminator(nn.Module):
    """First block, a down block from stage 1, a plain block from stage 2, a plain block, a head.

    A grown network takes the weights of a smaller stage by walking both
    (:func:`nastk.nn.transfer.transfer`): the blocks have the same names at every stage.
    """

    def __init__(self, channels: int, width: int, stage: int, class_logits: int = 0) -> None:
        super().__init__()
        self.first = FirstBlock(channels, width)
        self.down = DownBlock(width) if stage >= 1 else nn.Identity()
        self.plain = PlainBlock(width) if stage >= 2 else nn.Identity()
        self.last = PlainBlock(width)
        self.head = SummedHead(width, class_logits)

    def forward(self, x: Tensor) -> Scores:
        """Return :class:`~nastk.objective.Scores` of images ``(N, channels, H, W)`` in [-1, 1]."""
        scores: Scores = self.head(self.last(self.plain(self.down(self.first(x)))))
        return scores


def growing_discriminator(
    channels: int, width: int, stage: int, class_logits: int = 0
) -> GrowingDiscriminator:
    """Return the discriminator of one stage.

    Args:
        channels: of the images; their side must be divisible by 2 (stage 0) or 4.
        width: channels of every block.
        stage: 0 to 2.
        class_logits: class outputs besides the validity, 0 for none.

    Raises:
        SpaceError: no such stage.
    """
    if not 0 <= stage < STAGES:
        raise SpaceError(f"growing discriminator: got stage {stage}, expected 0 to {STAGES - 1}")
    return GrowingDiscriminator(channels, width, stage, class_logits)
