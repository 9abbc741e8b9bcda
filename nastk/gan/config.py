"""Settings of the trainer and of the objectives; imports no torch."""

from __future__ import annotations

import math
from typing import Any, Literal

from attrs import Attribute, field, frozen
from attrs.validators import and_, ge, gt, in_, le, lt

Placement = Literal["inclusive", "exclusive"]


def _finite(_: object, attribute: Attribute[Any], value: float) -> None:
    if not math.isfinite(value):
        raise ValueError(f"'{attribute.name}' must be finite: {value}")


def _real(default: float, text: str, *rules: Any) -> Any:
    """Return a float field; integers are taken as floats (Adam refuses integer betas)."""
    return field(
        default=default, converter=float, validator=and_(_finite, *rules), metadata={"help": text}
    )


def _whole(default: int, text: str, least: int) -> Any:
    return field(default=default, validator=ge(least), metadata={"help": text})


def _one_of(default: str, text: str, *options: str) -> Any:
    return field(default=default, validator=in_(options), metadata={"help": text})


def _flag(default: bool, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@frozen
class TrainerConfig:
    """How a pair of networks is trained; the defaults suit small grey images."""

    g_lr: float = _real(5e-4, "generator's learning rate (Adam)", gt(0))
    d_lr: float = _real(5e-4, "discriminator's learning rate (Adam)", gt(0))
    beta1: float = _real(0.0, "Adam's first-moment decay", ge(0), lt(1))
    beta2: float = _real(0.9, "Adam's second-moment decay", ge(0), lt(1))
    eps: float = _real(1e-8, "Adam's epsilon", gt(0))
    lr_decay: Literal["none", "linear"] = _one_of(
        "none", "learning rates over the planned steps: constant, or linear to 0", "none", "linear"
    )
    batch_size: int = _whole(64, "real images of a discriminator update", 1)
    micro_batch: int = _whole(
        0,
        "images that pass through the networks at a time, gradients being summed; it changes no "
        "result: networks with batch norm or dropout run whole batches; 0: all do",
        0,
    )
    g_batch_size: int = _whole(
        0, "generated images of a generator update, 0 for batch_size (latent inputs only)", 0
    )
    n_critic: int = _whole(1, "discriminator turns per generator update", 1)
    d_update: Literal["joint", "separate"] = _one_of(
        "joint",
        "one discriminator update on real and fake, or one on real and then one on fake",
        "joint",
        "separate",
    )
    fakes_for_d: Literal["train", "eval"] = _one_of(
        "train", "mode of the generator when it makes the discriminator's fakes", "train", "eval"
    )
    ema_decay: float = _real(0.999, "decay of the generator's average, 0 for none", ge(0), lt(1))
    ema_warmup: bool = _flag(
        True, "start the average with decay (1 + t) / (10 + t), so that short runs forget the start"
    )
    init: str = _one_of(
        "xavier-conv",
        "initialisation scheme",
        "glorot",
        "xavier-conv",
        "normal",
        "orthogonal",
        "default",
    )
    sampling: Literal["epoch", "replacement"] = _one_of(
        "epoch", "real images by shuffled epochs or drawn with replacement", "epoch", "replacement"
    )
    flips: bool = _flag(False, "mirror real images at random")
    labelled_share: float = _real(
        0.0,
        "share of every real batch drawn from the images with a visible label, the rest from the "
        "others; 0: as they come; 1: labelled images only",
        ge(0),
        le(1),
    )
    mask_size: int = _whole(0, "side of the hidden square, 0 for round(10/32 of the side)", 0)
    mask_placement: Literal["inclusive", "exclusive"] = _one_of(
        "inclusive",
        "offsets 0..side-mask, or without the last one (0..side-mask-1)",
        "inclusive",
        "exclusive",
    )
    mask_channel: bool = _flag(False, "give the mask to the generator as a further channel")
    precision: Literal["fp32", "tf32", "bf16"] = _one_of(
        "fp32",
        "of the networks' passes (tf32: CUDA's shorter products, elsewhere fp32; bf16: autocast)",
        "fp32",
        "tf32",
        "bf16",
    )
    compile: Literal["off", "on", "graphs"] = _one_of(
        "off",
        "run derived networks through torch.compile; graphs: with CUDA graphs on CUDA",
        "off",
        "on",
        "graphs",
    )
    data: Literal["auto", "device", "host"] = _one_of(
        "auto",
        "where training images stay; host: pinned, copied batch by batch; auto: host if too large",
        "auto",
        "device",
        "host",
    )
    forms: Literal["auto", "measure", "plain", "merged", "ring", "single", "frequency"] = _one_of(
        "auto",
        "evaluate networks in faster forms that compute the same, or as they are defined (plain); "
        "mixtures of convolutions in the form that suits a shape, by a rule (auto) or timed once "
        "(measure: kept in the run, differs between machines), or in the one named",
        "auto",
        "measure",
        "plain",
        "merged",
        "ring",
        "single",
        "frequency",
    )
    memory_format: Literal["auto", "contiguous", "channels_last"] = _one_of(
        "auto",
        "order of a feature map's values in memory; auto: channels_last",
        "auto",
        "contiguous",
        "channels_last",
    )
    health: Literal["on", "off"] = _one_of(
        "on", "give collapsed pairs up; non-finite losses always end a training", "on", "off"
    )
    health_every: int = _whole(100, "steps between two looks at the pair's health", 1)
    health_warmup: int = _whole(300, "steps before a pair may be called collapsed", 0)
    health_window: int = _whole(5, "bad looks in a row before a pair is given up", 1)
    health_spread: float = _real(
        0.01, "collapsed below this spread of generated images (real images: 1)", ge(0)
    )
    health_duplicates: float = _real(
        0.95, "collapsed above this share of generated images that have an equal", gt(0)
    )
    health_d_loss: float = _real(
        1e-3, "the discriminator wins below this mean absolute loss (with health_g_loss)", ge(0)
    )
    health_g_loss: float = _real(
        0.9, "the discriminator wins above this mean generator loss (with health_d_loss)"
    )


@frozen
class LeastSquaresConfig:
    """Least-squares losses."""

    scale: float = _real(0.5, "factor of every squared error", gt(0))
    real_target: float = _real(1.0, "what D should say of real images")
    fake_target: float = _real(0.0, "what D should say of generated images")
    generator_target: float = _real(1.0, "what G wants D to say of generated images")


@frozen
class WassersteinConfig:
    """Wasserstein losses with a gradient penalty."""

    penalty: float = _real(10.0, "weight of the gradient penalty", ge(0))
    drift: float = _real(0.0, "weight of the squared validity of real images", ge(0))


@frozen
class SemiSupervisedConfig:
    """Least squares on validity and cross-entropy over K + 1 classes."""

    validity_weight: float = _real(0.5, "weight of D's squared validity error", ge(0))
    class_weight: float = _real(0.5, "weight of D's class loss", ge(0))
    reconstruction: float = _real(
        0.0, "weight of the mean absolute error over hidden pixels in G's loss", ge(0)
    )
    generator_class_weight: float = _real(
        0.0, "weight of the visible labels' cross-entropy in G's loss", ge(0)
    )
