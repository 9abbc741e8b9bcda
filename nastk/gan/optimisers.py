"""Adam, its state by parameter name, and the average of a generator's parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from nastk.errors import NastkError
from nastk.gan.config import TrainerConfig

Named = Mapping[str, nn.Parameter]
FUSED = ("cpu", "cuda")


def adam(parameters: Named, lr: float, config: TrainerConfig) -> torch.optim.Adam:
    """Return Adam over ``parameters``, fused where the device can.

    Raises:
        NastkError: there is nothing to train.
    """
    if not parameters:
        raise NastkError("training: no parameter of the network is to be trained")
    fused = all(p.device.type in FUSED for p in parameters.values())
    betas = (config.beta1, config.beta2)
    return torch.optim.Adam(parameters.values(), lr, betas, config.eps, fused=fused)


def optimiser_state(optimiser: torch.optim.Optimizer, parameters: Named) -> dict[str, Any]:
    """Return copies of the optimiser's tensors by parameter name.

    Parameters that never had a gradient (paths never run) have none and are left out.
    """
    return {
        name: {key: value.detach().clone() for key, value in optimiser.state[p].items()}
        for name, p in parameters.items()
        if p in optimiser.state
    }


def load_optimiser_state(
    optimiser: torch.optim.Optimizer, parameters: Named, state: Mapping[str, Any]
) -> None:
    """Restore what :func:`optimiser_state` returned for parameters of the same names.

    Fused Adam keeps its step count beside the parameter, so everything goes to its device.

    Raises:
        NastkError: the state holds a parameter that is not trained here.
    """
    unknown = sorted(set(state) - set(parameters))
    if unknown:
        raise NastkError(f"optimiser state: parameter '{unknown[0]}' is not trained here")
    optimiser.state.clear()
    for name, saved in state.items():
        parameter = parameters[name]
        optimiser.state[parameter] = {
            key: _like(parameter, value.detach()) for key, value in saved.items()
        }


def _like(parameter: Tensor, value: Tensor) -> Tensor:
    """Return a copy on the parameter's device, in its memory format where it has its shape.

    Fused Adam goes through the memory of both side by side.
    """
    if value.shape != parameter.shape:
        return value.to(parameter.device, copy=True)
    return torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)


class Average:
    """Exponential moving average of parameters; buffers are never averaged.

    With warm-up the decay of the t-th update (from 0) is min(decay, (1 + t) / (10 + t)).

    Attributes:
        updates: made so far.
    """

    def __init__(self, parameters: Named, decay: float, warmup: bool) -> None:
        self._live: list[Tensor] = list(parameters.values())
        self._names = list(parameters)
        self._mean = [p.detach().clone() for p in self._live]
        self._decay = decay
        self._warmup = warmup
        self.updates = 0

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the live parameters."""
        early = (1 + self.updates) / (10 + self.updates)
        decay = min(self._decay, early) if self._warmup else self._decay
        torch._foreach_lerp_(self._mean, self._live, 1.0 - decay)
        self.updates += 1

    @torch.no_grad()
    def copy_to(self, network: nn.Module) -> None:
        """Overwrite the parameters of those names in ``network`` with the average."""
        named = dict(network.named_parameters())
        for name, mean in zip(self._names, self._mean, strict=True):
            named[name].copy_(mean)

    def state_dict(self) -> dict[str, Any]:
        """Return copies of the averages by name, and the number of updates."""
        mean = {n: m.clone() for n, m in zip(self._names, self._mean, strict=True)}
        return {"updates": self.updates, "mean": mean}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        saved: Mapping[str, Tensor] = state["mean"]
        for name, mean in zip(self._names, self._mean, strict=True):
            mean.copy_(saved[name])
        self.updates = int(state["updates"])


def make_average(parameters: Named, wanted: bool | None, config: TrainerConfig) -> Average | None:
    """Return the average of trained parameters, None where none is wanted or nothing is trained.

    Args:
        parameters: that are trained.
        wanted: None for as configured; True with a configured decay of 0 means 0.999.
        config: decay and warm-up.
    """
    if wanted is None:
        wanted = config.ema_decay > 0
    if not wanted or not parameters:
        return None
    return Average(parameters, config.ema_decay or 0.999, config.ema_warmup)
