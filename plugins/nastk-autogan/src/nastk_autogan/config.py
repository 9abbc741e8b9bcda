"""Settings of the space and of the strategy; torch-free."""

from __future__ import annotations

from attrs import field, frozen
from attrs.validators import ge, gt


def _positive(default: int, text: str) -> int:
    return field(default=default, validator=gt(0), metadata={"help": text})


@frozen
class SpaceConfig:
    """Settings of the ``autogan`` space; the defaults are the published retraining's."""

    generator_width: int = _positive(256, "channels of every feature map of the generator")
    discriminator_width: int = _positive(128, "channels of the discriminator")
    latent_dim: int = _positive(128, "length of the latent vector")
    bottom_width: int = field(
        default=0,
        validator=ge(0),
        metadata={"help": "side of the first feature map; 0 for an eighth of the image's side"},
    )
