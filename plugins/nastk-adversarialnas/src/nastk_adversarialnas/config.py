"""Settings of the space and of the strategy; torch-free."""

from __future__ import annotations

from typing import Any, Literal

from attrs import Attribute, field, frozen
from attrs.validators import and_, ge, gt, in_, le, lt


def _positive(default: int, text: str) -> Any:
    return field(default=default, validator=gt(0), metadata={"help": text})


def _whole(default: int, text: str, least: int = 0) -> Any:
    return field(default=default, validator=ge(least), metadata={"help": text})


def _real(default: float, text: str, *rules: Any) -> Any:
    return field(default=default, converter=float, validator=and_(*rules), metadata={"help": text})


def _flag(default: bool, text: str) -> Any:
    return field(default=default, metadata={"help": text})


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


def _not_one(_: object, attribute: Attribute[Any], value: int) -> None:
    if value < 0 or value == 1:
        raise ValueError(f"'{attribute.name}' must be 0 or at least 2: {value}")


@frozen
class StrategyConfig:
    """Settings of the ``adversarialnas`` strategy; steps are generator updates."""

    steps: int = _positive(2000, "generator updates of the supernets")
    gumbel: bool = _flag(True, "mix by Gumbel-softmax with a temperature; else by plain softmax")
    logits: Literal["raw", "softmax"] = field(
        default="raw",
        validator=in_(("raw", "softmax")),
        metadata={"help": "what the noise is added to; the published code's is 'softmax'"},
    )
    tau_max: float = _real(5.0, "temperature at the first level", gt(0))
    tau_min: float = _real(0.1, "temperature that the levels approach", gt(0))
    tau_floor: float = _real(0.1, "no temperature is below this", gt(0))
    tau_levels: int = _positive(25, "levels of the temperature over the search")
    tau_first: int = _whole(0, "level to start with; the published code never trains at level 0")
    choice_lr: float = _real(3e-4, "learning rate of the choice weights (Adam)", gt(0))
    choice_beta1: float = _real(0.5, "their first-moment decay", ge(0), lt(1))
    choice_beta2: float = _real(0.999, "their second-moment decay", ge(0), lt(1))
    choice_weight_decay: float = _real(1e-4, "their L2 penalty, which pulls to uniform", ge(0))
    amending: float = _real(0.0, "coefficient of the second-order gradient, 0 for first", ge(0))
    ops_at_once: int = field(
        default=0,
        validator=_not_one,
        metadata={"help": "options of a decision that run in a pass, to save memory; 0 for all"},
    )
    search_discriminator: bool = _flag(
        True, "search D along with G even where the space retrains a fixed one, if it can"
    )
    keep_discriminator: bool = _flag(
        False, "retrain against D with its weights of the search, not against a fresh one"
    )
    derive_over_edges: bool = _flag(
        False, "derive D's edges from a softmax over a cell's edges, as the published code does"
    )
    waste_first_cell: bool = _flag(
        False, "seven weights for the five operations of D's first edges, as published"
    )
    derive_every: int = _positive(100, "steps between two derivations; the last one wins")
    steps_per_chunk: int = _positive(20, "steps between two looks of the engine")
