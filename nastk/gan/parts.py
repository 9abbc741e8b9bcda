"""Batches that pass through the networks in parts, and give what the whole would give."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from nastk.gan.inputs import Drawn
from nastk.gan.turn import Shown, split
from nastk.nn.coupling import couples, coupling
from nastk.objective import Objective
from nastk.records import Role
from nastk.trainer import Pair

T = TypeVar("T")


class Parts:
    """Cuts batches, where that changes nothing but the memory taken.

    A network that couples the images of a batch runs whole batches. Others run parts, each of
    which finds what the first one found: vectors of spectral norms and mixtures move with every
    pass, and so would move more often than without parts.

    Args:
        pair: networks in training.
        objective: one that needs whole batches, or has a state that moves, keeps them.
        most: images of a part, 0 for whole batches.
        before_pass: the plan's callback.
    """

    def __init__(
        self,
        pair: Pair,
        objective: Objective,
        most: int,
        before_pass: Callable[[Role], None] | None,
    ) -> None:
        self._networks = {"generator": pair.generator, "discriminator": pair.discriminator}
        self._coupling = {role: coupling(network) for role, network in self._networks.items()}
        self._most = most
        self._divides = bool(most and objective.micro_batching and not objective.state_dict())
        self._before_pass = before_pass
        self._count = 1
        self._part = 0
        self._met: Iterator[Any] = iter(())
        self._made: list[Any] = []

    # -- what is cut ---------------------------------------------------------------------------

    def couples(self, role: Role) -> bool:
        """Return whether a network couples images, its modules being in the modes they are in."""
        return any(couples(module, module.training) for module in self._coupling[role])

    def judged(self, shown: Shown) -> list[Shown]:
        """Return the parts of a batch that D and the objective take one after another."""
        if not self._divides or self.couples("discriminator"):
            return [shown]
        return split(shown, self._most)

    def drawn(self, drawn: Drawn) -> list[Drawn]:
        """Return the parts of its inputs that G takes one after another, without gradients."""
        if not self._most or self.couples("generator"):
            return [drawn]
        return [p.drawn for p in split(Shown(drawn.condition, None, drawn), self._most)]

    # -- parts that find what the first one found ----------------------------------------------

    def each(self, parts: Sequence[T], *roles: Role) -> Iterator[T]:
        """Yield the parts in order.

        Args:
            parts: of one batch, all of one size.
            roles: of the networks that run in them.
        """
        buffers = [] if len(parts) == 1 else self._buffers(roles)
        found = [buffer.clone() for buffer in buffers]
        self._count, self._made = len(parts), []
        try:
            for self._part, part in enumerate(parts):
                if self._part and buffers:
                    with torch.no_grad():
                        torch._foreach_copy_(buffers, found)
                self._met = iter(self._made if self._part else ())
                yield part
        finally:
            self._count, self._part, self._made, self._met = 1, 0, [], iter(())

    def _buffers(self, roles: Sequence[Role]) -> list[Tensor]:
        return [buffer for role in roles for buffer in self._networks[role].buffers()]

    def before_pass(self, role: Role) -> None:
        """Call the plan's callback once for all parts; in the others, set what it had set."""
        if self._before_pass is None:
            return
        settings = self._same(lambda: self._set_for(role))
        for network, (path, weights, running) in zip(
            self._networks.values(), settings, strict=True
        ):
            selection = network.selection
            selection.path, selection.weights, selection.running = path, weights, running

    def _set_for(self, role: Role) -> list[tuple[Any, ...]]:
        assert self._before_pass is not None
        self._before_pass(role)
        selections = [network.selection for network in self._networks.values()]
        return [(dict(s.path), s.weights, s.running) for s in selections]

    def uniform(self, images: int, device: torch.device) -> Tensor:
        """Return ``(images,)`` draws in [0, 1) for this part's images, those of the whole batch.

        They come from torch's global generator.
        """
        whole: Tensor = self._same(lambda: torch.rand(images * self._count, device=device))
        return whole[self._part * images :][:images]

    def _same(self, make: Callable[[], Any]) -> Any:
        """Return what the first part made when it asked for as many things before."""
        if self._part:
            return next(self._met)
        if self._count == 1:
            return make()
        self._made.append(make())
        return self._made[-1]
