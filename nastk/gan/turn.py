"""A turn whose real batch is halved: one half trains weights, the other is for callbacks."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, evolve
from torch import Tensor

from nastk.errors import ConfigError
from nastk.gan.inputs import Drawn
from nastk.records import Role
from nastk.trainer import Plan


@define
class Shown:
    """The real batch of a turn, and what G was given in it.

    Attributes:
        images: ``(N, C, H, W)`` in [-1, 1].
        labels: ``(N,)`` int64, None for data without classes.
        drawn: generator inputs.
    """

    images: Tensor
    labels: Tensor | None
    drawn: Drawn

    def cut(self, where: slice) -> Shown:
        """Return a part of the batch, with its part of the inputs."""
        labels = None if self.labels is None else self.labels[where]
        return evolve(self, images=self.images[where], labels=labels).cut_inputs(where)

    def cut_inputs(self, where: slice) -> Shown:
        """Return the same images with a part of the inputs."""
        mask = self.drawn.mask
        drawn = Drawn(self.drawn.condition[where], None if mask is None else mask[where])
        return evolve(self, drawn=drawn)


def split(shown: Shown, most: int) -> list[Shown]:
    """Return a batch in equal parts of at most ``most`` images, where its size has such parts.

    Args:
        shown: images and inputs may differ in number, then in both the number of parts is equal.
        most: 0: the whole.
    """
    sizes = (len(shown.images), len(shown.drawn.condition))
    count = -(-max(sizes) // most) if most else 1
    while any(size % count for size in sizes) and count < min(sizes):
        count += 1
    if count == 1 or any(size % count for size in sizes):
        return [shown]
    return [portion(shown, i, count) for i in range(count)]


def portion(shown: Shown, i: int, count: int) -> Shown:
    """Return the ``i``-th of ``count`` equal parts of a batch, images and inputs each by itself."""
    images, inputs = len(shown.images) // count, len(shown.drawn.condition) // count
    where = slice(i * images, (i + 1) * images)
    return evolve(
        shown.cut_inputs(slice(i * inputs, (i + 1) * inputs)),
        images=shown.images[where],
        labels=None if shown.labels is None else shown.labels[where],
    )


class HalvedTurn:
    """The :class:`nastk.trainer.Turn` of the GAN trainer.

    Args:
        shown: the whole batch, of at least two images.
        loss: returns a network's loss on a batch, with gradients, without updating anything.
        draw: returns the inputs of a generator update that shows it this batch.

    Attributes:
        weights: the first half, for the weight updates.
        held: the second half, one larger when the batch is odd.
    """

    def __init__(
        self,
        shown: Shown,
        loss: Callable[[Role, Shown], Tensor],
        draw: Callable[[Shown], Drawn],
    ) -> None:
        middle = len(shown.images) // 2
        self.weights = shown.cut(slice(0, middle))
        self.held = shown.cut(slice(middle, None))
        self._loss = loss
        self._draw = draw
        self._drawn: dict[bool, Drawn] = {}

    def loss(self, role: Role, held_out: bool = True) -> Tensor:
        """Return a network's loss, a scalar, on the held-out half, or on the half for weights.

        Asked again within the turn, it is taken on the same images and inputs.
        """
        half = self.held if held_out else self.weights
        if role == "generator":
            if held_out not in self._drawn:
                self._drawn[held_out] = self._draw(half)
            half = evolve(half, drawn=self._drawn[held_out])
        return self._loss(role, half)


def wants_halves(plan: Plan, batch_size: int) -> bool:
    """Return whether a plan's callbacks ask for halved batches.

    Raises:
        ConfigError: they do, and there is nothing to halve.
    """
    wanted = plan.before_discriminator is not None or plan.before_generator is not None
    if wanted and batch_size < 2:
        raise ConfigError(f"trainer.batch_size: got {batch_size}, expected at least 2 to halve")
    return wanted
