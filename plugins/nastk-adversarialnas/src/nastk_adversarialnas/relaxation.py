"""From choice weights to mixtures: softmax, Gumbel noise and its temperature.

Source: the relaxation of AdversarialNAS's public code. Differs: the noise may be added to the
logits (``raw``) and not to their softmax; weights have generators of their own; a mixture may run
only some of the options.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from nastk.nn.choice import Network

Logits = Literal["raw", "softmax"]

INITIAL = 1e-3
"""Standard deviation of fresh choice weights."""


def temperature(
    level: int, levels: int, *, largest: float = 5.0, smallest: float = 0.1, floor: float = 0.1
) -> float:
    """Return the temperature of a level: exponential from ``largest`` towards ``smallest``.

    Args:
        level: 0 to ``levels`` - 1; the last does not quite reach ``smallest``.
        levels: number of levels, >= 1.
        largest: at level 0, > 0.
        smallest: after the last level, > 0.
        floor: never below this, whatever ``smallest`` is.
    """
    return max(floor, largest * math.exp(-level * math.log(largest / smallest) / levels))


def gumbel(count: int, generator: torch.Generator) -> Tensor:
    """Return ``(count,)`` standard Gumbel draws on the generator's device; advances it."""
    draws = torch.empty(count, device=generator.device).exponential_(generator=generator)
    return -draws.clamp(min=torch.finfo(draws.dtype).tiny).log()


def relaxed(logits: Tensor, noise: Tensor | None, tau: float, form: Logits = "raw") -> Tensor:
    """Return mixture weights ``(K,)`` that sum to 1.

    Args:
        logits: ``(K,)``.
        noise: ``(K,)`` Gumbel draws; None for the softmax of the logits, without temperature.
        tau: temperature, > 0.
        form: what the noise is added to: the logits, or (``softmax``) their probabilities, as the
            published code does. That flattens the draws at every temperature, since probabilities
            differ by at most 1.
    """
    if noise is None:
        return torch.softmax(logits, 0)
    base = logits if form == "raw" else torch.softmax(logits, 0)
    return torch.softmax((base + noise) / tau, 0)


class ChoiceWeights:
    """Trainable logits of one network's open decisions.

    Args:
        options: open decision → its options, in code order.
        generator: draws the start, N(0, 0.001²); decides the device.
        wasted: decision → further logits that take part in the softmax and weigh nothing.

    Attributes:
        options: as given.
        logits: open decision → ``(options + wasted,)`` parameter.
    """

    def __init__(
        self,
        options: Mapping[str, tuple[str, ...]],
        generator: torch.Generator,
        wasted: Mapping[str, int] | None = None,
    ) -> None:
        self.options = dict(options)
        self.wasted = dict(wasted or {})
        self.logits: dict[str, nn.Parameter] = {}
        for name, known in self.options.items():
            size = (len(known) + self.wasted.get(name, 0),)
            start = torch.randn(size, generator=generator, device=generator.device)
            self.logits[name] = nn.Parameter(INITIAL * start)

    def parameters(self) -> list[nn.Parameter]:
        """Return all logits."""
        return list(self.logits.values())

    def noise(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Return Gumbel draws, decision → ``(options + wasted,)``; advances the generator once."""
        sizes = [p.numel() for p in self.logits.values()]
        return dict(zip(self.logits, gumbel(sum(sizes), generator).split(sizes), strict=True))  # type: ignore[no-untyped-call]

    def tables(self) -> dict[str, list[float]]:
        """Return the logits as numbers, wasted ones last."""
        return {name: p.detach().tolist() for name, p in self.logits.items()}

    def shares(self) -> dict[str, dict[str, float]]:
        """Return the softmax of each decision's logits: decision → option → share, 4 digits."""
        found = {}
        for name, logits in self.logits.items():
            options = self.options[name]
            p = torch.softmax(logits.detach()[: len(options)].double(), 0).tolist()
            found[name] = {o: round(x, 4) for o, x in zip(options, p, strict=True)}
        return found

    def entropy(self) -> float:
        """Return the mean entropy of the decisions' softmax, 1 for uniform and 0 for decided."""
        if not self.logits:
            return 0.0
        shares = []
        for name, logits in self.logits.items():
            p = torch.softmax(logits.detach()[: len(self.options[name])].double(), 0)
            shares.append(-(p * p.clamp(min=1e-300).log()).sum() / math.log(len(p)))
        return float(torch.stack(shares).mean())

    def state_dict(self) -> dict[str, Tensor]:
        """Return copies of the logits, decision → ``(options + wasted,)``."""
        return {name: p.detach().clone() for name, p in self.logits.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        with torch.no_grad():
            for name, p in self.logits.items():
                p.copy_(state[name])


class Mixer:
    """Sets a network's mixture anew before every pass.

    Args:
        network: with the decisions of ``weights`` open.
        weights: its choice weights.
        noisy: whether Gumbel noise is drawn.
        form: see :func:`relaxed`.
        ops: options of a decision that run at once, drawn by their probability; 0 for all.

    Attributes:
        tau: temperature.
        differentiable: whether gradients reach the choice weights.
        held: whether the last draw is used again.
    """

    def __init__(
        self, network: Network, weights: ChoiceWeights, *, noisy: bool, form: Logits, ops: int
    ) -> None:
        self.network = network
        self.weights = weights
        self.tau = 1.0
        self.differentiable = False
        self.held = False
        self._noisy = noisy
        self._form = form
        self._ops = ops
        self._noise: dict[str, Tensor] | None = None
        self._running: dict[str, list[int]] = {}

    def __call__(self, generator: torch.Generator) -> None:
        """Draw a mixture, or take the held one, and set it; advances the generator if it draws."""
        if not (self.held and self._noise is not None):
            self._noise = self.weights.noise(generator) if self._noisy else {}
            self._running = self._draw_ops(generator)
        mixture = {}
        with torch.set_grad_enabled(self.differentiable):
            for name, logits in self.weights.logits.items():
                mixture[name] = self._weigh(name, logits)
        options = self.weights.options
        running = {n: [options[n][i] for i in kept] for n, kept in self._running.items()}
        self.network.mix(mixture, running)

    def _weigh(self, name: str, logits: Tensor) -> Tensor:
        assert self._noise is not None
        count = len(self.weights.options[name])
        kept = self._running.get(name)
        if kept is None:
            return relaxed(logits, self._noise.get(name), self.tau, self._form)[:count]
        noise = self._noise.get(name)
        some = relaxed(logits[kept], None if noise is None else noise[kept], self.tau, self._form)
        index = torch.tensor(kept, device=logits.device)
        return torch.zeros(count, device=logits.device, dtype=logits.dtype).index_add(
            0, index, some
        )

    def _draw_ops(self, generator: torch.Generator) -> dict[str, list[int]]:
        """Return the options that run, where they are not all, without replacement."""
        if not self._ops:
            return {}
        noise = self.weights.noise(generator)
        running = {}
        for name, logits in self.weights.logits.items():
            count = len(self.weights.options[name])
            if count > self._ops:
                keys = (logits.detach() + noise[name])[:count]
                running[name] = sorted(keys.topk(self._ops).indices.tolist())
        return running
