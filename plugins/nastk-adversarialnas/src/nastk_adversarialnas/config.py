"""Settings of the space; torch-free."""

from __future__ import annotations

from typing import Literal

from attrs import field, frozen
from attrs.validators import and_, ge, gt, in_, le


def _positive(default: int, text: str) -> int:
    return field(default=default, validator=gt(0), metadata={"help": text})


@frozen
class SpaceConfig:
    """Settings of the ``adversarialnas`` space; the defaults are the published retraining's."""

    generator_width: int = _positive(256, "channels of every feature map of the generator")
    discriminator_width: int = _positive(128, "channels of the discriminator")
    latent_dim: int = _positive(120, "length of the latent vector, divisible by the parts")
    bottom_width: int = field(
        default=0,
        validator=ge(0),
        metadata={"help": "side of the first feature map; 0 for an eighth of the image's side"},
    )
    parts: int = field(
        default=0,
        validator=and_(ge(0), le(3)),
        metadata={"help": "latent parts, each with a stem of its own; 0 for 2 at side 6, else 3"},
    )
    discriminator: Literal["fixed", "searched"] = field(
        default="fixed",
        validator=in_(("fixed", "searched")),
        metadata={"help": "AutoGAN's fixed discriminator, or four down cells with decisions"},
    )
