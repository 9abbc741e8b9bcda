"""What a generator is fed: latents or masked real images, drawn from named streams."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from attrs import frozen
from torch import Tensor

from nastk.errors import ConfigError, PairError
from nastk.gan.config import TrainerConfig
from nastk.gan.masks import apply, mask_side, square_masks
from nastk.randomness import Randomness
from nastk.records import InputSpec


@frozen
class Drawn:
    """One batch of generator inputs.

    Attributes:
        condition: ``(N, L)`` latents or ``(N, C, H, W)`` masked images.
        mask: ``(N, 1, H, W)``, 1 where hidden; None for latents.
    """

    condition: Tensor
    mask: Tensor | None = None


class Inputs(ABC):
    """Draws generator inputs.

    Attributes:
        paired: each input belongs to one real image, so G's step uses the batch of D's step.
    """

    paired: bool

    @abstractmethod
    def draw(self, images: Tensor, n: int, generator: torch.Generator | None = None) -> Drawn:
        """Return ``n`` inputs; advances one named stream, or ``generator`` where given.

        Args:
            images: ``(n, C, H, W)`` in [-1, 1], only read by paired inputs.
            n: number of inputs.
            generator: instead of the stream, for fixed banks.
        """


class LatentInputs(Inputs):
    """Standard normal latents from stream ``latent``."""

    paired = False

    def __init__(self, shape: tuple[int, ...], randomness: Randomness) -> None:
        self._shape = shape
        self._randomness = randomness

    def draw(self, images: Tensor, n: int, generator: torch.Generator | None = None) -> Drawn:
        """Return ``(n, *shape)`` latents."""
        source = self._randomness.torch("latent") if generator is None else generator
        size = (n, *self._shape)
        return Drawn(torch.randn(size, generator=source, device=images.device))


class MaskedInputs(Inputs):
    """Real images with one hidden square each, its place from stream ``mask``."""

    paired = True

    def __init__(
        self, size: tuple[int, int], config: TrainerConfig, randomness: Randomness
    ) -> None:
        self._size = size
        self._side = mask_side(size, config.mask_size)
        self._config = config
        self._randomness = randomness

    def draw(self, images: Tensor, n: int, generator: torch.Generator | None = None) -> Drawn:
        """Return ``(n, C, H, W)`` images with a square of each hidden, and the mask."""
        source = self._randomness.torch("mask") if generator is None else generator
        placement = self._config.mask_placement
        mask = square_masks(n, self._size, self._side, source, placement, images.device)
        return Drawn(apply(images, mask, self._config.mask_channel), mask)


def make_inputs(
    spec: InputSpec, image: tuple[int, int, int], config: TrainerConfig, randomness: Randomness
) -> Inputs:
    """Return the inputs that a space's generator eats.

    Args:
        spec: the space's input.
        image: (channels, height, width) of the images trained on.
        config: mask settings.
        randomness: owner of the streams.

    Raises:
        PairError: the space's input has other channels than the masked images would have.
        ConfigError: ``g_batch_size`` differs from ``batch_size`` with masked inputs.
    """
    if spec.kind == "latent":
        return LatentInputs(spec.shape, randomness)
    channels = image[0] + int(config.mask_channel)
    if spec.shape[0] != channels:
        raise PairError(
            f"generator input: the space expects {spec.shape[0]} channels, masked images have "
            f"{channels}",
            "set trainer.mask_channel to what the space expects",
        )
    if config.g_batch_size not in (0, config.batch_size):
        raise ConfigError(
            f"trainer.g_batch_size: got {config.g_batch_size}, expected 0 or batch_size "
            f"({config.batch_size}) with masked inputs, which are shared by D's and G's step"
        )
    return MaskedInputs(image[1:], config, randomness)
