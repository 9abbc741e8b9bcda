"""Settings of the space and of the strategy; torch-free."""

from __future__ import annotations

from typing import Any, Literal

from attrs import field, frozen
from attrs.validators import and_, ge, gt, in_, le, optional


def _positive(default: int, text: str) -> Any:
    return field(default=default, validator=gt(0), metadata={"help": text})


def _share(default: float, text: str) -> Any:
    return field(default=default, validator=and_(ge(0.0), le(1.0)), metadata={"help": text})


@frozen
class SpaceConfig:
    """Settings of the ``stasgan`` space."""

    generator_width: int = _positive(
        32, "smallest number of filters; the options are 1, 2, 4 and 8 times as many"
    )
    discriminator_width: int = _positive(64, "filters of the fixed discriminator's first layer")
    max_depth: int = field(
        default=4,
        validator=and_(ge(2), le(4)),
        metadata={"help": "largest number of units (fewer where the image is small)"},
    )
    discriminator: Literal["fixed", "searched"] = field(
        default="fixed",
        validator=in_(("fixed", "searched")),
        metadata={"help": "whether the discriminator has decisions of its own"},
    )
    first_slope: float = _share(0.8, "slope of the discriminator's first leaky ReLU")
    norm: Literal["sample", "instance"] = field(
        default="sample",
        validator=in_(("sample", "instance")),
        metadata={"help": "normalisation of the discriminator; the published code's is 'sample'"},
    )


@frozen
class StrategyConfig:
    """Settings of the ``blockwise`` strategy; steps are generator updates.

    The defaults are sized for small images and minutes; preset ``official`` holds the sizes of the
    full procedure.
    """

    warm_steps: int = _positive(200, "training of the first block and D before anything is rated")
    unit_steps: int = _positive(400, "training of a new block, per beam entry")
    finetune_steps: int = field(
        default=150, validator=ge(0), metadata={"help": "training of all weights of a survivor"}
    )
    rating_mode: Literal["supernet", "inherit"] = field(
        default="supernet",
        validator=in_(("supernet", "inherit")),
        metadata={"help": "rate with shared weights, or train every candidate for itself"},
    )
    inherit_steps: int = _positive(100, "training of each candidate in 'inherit' mode")
    beam: int = _positive(2, "partial architectures that survive a block; 1 is greedy")
    rate_first: int = _positive(48, "candidates rated for the first block, all if there are fewer")
    rate_uniform: int = _positive(16, "uniform candidates per beam entry and later block")
    rate_mutations: int = field(
        default=8, validator=ge(0), metadata={"help": "mutations of the best so far, likewise"}
    )
    rate_images: int = _positive(1000, "validation images of a rating, all if there are fewer")
    recalibrate_batches: int = _positive(10, "training batches for batch-norm statistics")
    max_parameters: int | None = field(
        default=None,
        validator=optional(ge(0)),
        metadata={"help": "hard limit of G's parameters; 0 none; unset: the space's reference"},
    )
    max_macs: int | None = field(
        default=None,
        validator=optional(ge(0)),
        metadata={"help": "hard limit of G's MACs per image; 0 none; unset: the reference's"},
    )
    soft_share: float = _share(0.5, "share of the parameter limit above which size is charged")
    kappa: float = field(
        default=0.07, validator=ge(0.0), metadata={"help": "exponent of the charge for size"}
    )
    weight_validity: float = field(default=0.5, metadata={"help": "of the validity term"})
    weight_class: float = field(default=0.5, metadata={"help": "of the class term"})
    weight_reconstruction: float = field(default=1.0, metadata={"help": "of the masked L1 term"})
    delta: float = _share(0.01, "least relative gain that justifies another block")
    steps_per_chunk: int = _positive(50, "training steps between two looks of the engine")
    ratings_per_chunk: int = _positive(16, "candidates rated between two looks of the engine")
    discriminator_phase: bool = field(
        default=False, metadata={"help": "search the discriminator too, after the generator"}
    )
    discriminator_candidates: int = _positive(16, "candidates of that phase")
    discriminator_steps: int = _positive(200, "training of each of them")
