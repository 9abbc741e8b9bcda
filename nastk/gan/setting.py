"""What a trainer hands to each of its trainings."""

from __future__ import annotations

import copy
from typing import Any

import torch
from attrs import field, frozen

from nastk.dataset import Split
from nastk.gan.config import TrainerConfig
from nastk.gan.health import HealthPolicy
from nastk.nn.measured import Measured
from nastk.objective import Objective
from nastk.passes import NetworkPass


@frozen
class Setting:
    """What a trainer hands to each of its trainings.

    Attributes:
        config: settings.
        objective: copied, so that trainings do not share its state; companions are shared.
        split: training images on the device, at the pair's size.
        labelled: whether the data has classes.
        device: of networks and data.
        passes: told the progress at every health interval.
        health: this training's own policy.
        measured: forms timed by all trainings of the trainer.
    """

    config: TrainerConfig
    objective: Objective
    split: Split
    labelled: bool
    device: torch.device
    passes: tuple[NetworkPass, ...]
    health: HealthPolicy
    measured: Measured = field(factory=Measured)


def own_objective(objective: Objective, device: torch.device) -> Objective:
    """Return a copy of ``objective``; its companions are shared, frozen and on the device."""
    companions = objective.companions().values()
    for network in companions:
        network.to(device).eval().requires_grad_(False)
    memo: dict[int, Any] = {id(network): network for network in companions}
    return copy.deepcopy(objective, memo)
