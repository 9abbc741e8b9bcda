"""Square masks that hide a part of an image from the generator."""

from __future__ import annotations

import torch
from torch import Tensor

from nastk.errors import ConfigError
from nastk.gan.config import Placement

SHARE = 10 / 32
"""Side of the hidden square as a share of the image's side. Source: AICV-CUMT/STASGAN."""


def mask_side(size: tuple[int, int], side: int = 0) -> int:
    """Return the side of the hidden square for images of ``size`` (height, width) in pixels.

    Args:
        size: of the image.
        side: as configured; 0 for :data:`SHARE` of the shorter side, rounded, at least 1.

    Raises:
        ConfigError: the square does not fit.
    """
    chosen = side or max(1, round(SHARE * min(size)))
    if chosen >= min(size):
        raise ConfigError(
            f"trainer.mask_size: got {chosen}, expected less than the image's side {min(size)}"
        )
    return chosen


def square_masks(
    n: int,
    size: tuple[int, int],
    side: int,
    generator: torch.Generator,
    placement: Placement = "inclusive",
    device: torch.device | str | None = None,
) -> Tensor:
    """Return ``(N, 1, H, W)`` float32 masks, 1 inside one square per image, 0 elsewhere.

    Top-left corners are uniform over the places. Advances ``generator``; no host synchronisation.

    Args:
        n: number of masks.
        size: (height, width) in pixels.
        side: of the square, less than both.
        generator: on ``device``.
        placement: ``inclusive`` offsets are 0..size-side; ``exclusive`` ones leave the last out,
            so that the last row and column are never hidden.
        device: of the masks, None for the generator's.
    """
    where = generator.device if device is None else device
    last = 1 if placement == "inclusive" else 0
    axes = []
    for length in size:
        low = torch.randint(0, length - side + last, (n, 1), generator=generator, device=where)
        position = torch.arange(length, device=where)
        axes.append((position >= low) & (position < low + side))
    rows, columns = axes
    return (rows[:, :, None] & columns[:, None, :])[:, None].float()


def apply(images: Tensor, masks: Tensor, mask_channel: bool = False) -> Tensor:
    """Return images with hidden pixels 0 (mid grey), ``(N, C, H, W)`` in [-1, 1].

    Args:
        images: ``(N, C, H, W)`` in [-1, 1].
        masks: ``(N, 1, H, W)``, 1 where hidden.
        mask_channel: append the mask as a last channel.
    """
    seen = images * (1.0 - masks)
    return torch.cat([seen, masks], 1) if mask_channel else seen
