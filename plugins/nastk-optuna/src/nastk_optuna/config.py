"""Settings of the strategies; imports neither Optuna nor torch."""

from __future__ import annotations

from typing import Any, Literal

from attrs import Attribute, field, frozen
from attrs.validators import and_, ge, gt, in_, le, max_len, min_len, optional

PRUNERS = ("none", "median", "successive-halving")
"""Which of Optuna's pruners may end a candidate's training early."""


def _positive(default: int, text: str) -> Any:
    return field(default=default, validator=gt(0), metadata={"help": text})


def _limit(text: str) -> Any:
    return field(default=None, validator=optional(ge(0)), metadata={"help": text})


def _known_storage(instance: object, attribute: Attribute[str], value: str) -> None:
    # Optuna reads snapshots from Redis with pickle, which would run a stranger's code.
    if value.startswith(("redis:", "rediss:", "unix:")):
        raise ValueError(
            f"'{attribute.name}' got a Redis URL, expected a database URL or a journal file "
            "(Optuna unpickles what Redis holds)"
        )


def _distinct(instance: object, attribute: Attribute[Any], value: tuple[str, ...]) -> None:
    if len(set(value)) != len(value):
        raise ValueError(f"'{attribute.name}' names a metric twice: {', '.join(value)}")


def _metrics(*default: str) -> Any:
    return field(
        default=default,
        validator=and_(min_len(1), _distinct),
        metadata={"help": "metrics that are optimised; the first decides the winner"},
    )


@frozen
class CommonConfig:
    """Settings that all of Optuna's strategies have; steps are generator updates."""

    candidates: int = _positive(16, "architectures that this run trains and measures")
    steps: int = _positive(400, "training of each candidate")
    batch: int = _positive(1, "candidates proposed before any of them is told")
    metrics: tuple[str, ...] = _metrics("rating")
    max_parameters: int | None = _limit(
        "hard limit of G's parameters; 0 none; unset: the space's reference"
    )
    max_macs: int | None = _limit("hard limit of G's MACs per image; 0 none; unset: likewise")
    redraws: int = _positive(1000, "refused proposals in a row before the search gives up")
    storage: str = field(
        default="",
        validator=_known_storage,
        metadata={
            "help": "where trials are kept: a database URL or a journal file, shared by all "
            "processes that name it; empty: in the run itself"
        },
    )
    study: str = field(
        default="",
        validator=max_len(512),
        metadata={"help": "name of the study in the storage; empty: strategy and space"},
    )


@frozen
class RandomConfig(CommonConfig):
    """Settings of the ``random`` strategy."""

    pruner: Literal["none", "median", "successive-halving"] = field(
        default="none",
        validator=in_(PRUNERS),
        metadata={"help": "ends the training of candidates that fall behind the others"},
    )
    rungs: int = field(
        default=4,
        validator=ge(2),
        metadata={"help": "equal parts of a training, between which the pruner looks"},
    )


@frozen
class TpeConfig(RandomConfig):
    """Settings of the ``tpe`` strategy."""

    startup_trials: int = field(
        default=6,
        validator=ge(0),
        metadata={"help": "measured candidates of the study before the model proposes"},
    )
    multivariate: bool = field(
        default=True, metadata={"help": "model all decisions jointly rather than one by one"}
    )
    ei_candidates: int = _positive(24, "draws among which the model picks a proposal")


@frozen
class Nsga2Config(CommonConfig):
    """Settings of the ``nsga2`` strategy."""

    metrics: tuple[str, ...] = _metrics("rating", "parameters", "macs")
    population: int = field(
        default=8, validator=ge(2), metadata={"help": "measured candidates of one generation"}
    )
    crossover: float = field(
        default=0.9,
        validator=and_(ge(0.0), le(1.0)),
        metadata={"help": "probability that a child mixes two parents"},
    )


@frozen
class SharingConfig:
    """Settings of the ``random-sharing`` strategy; steps are generator updates."""

    shared_steps: int = _positive(2000, "training of the supernet whose weights are shared")
    rated: int = _positive(64, "architectures drawn and rated with the shared weights")
    metric: str = field(default="rating", metadata={"help": "metric that they are ranked by"})
    recalibrate_batches: int = _positive(
        4, "batches of 64 that measure a candidate's batch-norm statistics before it is rated"
    )
    max_parameters: int | None = _limit(
        "hard limit of G's parameters; 0 none; unset: the space's reference"
    )
    max_macs: int | None = _limit("hard limit of G's MACs per image; 0 none; unset: likewise")
    redraws: int = _positive(1000, "refused draws in a row before the search gives up")
    max_restarts: int = field(
        default=2,
        validator=ge(0),
        metadata={"help": "supernets that may diverge or collapse before the search gives up"},
    )

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metric, alone."""
        return (self.metric,)
