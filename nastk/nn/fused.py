"""Neighbours on a single path that are evaluated as one, and give the same.

* A convolution of stride 1 and then the mean over f x f are one convolution of stride f with a
  kernel of side k + f - 1, which takes ((k + f - 1) / f)² products per pixel, not k²; where k is
  1, the mean is taken first.
* A transposed convolution and then a 1x1 convolution are one transposed convolution, by the
  product of their kernels.

What follows an enlargement is the business of :mod:`nastk.nn.enlarged`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nastk.nn.choice import Mixed
from nastk.nn.forms import plain


class Chained(nn.Module):
    """A module that runs chains of its children; :func:`fuse` lets neighbours run as one.

    Attributes:
        fused: whether they may.
    """

    fused = False

    def chain(self, x: Tensor, *modules: nn.Module) -> Tensor:
        """Return what ``modules``, one after the other, make of ``x`` ``(N, …)``."""
        return chained(x, modules) if self.fused and not plain() else _one_by_one(x, modules)


class FusedSequential(nn.Sequential):
    """A sequence in which neighbours may run as one."""

    def forward(self, x: Tensor) -> Tensor:
        """Return what the modules, one after the other, make of ``x`` ``(N, …)``."""
        return _one_by_one(x, self) if plain() else chained(x, self)


def fuse(network: nn.Module) -> None:
    """Let neighbours in the sequences and chains of ``network`` run as one, from now on.

    Modules, names, parameters and states stay what they are; deep copies run likewise.
    """
    for module in network.modules():
        if type(module) is nn.Sequential:
            module.__class__ = FusedSequential
        elif isinstance(module, Chained):
            module.fused = True


def chained(x: Tensor, modules: Iterable[nn.Module]) -> Tensor:
    """Return what ``modules`` make of ``x``, neighbours as one where that is known to be the same.

    Open choices on a single path stand for the option that runs.

    Args:
        x: ``(N, …)``, as the first module takes it.
        modules: in order.
    """
    steps = [*_running(modules)]
    i = 0
    while i < len(steps):
        both = _as_one(x, steps[i], steps[i + 1]) if i + 1 < len(steps) else None
        x, i = (steps[i](x), i + 1) if both is None else (both, i + 2)
    return x


def _one_by_one(x: Tensor, modules: Iterable[nn.Module]) -> Tensor:
    for module in modules:
        x = module(x)
    return x


def _running(modules: Iterable[nn.Module]) -> Iterator[nn.Module]:
    """Yield what runs, with sequences and decided choices opened; a module with hooks is called."""
    for module in modules:
        if _hooked(module):
            yield module
        elif isinstance(module, Mixed) and (active := module.active) is not None:
            yield from _running([active])
        elif isinstance(module, FusedSequential):
            yield from _running(module)
        elif type(module) is not nn.Identity:
            yield module


def _as_one(x: Tensor, first: nn.Module, second: nn.Module) -> Tensor | None:
    """Return what two neighbours make of ``x``, None where they have to run one by one."""
    if _is_convolution(first) and is_mean(second):
        return _pooled(x, cast("nn.Conv2d", first), cast("nn.AvgPool2d", second).kernel_size)
    if _is_spread(first) and _is_convolution(second) and _is_point(cast("nn.Conv2d", second)):
        return _spread(x, cast("nn.ConvTranspose2d", first), cast("nn.Conv2d", second))
    return None


# -- a convolution and a mean ------------------------------------------------------------------


def _pooled(x: Tensor, conv: nn.Conv2d, side: Any) -> Tensor:
    """Return the mean over ``side`` x ``side`` of a convolution."""
    if _is_point(conv):
        return conv(F.avg_pool2d(x, side))  # type: ignore[no-any-return]
    kernel = F.avg_pool2d(F.pad(conv.weight, (side - 1,) * 4), side, 1)
    return F.conv2d(x, kernel, conv.bias, side, conv.padding)


def is_mean(module: nn.Module) -> bool:
    """Return whether a module is the mean of every square once, whole squares only."""
    return (
        type(module) is nn.AvgPool2d
        and isinstance(module.kernel_size, int)
        and module.stride == module.kernel_size
        and module.padding == 0
        and not module.ceil_mode
        and module.divisor_override is None
        and not _hooked(module)
    )


# -- a transposed and a 1x1 convolution --------------------------------------------------------


def _spread(x: Tensor, first: nn.ConvTranspose2d, second: nn.Conv2d) -> Tensor | None:
    """Return the 1x1 convolution of a transposed one; None where the product costs more."""
    positions = x.shape[0] * x.shape[2] * x.shape[3]
    if positions < 2 * x.shape[1]:
        return None
    point = second.weight.flatten(1)
    kernel = torch.einsum("iahw,oa->iohw", first.weight, point)
    bias = second.bias
    if first.bias is not None:
        through = point @ first.bias
        bias = through if bias is None else through + bias
    padding = cast("tuple[int, int]", first.padding)
    return F.conv_transpose2d(
        x, kernel, bias, first.stride, padding, first.output_padding, 1, first.dilation
    )


def _is_spread(module: nn.Module) -> bool:
    """Return whether a module is an ordinary transposed convolution."""
    return (
        isinstance(module, nn.ConvTranspose2d)
        and type(module).forward is nn.ConvTranspose2d.forward
        and module.groups == 1
        and not _hooked(module)
    )


def _is_convolution(module: nn.Module) -> bool:
    """Return whether a module is an ordinary convolution of stride 1, whatever makes its weight."""
    return (
        isinstance(module, nn.Conv2d)
        and type(module).forward is nn.Conv2d.forward
        and module.stride == (1, 1)
        and module.dilation == (1, 1)
        and module.groups == 1
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
        and not _hooked(module)
    )


def _is_point(conv: nn.Conv2d) -> bool:
    return conv.kernel_size == (1, 1) and conv.padding == (0, 0)


def _hooked(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks or module._backward_hooks)
