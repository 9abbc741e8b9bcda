"""Settings of the space, the table and the zero-cost scores; imports no torch."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen
from attrs.validators import ge, in_

from nastk.records import Direction


def _whole(default: int, text: str) -> Any:
    return field(default=default, validator=ge(1), metadata={"help": text})


@frozen
class SpaceConfig:
    """Widths of the nano space; the table holds for the defaults only."""

    generator_width: int = _whole(12, "channels of the generator's feature maps")
    discriminator_width: int = _whole(12, "channels of the discriminator's first feature map")
    latent_dim: int = _whole(8, "length of the latent vector")


@frozen
class TableConfig:
    """Which table is read."""

    table: str = field(
        default="", metadata={"help": "file of a table; empty: the one of this distribution"}
    )


SCORES: dict[str, Direction] = {
    "log_parameters": "maximise",
    "log_macs": "maximise",
    "gradient_norm": "maximise",
    "synflow": "maximise",
    "ntk_condition": "minimise",
    "output_spread": "maximise",
    "output_rank": "maximise",
    "judge_gradient": "maximise",
    "untrained_log_fd": "minimise",
}
"""Zero-cost score → the direction that its inventors, or common sense, expect to be better."""


@frozen
class ZeroCostConfig:
    """Settings of the evaluator ``zero-cost``."""

    score: str = field(
        default="synflow",
        validator=in_(SCORES),
        metadata={"help": "what the rating is; all scores are measured", "choices": tuple(SCORES)},
    )
    batch: int = _whole(32, "latent vectors, and real images, that are looked at")
    draws: int = _whole(2, "random initialisations that are averaged")
    samples: int = _whole(500, "generated images of untrained_log_fd")
