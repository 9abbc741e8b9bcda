"""What a training keeps for its health policy: losses since the last look and a bank of images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from nastk.data.batches import to_float
from nastk.dataset import Split
from nastk.gan.ddp import Alone
from nastk.gan.health import (
    HealthPolicy,
    Observation,
    all_finite,
    bank_values,
    check_finite,
    gradient_norm,
    spread,
)
from nastk.gan.inputs import Drawn, Inputs
from nastk.gan.record import Recorder, Values, extend
from nastk.randomness import Randomness

BANK = 64
"""Generated images that the health policy looks at."""


class Bank:
    """Fixed generator inputs, and how widely as many real images are spread.

    Drawn once, from a fixed stream that is not saved: every look, and every resumed training,
    sees the same inputs.
    """

    def __init__(
        self, split: Split, inputs: Inputs, randomness: Randomness, device: torch.device
    ) -> None:
        n = min(BANK, len(split))
        places = torch.linspace(0, len(split) - 1, n, device=split.images.device).long()
        images = to_float(split.images[places].to(device))
        self.drawn: Drawn = inputs.draw(images, n, randomness.fixed("health"))
        self._real_spread = spread(images)

    def values(self, images: Tensor) -> Tensor:
        """Return spread, share of duplicates and finiteness of generated images, ``(3,)``."""
        return bank_values(images, self._real_spread)


class Watch:
    """Gathers what happens in a training and lets the policy look at it.

    Attributes:
        recorder: losses of the running steps, still on the device.
        values: what the policy said last.
    """

    def __init__(self, policy: HealthPolicy, device: torch.device, ranks: Alone) -> None:
        self.recorder = Recorder()
        self.values: dict[str, float] = {}
        self._policy = ranks.policy(policy)
        self._device = device
        self._ranks = ranks
        self._pending: Values = {}

    def read(self, steps: int, into: Values) -> None:
        """Fetch the recorded losses, also into ``into``; one wait for the device.

        Raises:
            TrialError: a loss is not finite.
        """
        read = self._ranks.means(self.recorder.flush())
        extend(into, read)
        extend(self._pending, read)
        check_finite(read, steps)

    @torch.no_grad()
    def look(
        self,
        steps: int,
        generator: list[nn.Parameter],
        discriminator: list[nn.Parameter],
        bank: Callable[[], Tensor] | None,
    ) -> None:
        """Show the policy everything since the last look.

        Args:
            steps: generator updates so far.
            generator: parameters of G that are trained.
            discriminator: parameters of D that are trained.
            bank: returns :meth:`Bank.values` ``(3,)``; None while G is not trained.

        Raises:
            TrialError: the policy gives the pair up.
        """
        numbers = {
            "g_gradient": gradient_norm(generator, self._device),
            "d_gradient": gradient_norm(discriminator, self._device),
            "finite": all_finite([*generator, *discriminator], self._device),
        }
        if bank is not None:
            numbers["spread"], numbers["duplicates"], finite = bank().unbind()
            numbers["finite"] = numbers["finite"] * finite
        read = self._ranks.agreed(torch.stack(list(numbers.values())).tolist())
        measured = dict(zip(numbers, read, strict=True))
        seen = Observation(steps, self._pending, measured, measured.pop("finite") == 1.0)
        self._pending = {}
        self.values = dict(self._policy.observe(seen))

    def state_dict(self) -> dict[str, Any]:
        """Return the policy's state, its last words and the losses that it has not seen."""
        pending = {n: torch.tensor(v, dtype=torch.float64) for n, v in self._pending.items()}
        return {
            "policy": self._policy.state_dict(),
            "values": dict(self.values),
            "pending": pending,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self._policy.load_state_dict(state["policy"])
        self.values = dict(state["values"])
        self._pending = {name: v.tolist() for name, v in state["pending"].items()}
