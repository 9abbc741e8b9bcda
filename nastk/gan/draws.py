"""Which real images a training is shown, batch by batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from nastk.data.batches import Batches, labelled
from nastk.dataset import HIDDEN
from nastk.errors import DataError
from nastk.gan.setting import Setting
from nastk.randomness import HOST, Randomness


class MixedBatches:
    """Batches of which a given part shows images with a visible label, the rest others.

    Args:
        told: of the images with a visible label.
        others: of those without.
        generator: of the images' device; shuffles each batch.
    """

    def __init__(self, told: Batches, others: Batches, generator: torch.Generator) -> None:
        self._told = told
        self._others = others
        self._generator = generator

    def next(self) -> tuple[Tensor, Tensor]:
        """Return ``(B, C, H, W)`` images and ``(B,)`` labels as ``Batches.next`` does."""
        pairs = zip(self._told.next(), self._others.next(), strict=True)
        images, labels = (torch.cat(pair) for pair in pairs)
        source = self._generator.device
        order = torch.randperm(len(images), generator=self._generator, device=source)
        order = order.to(images.device)
        return images[order], labels[order]

    def state_dict(self) -> dict[str, Any]:
        """Return the position among images of either kind."""
        return {"told": self._told.state_dict(), "others": self._others.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned.

        Raises:
            ShapeError: the state belongs to other data.
        """
        self._told.load_state_dict(state["told"])
        self._others.load_state_dict(state["others"])


def make_batches(setting: Setting, randomness: Randomness) -> Batches | MixedBatches:
    """Return the batches of a training; nothing is drawn yet.

    Raises:
        DataError: labelled images are wanted and there are none.
    """
    config, split = setting.config, setting.split
    resident = split.images.device == setting.device
    generator = randomness.torch("data" if resident else f"data{HOST}")

    def batches(size: int, subset: Tensor | None) -> Batches:
        count = len(split) if subset is None else len(subset)
        return Batches(
            split,
            size,
            generator=generator,
            replacement=config.sampling == "replacement",
            flips=config.flips,
            subset=subset,
            # A last batch of one image has no batch statistics.
            drop_last=config.sampling == "epoch" and count >= size,
            device=setting.device,
        )

    told = labelled(split)
    if not config.labelled_share or len(told) == len(split):
        return batches(config.batch_size, None)
    if not len(told):
        raise DataError(
            f"trainer.labelled_share: got {config.labelled_share:g}, but no label is visible",
            "set it to 0",
        )
    many = max(1, round(config.labelled_share * config.batch_size))
    if many == config.batch_size:
        return batches(many, told)
    others = torch.nonzero(split.labels == HIDDEN).flatten()
    rest = config.batch_size - many
    return MixedBatches(batches(many, told), batches(rest, others), generator)
