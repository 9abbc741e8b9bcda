"""Settings of the evaluator; imports no torch."""

from __future__ import annotations

from attrs import Attribute, field, frozen
from attrs.validators import ge, in_

from nastk.records import Direction

EXTRACTORS = ("auto", "small-cnn", "random-cnn", "inception-v3")
"""Feature extractors that a user can name; ``auto`` decides by what the data offers."""

METRICS: dict[str, Direction] = {
    "rating": "minimise",
    "extractor_fd": "minimise",
    "log_fd": "minimise",
    "extractor_kid": "minimise",
    "extractor_is": "maximise",
    "precision": "maximise",
    "recall": "maximise",
    "masked_l1": "minimise",
    "psnr": "maximise",
    "class_cross_entropy": "minimise",
    "accuracy": "maximise",
    "parameters": "minimise",
    "macs": "minimise",
}
"""Every metric that the standard evaluator can be asked for, and which way is better."""

LATENCY: dict[str, Direction] = {"latency_p50_ms": "minimise", "latency_p95_ms": "minimise"}
"""Metrics that ``latency`` adds."""

QUALIFIED: dict[str, str] = {
    "extractor_fd": "fid",
    "extractor_kid": "kid",
    "extractor_is": "inception_score",
}
"""Our name → the plain name, earned only by InceptionV3 on >= 10,000 real and fake images."""


def _known(instance: object, attribute: Attribute[tuple[str, ...]], value: tuple[str, ...]) -> None:
    for name in value:
        if name not in METRICS:
            raise ValueError(
                f"'{attribute.name}' holds '{name}', expected some of {', '.join(METRICS)}"
            )


@frozen
class EvaluatorConfig:
    """Settings of the evaluator ``standard``."""

    extractor: str = field(
        default="auto",
        validator=in_(EXTRACTORS),
        metadata={
            "help": "feature extractor: small-cnn (trained on the visible training labels), "
            "random-cnn (untrained, for data without labels), inception-v3, or auto: inception-v3 "
            "where weights are given, else small-cnn where the data has labels, else random-cnn",
            "choices": EXTRACTORS,
        },
    )
    inception_weights: str = field(
        default="", metadata={"help": "file with InceptionV3 weights of torch-fidelity's release"}
    )
    inception_download: bool = field(
        default=False,
        metadata={"help": "let InceptionV3 weights be downloaded when no file is given"},
    )
    metrics: tuple[str, ...] = field(
        default=(),
        validator=_known,
        metadata={"help": "metrics to measure besides the rating; empty: all that apply"},
    )
    samples: int = field(
        default=1000,
        validator=ge(2),
        metadata={"help": "generated images per candidate (image inputs: at most one per image)"},
    )
    real_samples: int = field(
        default=0, validator=ge(0), metadata={"help": "real images to compare with; 0: the split"}
    )
    batch_size: int = field(
        default=128, validator=ge(1), metadata={"help": "images per forward pass"}
    )
    kid_subset_size: int = field(
        default=100,
        validator=ge(2),
        metadata={"help": "images per KID subset, cut to the images at hand"},
    )
    kid_subsets: int = field(default=50, validator=ge(1), metadata={"help": "subsets KID averages"})
    isc_splits: int = field(
        default=10,
        validator=ge(1),
        metadata={"help": "splits of the inception score, cut so that each has 10 images"},
    )
    prc_neighbours: int = field(
        default=3, validator=ge(1), metadata={"help": "neighbours of precision and recall"}
    )
    mask_size: int = field(
        default=0,
        validator=ge(0),
        metadata={"help": "side of the square hidden from image inputs; 0: 10/32 of the image"},
    )
    latency: bool = field(
        default=False,
        metadata={"help": "time the generator too, on the test split; never the same twice"},
    )
    latency_threads: int = field(
        default=1, validator=ge(1), metadata={"help": "CPU threads while latency is measured"}
    )
    latency_repeats: int = field(
        default=50, validator=ge(2), metadata={"help": "timed passes of a latency measurement"}
    )
