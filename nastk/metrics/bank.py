"""The fixed inputs on which every candidate is measured."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from attrs import frozen
from torch import Tensor, nn

from nastk.data.batches import to_float
from nastk.dataset import Dataset, Split
from nastk.errors import ConfigError, PairError
from nastk.randomness import Randomness
from nastk.records import InputSpec


@frozen(eq=False)
class Inputs:
    """One batch of generator inputs.

    Attributes:
        given: ``(N, *shape)`` float32, what the generator eats.
        real: ``(N, C, H, W)`` in [-1, 1], what an image input completes; None for latents.
        mask: ``(N, 1, H, W)`` 1 where the image was hidden; None for latents.
    """

    given: Tensor
    real: Tensor | None = None
    mask: Tensor | None = None


class LatentBank:
    """Normal latents, the first rows of stream ``bank/latent``.

    Args:
        spec: of kind ``latent``.
        samples: number of latents.
        randomness: only a ``fixed`` stream is read; nothing advances.
    """

    mask_size = 0

    def __init__(self, spec: InputSpec, samples: int, randomness: Randomness) -> None:
        source = randomness.fixed("bank/latent")
        self._latents = torch.randn(samples, *spec.shape, generator=source, device=source.device)

    def __len__(self) -> int:
        return len(self._latents)

    def batches(self, size: int, device: torch.device) -> Iterator[Inputs]:
        """Yield all inputs on ``device``, ``size`` at a time."""
        for latents in torch.split(self._latents, size):
            yield Inputs(latents.to(device))


class MaskedBank:
    """Real images with one square hidden (set to 0, mid grey), one fixed mask per image.

    An image's mask depends on its place in the split and the seed, not on how many are used. With
    fewer samples than images a fixed random subset is used.

    Args:
        spec: of kind ``image``, (C, H, W), or (C + 1, H, W) where the mask is an input too.
        split: of that height and width.
        samples: at most this many, and at most one per image.
        mask_size: side of the square in pixels; 0 for round(10/32 · H).
        randomness: only ``fixed`` streams are read; nothing advances.

    Raises:
        PairError: the images do not fit the input.
        ConfigError: the square is larger than the image.
    """

    def __init__(
        self,
        spec: InputSpec,
        split: Split,
        samples: int,
        mask_size: int,
        randomness: Randomness,
    ) -> None:
        channels, height, width = split.images.shape[1:]
        if tuple(spec.shape[1:]) != (height, width) or spec.shape[0] not in (
            channels,
            channels + 1,
        ):
            raise PairError(
                f"generator input is {tuple(spec.shape)}, images are {(channels, height, width)}"
            )
        self.mask_size = mask_size or max(1, round(height * 10 / 32))
        if self.mask_size > min(height, width):
            raise ConfigError(
                f"evaluator.mask_size: got {self.mask_size}, expected at most {min(height, width)}"
            )
        self._with_mask = spec.shape[0] == channels + 1
        self._split = split
        self._corners = self._draw(randomness.fixed("bank/mask"))
        self.indices = _chosen(len(split), samples, randomness.fixed("bank/images"))
        self.labels = split.labels[self.indices.to(split.labels.device)]

    def __len__(self) -> int:
        return len(self.indices)

    def batches(self, size: int, device: torch.device) -> Iterator[Inputs]:
        """Yield all inputs on ``device``, ``size`` at a time."""
        for chosen in torch.split(self.indices, size):
            images = self._split.images[chosen.to(self._split.images.device)].to(device)
            real = to_float(images)
            mask = self._masks(chosen).to(device)
            given = real * (1 - mask)
            if self._with_mask:
                given = torch.cat([given, mask], dim=1)
            yield Inputs(given, real, mask)

    def _draw(self, source: torch.Generator) -> Tensor:
        height, width = self._split.images.shape[2:]
        drawn = [
            torch.randint(
                side - self.mask_size + 1,
                (len(self._split),),
                generator=source,
                device=source.device,
            )
            for side in (height, width)
        ]
        return torch.stack(drawn, dim=1).cpu()

    def _masks(self, chosen: Tensor) -> Tensor:
        height, width = self._split.images.shape[2:]
        top, left = self._corners[chosen].unbind(dim=1)
        rows = torch.arange(height) - top[:, None]
        columns = torch.arange(width) - left[:, None]
        inside_rows = (rows >= 0) & (rows < self.mask_size)
        inside_columns = (columns >= 0) & (columns < self.mask_size)
        return (inside_rows[:, :, None] & inside_columns[:, None, :])[:, None].float()


BATCH = 64
"""Inputs at a time in :func:`show_training_inputs`."""


def show_training_inputs(
    network: nn.Module,
    spec: InputSpec,
    dataset: Dataset,
    batches: int,
    randomness: Randomness,
    device: str,
) -> None:
    """Pass a fixed bank of training inputs through a generator: what it learns norms from.

    Args:
        network: eats what ``spec`` says.
        spec: of the space.
        dataset: whose training images are completed where the input is an image.
        batches: of :data:`BATCH` inputs.
        randomness: only ``fixed`` streams are read; nothing advances.
        device: of network and inputs.
    """
    bank: LatentBank | MaskedBank
    if spec.kind == "latent":
        bank = LatentBank(spec, batches * BATCH, randomness)
    else:
        bank = MaskedBank(spec, dataset.split("train", device), batches * BATCH, 0, randomness)
    for inputs in bank.batches(BATCH, torch.device(device)):
        network(inputs.given)


def _chosen(total: int, samples: int, source: torch.Generator) -> Tensor:
    if samples >= total:
        return torch.arange(total)
    order = torch.randperm(total, generator=source, device=source.device)
    return order[:samples].sort().values.cpu()
