"""REINFORCE with a moving baseline, as AutoGAN's controller is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from nastk_autogan.config import ControllerConfig
from nastk_autogan.controller import Controller, Draw


class Reinforce:
    """Trains one controller from rewards.

    Per architecture b the advantage is ``A_b = R_b + c * mean_i H_bi - baseline`` and the loss
    ``-n * sum_b A_b * sum_i log p_bi``, n the number of decisions: for one architecture this is
    the official loss, an outer product over decisions, and for several its per-sample form.

    Source: the public code of X. Gong et al. 2019. Differs: any number of architectures per
    update; the entropy has no gradient unless ``entropy = "official"``.

    Args:
        controller: trained in place.
        config: rates, baseline and entropy.

    Attributes:
        baseline: moving mean of the rewards, None before the first.
    """

    def __init__(self, controller: Controller, config: ControllerConfig) -> None:
        self.config = config
        self.baseline: float | None = None
        self._parameters = dict(controller.named_parameters())
        betas = (config.controller_beta1, config.controller_beta2)
        self.adam = torch.optim.Adam(self._parameters.values(), config.controller_lr, betas)

    def forget(self) -> None:
        """Forget the mean reward."""
        self.baseline = None

    def update(self, draws: Sequence[Draw], rewards: Sequence[float]) -> float:
        """Update the controller once; return the loss.

        Args:
            draws: of this controller, with their graphs.
            rewards: one each, larger is better.
        """
        loss = self.loss(draws, rewards)
        if loss.requires_grad:
            self.adam.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            self.adam.step()
        return loss.item()

    def loss(self, draws: Sequence[Draw], rewards: Sequence[float]) -> Tensor:
        """Return the loss, a scalar; moves the baseline."""
        bonus = torch.stack([_mean(d.entropies) for d in draws])
        c = self.config.entropy_coefficient
        values = torch.tensor(rewards)
        if self.config.entropy != "bonus":
            kept = bonus if self.config.entropy == "official" else bonus.detach()
            values = values + c * kept
        advantages = values - self._compared(values)
        loss = torch.zeros(())
        for draw, advantage, entropy in zip(draws, advantages, bonus, strict=True):
            n = len(draw.logs_of_options)
            loss = loss - n * advantage * draw.log_probability
            if self.config.entropy == "bonus":
                loss = loss - n * c * entropy
        return loss

    def _compared(self, values: Tensor) -> Tensor:
        """Return the baseline that rewards are compared with, and move it."""
        mean, decay = values.mean(), self.config.baseline_decay
        old = mean.detach() if self.baseline is None else torch.tensor(self.baseline)
        new = mean if self.baseline is None else decay * old + (1 - decay) * mean
        self.baseline = new.item()
        return new if self.config.baseline_order == "before" else old

    def state_dict(self) -> dict[str, Any]:
        """Return baseline and optimiser."""
        state = {
            name: {key: value.clone() for key, value in self.adam.state[p].items()}
            for name, p in self._parameters.items()
            if p in self.adam.state
        }
        return {"baseline": self.baseline, "adam": state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.baseline = state["baseline"]
        self.adam.state.clear()
        for name, saved in state["adam"].items():
            self.adam.state[self._parameters[name]] = {k: v.clone() for k, v in saved.items()}


def _mean(entropies: Tensor) -> Tensor:
    return entropies.mean() if len(entropies) else torch.zeros(())
