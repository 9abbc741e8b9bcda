"""Settings of the nano space; imports no torch."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen
from attrs.validators import ge


def _whole(default: int, text: str) -> Any:
    return field(default=default, validator=ge(1), metadata={"help": text})


@frozen
class SpaceConfig:
    """Widths of the nano space; the table holds for the defaults only."""

    generator_width: int = _whole(12, "channels of the generator's feature maps")
    discriminator_width: int = _whole(12, "channels of the discriminator's first feature map")
    latent_dim: int = _whole(8, "length of the latent vector")
