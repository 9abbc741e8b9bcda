"""Settings of the space and of the strategy; torch-free."""

from __future__ import annotations

from typing import Any, Literal

from attrs import Attribute, field, frozen
from attrs.validators import and_, ge, gt, in_, lt

ENTROPIES = ("reward", "bonus", "official")


def _whole(default: int, least: int, text: str) -> Any:
    return field(default=default, validator=ge(least), metadata={"help": text})


def _real(default: float, text: str, *rules: Any) -> Any:
    return field(default=default, converter=float, validator=and_(*rules), metadata={"help": text})


def _one_of(default: str, text: str, *options: str) -> Any:
    return field(default=default, validator=in_(options), metadata={"help": text})


def _flag(default: bool, text: str) -> Any:
    return field(default=default, metadata={"help": text})


def _stages(_: object, attribute: Attribute[Any], value: tuple[int, ...]) -> None:
    if not value or min(value) < 1:
        raise ValueError(f"'{attribute.name}' must hold numbers of at least 1: {value}")


@frozen
class SpaceConfig:
    """Settings of the ``autogan`` space; the defaults are the published retraining's."""

    generator_width: int = _whole(256, 1, "channels of every feature map of the generator")
    discriminator_width: int = _whole(128, 1, "channels of the discriminator")
    latent_dim: int = _whole(128, 1, "length of the latent vector")
    bottom_width: int = _whole(
        0, 0, "side of the first feature map; 0 for an eighth of the image's side"
    )


@frozen
class ControllerConfig:
    """Settings of a controller and of how rewards train it; the defaults are AutoGAN's."""

    controller_width: int = _whole(100, 1, "width of the controller's LSTM and embeddings")
    controller_lr: float = _real(3.5e-4, "the controller's learning rate (Adam)", gt(0))
    controller_beta1: float = _real(0.0, "its first-moment decay", ge(0), lt(1))
    controller_beta2: float = _real(0.9, "its second-moment decay", ge(0), lt(1))
    baseline_order: Literal["before", "after"] = _one_of(
        "before", "the mean takes a reward in before or after it is compared", "before", "after"
    )
    baseline_decay: float = _real(0.9, "decay of the mean reward", ge(0), lt(1))
    entropy: Literal["reward", "bonus", "official"] = _one_of(
        "reward",
        "entropy as a part of the reward without gradient, as a term of the loss, or as the "
        "official code has it: in the reward with its gradient, which lowers it",
        *ENTROPIES,
    )
    entropy_coefficient: float = _real(1e-3, "weight of the mean entropy per decision", ge(0))


@frozen
class StrategyConfig(ControllerConfig):
    """Settings of the ``autogan`` strategy; the defaults are the released script's schedule.

    An iteration trains the shared networks, then the controller. A stage is one block of the
    space; after its iterations the best partial architectures go on to the next one.
    """

    stage_iterations: tuple[int, ...] = field(
        default=(15, 20, 30),
        converter=tuple[int, ...],
        validator=_stages,
        metadata={"help": "iterations per block; the last number stands for all further blocks"},
    )
    shared_epochs: float = _real(15.0, "passes over the training data per iteration", gt(0))
    shared_steps: int = _whole(0, 0, "generator updates per iteration instead; 0: by shared_epochs")
    controller_steps: int = _whole(30, 1, "updates of the controller per iteration")
    controller_batch: int = _whole(1, 1, "architectures per update of the controller")
    baseline: Literal["phase", "persistent"] = _one_of(
        "phase",
        "the mean reward is forgotten at every controller phase, or at every stage only",
        "phase",
        "persistent",
    )
    reward: str = field(
        default="extractor_is", metadata={"help": "metric of the evaluator that is the reward"}
    )
    recalibrate_batches: int = _whole(
        0, 0, "batches of 64 that measure batch-norm statistics before a score; 0: shared ones"
    )
    candidates: int = _whole(10, 1, "architectures that the controller proposes at a stage's end")
    beam: int = _whole(5, 1, "of these, those that survive")
    distinct: bool = _flag(True, "propose no architecture twice at a stage's end")
    reset_threshold: float = _real(
        1e-3, "variance of recent losses below which the networks start anew; 0: never", ge(0)
    )
    reset_window: int = _whole(500, 2, "recent losses looked at")
    clear_windows: bool = _flag(True, "forget the losses of the stage before")
    controller_after_reset: bool = _flag(
        True, "train the controller on collapsed networks before they start anew"
    )
    max_resets: int = _whole(50, 0, "resets after which the run fails")
    steps_per_chunk: int = _whole(50, 1, "generator updates between two looks of the engine")
    rewards_per_chunk: int = _whole(5, 1, "architectures scored between two looks of the engine")


@frozen
class ReinforceConfig(ControllerConfig):
    """Settings of the ``reinforce`` strategy; steps are generator updates.

    A hundred rewards must do where the published controllers had thousands, hence a larger
    learning rate than theirs.
    """

    controller_lr: float = _real(5e-3, "the controller's learning rate (Adam)", gt(0))
    controller_beta1: float = _real(0.9, "its first-moment decay", ge(0), lt(1))
    controller_beta2: float = _real(0.999, "its second-moment decay", ge(0), lt(1))
    baseline_order: Literal["before", "after"] = _one_of(
        "after", "the mean takes a reward in before or after it is compared", "before", "after"
    )
    entropy: Literal["reward", "bonus", "official"] = _one_of(
        "bonus", "entropy in the reward, as a term of the loss, or both", *ENTROPIES
    )
    entropy_coefficient: float = _real(0.02, "weight of the mean entropy per decision", ge(0))
    candidates: int = _whole(16, 1, "architectures that this run trains and measures")
    steps: int = _whole(400, 1, "training of each candidate")
    batch: int = _whole(1, 1, "candidates drawn before the controller learns of any of them")
    metric: str = field(
        default="rating", metadata={"help": "metric of the evaluator that is the reward"}
    )
