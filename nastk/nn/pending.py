"""Results of mixtures that nobody has looked at yet.

An edge's result is mostly added to others. So a mixture of linear options is not evaluated when
its module is called, but when its sum is used; by then all edges into the node are known, and all
edges out of their sources. Added to anything, a pending result stays pending; whatever else is
done with it computes it first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from attrs import define, field
from torch import Tensor, nn
from torch.nn import functional as F

from nastk.nn.enlarged import Enlarged, replaced

if TYPE_CHECKING:
    from nastk.nn.edges import Bundle, Edge
    from nastk.nn.mixing import Pass


@define(eq=False)
class Convolved:
    """The convolutions of an edge on one activated input, not yet evaluated.

    Attributes:
        edge: whose they are.
        bundle: of its options.
        x: ``(N, C, H, W)``, not yet activated.
        value: ``(N, out, H', W')``; None: not yet evaluated.
    """

    edge: Edge
    bundle: Bundle
    x: Tensor
    value: Tensor | None = None


@define(eq=False)
class Raised:
    """The options of an edge that double the side of one activated input.

    Attributes:
        edge: whose they are.
        activation: before them.
        x: ``(N, C, H, W)``, not yet activated.
        value: ``(N, out, 2 * H, 2 * W)``; None: not yet evaluated.
    """

    edge: Edge
    activation: nn.Module
    x: Tensor
    value: Tensor | None = None


@define(eq=False)
class Scaled:
    """A choice weight and what it multiplies.

    Attributes:
        weights: ``(modules,)`` of a choice.
        option: whose weight it is.
        x: ``(N, C, H, W)``.
    """

    weights: Tensor
    option: int
    x: Tensor


Term = Convolved | Raised | Scaled | Tensor


@define(eq=False, slots=False)
class Pending:
    """A sum that is computed when it is used; stands for a tensor ``(N, C, H, W)``.

    Attributes:
        turn: the pass that it belongs to.
        terms: what is summed.
    """

    turn: Pass
    terms: list[Term]
    _value: Tensor | None = field(default=None, init=False)
    _usual: Tensor | None = field(default=None, init=False)

    def tensor(self) -> Tensor:
        """Return the sum ``(N, C, H, W)``, computed once; its memory may lie in any order."""
        if self._value is None:
            self._value = self.turn.evaluate(self.terms)
            self.terms = [self._value]
        return self._value

    def usual(self) -> Tensor:
        """Return the sum ``(N, C, H, W)`` in a memory format that other modules know."""
        if self._usual is None:
            self._usual = self.turn.usual(self.tensor())
        return self._usual

    def __add__(self, other: Any) -> Any:
        if isinstance(other, Pending):
            return Pending(self.turn, [*self.terms, *other.terms])
        if isinstance(other, Tensor) and other.dim() == 4:
            return Pending(self.turn, [*self.terms, other])
        return self.usual() + other

    def __radd__(self, other: Any) -> Any:
        if isinstance(other, Tensor) and other.dim() == 4:
            return Pending(self.turn, [other, *self.terms])
        return other + self.usual()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.usual(), name)

    def __getitem__(self, index: Any) -> Tensor:
        return self.usual()[index]

    def __neg__(self) -> Tensor:
        return -self.usual()

    def __sub__(self, other: Any) -> Any:
        return self.usual() - other

    def __rsub__(self, other: Any) -> Any:
        return other - self.usual()

    def __mul__(self, other: Any) -> Any:
        return self.usual() * other

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Any:
        return self.usual() / other

    def __len__(self) -> int:
        return len(self.usual())

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Add without looking; do anything else on the computed tensors."""
        kwargs = kwargs or {}
        if func in _ADDITIONS and len(args) == 2 and not kwargs:
            first, second = args
            return first + second if isinstance(first, Pending) else second.__radd__(first)
        if func is F.interpolate and isinstance(args[0], Pending):
            enlarged = _enlarged(args[0], *args[1:], **kwargs)
            if enlarged is not None:
                return enlarged
        return func(*looked_at(args), **{k: looked_at(v) for k, v in kwargs.items()})


_ADDITIONS = {torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__}


def _enlarged(
    x: Pending, size: Any = None, scale_factor: Any = None, mode: str = "nearest", **other: Any
) -> Any:
    """Return an enlargement that can wait too, None where this is not a plain one."""
    if any(v for v in other.values()) or mode not in ("nearest", "bilinear"):
        return None
    source = x.usual()
    factor = scale_factor
    if size is not None:
        ratios = {s / o for s, o in zip(size, source.shape[2:], strict=True)}
        factor = ratios.pop() if len(ratios) == 1 else None
    if not isinstance(factor, int | float) or factor != int(factor) or factor < 2:
        return None
    return Enlarged.of(source, int(factor), mode)


def looked_at(value: Any) -> Any:
    """Return ``value`` with tensors in place of what is pending, in tuples and records too."""
    return replaced(value, Pending, Pending.usual)


def tensor_of(x: Any) -> Tensor:
    """Return what a choice is given as a plain tensor, same shape, its memory in any order."""
    if isinstance(x, Pending):
        return x.tensor()
    if isinstance(x, Enlarged):
        return x.whole()
    assert isinstance(x, Tensor)
    return x
