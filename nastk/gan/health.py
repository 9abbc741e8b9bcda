"""Is the pair still worth training? Policies that look at intervals and may give it up."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from attrs import field, frozen
from torch import Tensor

from nastk.errors import TrialError
from nastk.gan.config import TrainerConfig

GREY_LEVEL = 2 / 255
"""Images in [-1, 1] closer than half of this (root mean square) are equal on a screen."""


@frozen
class Observation:
    """What a policy is told at every interval.

    Attributes:
        steps: generator updates so far.
        losses: every value of every loss since the last observation; ``d`` and ``g`` are the
            totals of the two networks, terms are ``d.<term>`` and ``g.<term>``.
        values: ``g_gradient`` and ``d_gradient`` (norms at the last update), and, while G is
            trained, ``spread`` (of a fixed bank of generated images, in units of the real
            images' spread) and ``duplicates`` (share of the bank that has an equal in it).
        finite: whether every parameter and image of the bank is finite.
    """

    steps: int
    losses: Mapping[str, list[float]]
    values: Mapping[str, float] = field(factory=dict)
    finite: bool = True


class HealthPolicy(ABC):
    """Watches one training; has state, and raises to give the pair up."""

    @abstractmethod
    def observe(self, observation: Observation) -> Mapping[str, float]:
        """Return quantities for the log.

        Called once per interval, inside the training.

        Raises:
            TrialError: status ``diverged`` or ``collapsed``, with the reason in one line.
        """

    def state_dict(self) -> dict[str, Any]:
        """Return everything that changes."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:  # noqa: B027
        """Restore what :meth:`state_dict` returned."""


class StandardHealth(HealthPolicy):
    """Gives up a pair that is not finite, collapsed, or whose discriminator has long won.

    The last two need ``health_window`` bad intervals in a row after ``health_warmup`` steps, so
    that a network near its start, or one bad moment, is no reason.
    """

    def __init__(self, config: TrainerConfig) -> None:
        self._config = config
        self._bad = {"collapsed": 0, "d_wins": 0}

    def observe(self, observation: Observation) -> Mapping[str, float]:
        """Return the values looked at and the bad intervals in a row."""
        check_finite(observation.losses, observation.steps)
        if not observation.finite:
            raise TrialError(
                f"step {observation.steps}: weights or images are not finite", "diverged"
            )
        config = self._config
        if config.health == "on" and observation.steps > config.health_warmup:
            self._count("collapsed", self._collapsed(observation.values))
            self._count("d_wins", self._d_wins(observation.losses))
            self._judge(observation)
        return {**observation.values, **{f"bad_{k}": float(v) for k, v in self._bad.items()}}

    def state_dict(self) -> dict[str, Any]:
        """Return the bad intervals in a row."""
        return dict(self._bad)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self._bad = {name: int(state[name]) for name in self._bad}

    def _count(self, name: str, bad: bool) -> None:
        self._bad[name] = self._bad[name] + 1 if bad else 0

    def _collapsed(self, values: Mapping[str, float]) -> bool:
        return (
            values.get("spread", 1.0) < self._config.health_spread
            or values.get("duplicates", 0.0) > self._config.health_duplicates
        )

    def _d_wins(self, losses: Mapping[str, list[float]]) -> bool:
        d, g = losses.get("d"), losses.get("g")
        if not d or not g:
            return False
        low = sum(map(abs, d)) / len(d) < self._config.health_d_loss
        return low and sum(g) / len(g) > self._config.health_g_loss

    def _judge(self, observation: Observation) -> None:
        window = self._config.health_window
        if self._bad["collapsed"] >= window:
            spread = observation.values.get("spread", 1.0)
            equal = observation.values.get("duplicates", 0.0)
            raise TrialError(
                f"step {observation.steps}: the generator collapsed: spread {spread:.2g} of the "
                f"real images', {equal:.0%} of its images have an equal",
                "collapsed",
                "trainer.health=off trains on",
            )
        if self._bad["d_wins"] >= window:
            raise TrialError(
                f"step {observation.steps}: the discriminator has won: its loss is below "
                f"{self._config.health_d_loss:g} in {window} looks in a row",
                "collapsed",
                "trainer.health=off trains on",
            )


def check_finite(losses: Mapping[str, list[float]], steps: int) -> None:
    """Refuse losses that are not finite.

    Raises:
        TrialError: status ``diverged``; names the loss.
    """
    for name, numbers in losses.items():
        if not all(map(math.isfinite, numbers)):
            raise TrialError(f"step {steps}: loss '{name}' is not finite", "diverged")


@torch.no_grad()
def bank_values(images: Tensor, real_spread: Tensor) -> Tensor:
    """Return spread, share of duplicates and whether all is finite, as one ``(3,)`` tensor.

    Args:
        images: ``(N, C, H, W)`` generated images in [-1, 1], N >= 2.
        real_spread: scalar, :func:`spread` of as many real images.
    """
    flat = images.float().flatten(1)
    squares = flat.square().sum(1)
    distances = squares[:, None] + squares[None, :] - 2.0 * (flat @ flat.T)
    distances = distances + torch.diag(torch.full_like(squares, torch.inf))
    close = (GREY_LEVEL / 2) ** 2 * flat.shape[1]
    duplicates = (distances.min(1).values < close).float().mean()
    finite = torch.isfinite(flat).all().float()
    return torch.stack([spread(images) / real_spread.clamp(min=1e-8), duplicates, finite])


def spread(images: Tensor) -> Tensor:
    """Return the root mean square, over pixels, of the standard deviation over images.

    Args:
        images: ``(N, C, H, W)``.

    Returns:
        A scalar >= 0.
    """
    return torch.var(images.float().flatten(1), 0, unbiased=False).mean().sqrt()


def gradient_norm(parameters: list[torch.nn.Parameter], device: torch.device) -> Tensor:
    """Return the norm of all gradients that are there, a scalar; 0 without any."""
    norms = _norms([p.grad for p in parameters if p.grad is not None], device)
    norm: Tensor = torch.linalg.vector_norm(norms)
    return norm


def all_finite(parameters: list[torch.nn.Parameter], device: torch.device) -> Tensor:
    """Return 1 if every parameter is finite, else 0, a scalar."""
    return torch.isfinite(_norms([p.detach() for p in parameters], device)).all().float()


def _norms(tensors: list[Tensor], device: torch.device) -> Tensor:
    if not tensors:
        return torch.zeros(1, device=device)
    return torch.stack(list(torch._foreach_norm(tensors)))
