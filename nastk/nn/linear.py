"""Which options of an open choice are linear in a shared input, and by which taps.

A mixture of convolutions on the same activated input is one convolution whose kernel is the
weighted sum of theirs. This module only reads modules; nothing is evaluated here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, cast

from attrs import frozen
from torch import Tensor, nn
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.parametrize import ParametrizationList, type_before_parametrizations

from nastk.nn.choice import Absent, Mixed
from nastk.nn.fused import FusedSequential
from nastk.nn.layers import SlicedConv2d, Upsample, raw_weight, same_padding

ELEMENTWISE = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SiLU, nn.GELU, nn.Tanh, nn.Sigmoid, nn.Softplus)
"""Activations without parameters that a shared input may have in front."""

Kind = Literal["conv", "identity", "absent", "pool", "interpolated", "transposed", "other"]


@frozen(eq=False)
class Option:
    """One module of an open choice, as far as it is known.

    Attributes:
        module: as the space made it.
        kind: how it is evaluated in a mixture; ``other`` runs as it is.
        activation: in front of a linear map; None where there is none.
        conv: convolution of kinds ``conv``, ``interpolated`` (1x1) and ``transposed`` (1x1).
        first: the interpolation or depthwise transposed convolution before ``conv``.
    """

    module: nn.Module
    kind: Kind
    activation: nn.Module | None = None
    conv: nn.Conv2d | None = None
    first: nn.Module | None = None


@frozen
class Taps:
    """Where a kernel reads: rows (and columns) ``start + step * i`` from the output's position."""

    start: tuple[int, int]
    step: tuple[int, int]
    count: tuple[int, int]

    def rows(self) -> list[int]:
        """Return the row offsets."""
        return [self.start[0] + self.step[0] * i for i in range(self.count[0])]

    def columns(self) -> list[int]:
        """Return the column offsets."""
        return [self.start[1] + self.step[1] * i for i in range(self.count[1])]


def recognise(module: nn.Module) -> Option:
    """Return what is known of one module of a choice."""
    if isinstance(module, Mixed) or hooked(module):
        return Option(module, "other")
    if type(module) is Absent:
        return Option(module, "absent")
    if type(module) is nn.Identity:
        return Option(module, "identity")
    if type(module) in (nn.AvgPool2d, nn.MaxPool2d):
        return Option(module, "pool")
    steps = _steps(module)
    if steps is None:
        return Option(module, "other")
    return _chain(module, steps)


def _chain(module: nn.Module, steps: list[nn.Module]) -> Option:
    """Return what a sequence of modules is."""
    if is_convolution(steps[-1]):
        conv = cast("nn.Conv2d", steps[-1])
        if len(steps) == 1:
            return Option(module, "conv", None, conv)
        if len(steps) == 2 and is_elementwise(steps[0]):
            return Option(module, "conv", steps[0], conv)
        if len(steps) == 3 and _is_point(conv):
            if type(steps[0]) is Upsample and is_elementwise(steps[1]):
                return Option(module, "interpolated", steps[1], conv, steps[0])
            if is_elementwise(steps[0]) and _is_doubling(steps[1]) and conv.bias is None:
                return Option(module, "transposed", steps[0], conv, steps[1])
    return Option(module, "other")


def _steps(module: nn.Module) -> list[nn.Module] | None:
    """Return the modules of a sequence in which no one listens, flattened; None for others."""
    if type(module) not in (nn.Sequential, FusedSequential):
        return None if hooked(module) else [module]
    found: list[nn.Module] = []
    for child in cast("nn.Sequential", module):
        inner = None if hooked(child) else _steps(child)
        if inner is None:
            return None
        found += inner
    return found


def hooked(module: nn.Module) -> bool:
    """Return whether somebody listens to or changes what this module computes."""
    return bool(module._forward_hooks or module._forward_pre_hooks or module._backward_hooks)


def is_elementwise(module: nn.Module) -> bool:
    """Return whether a module is a known activation that leaves its input as it is."""
    return type(module) in ELEMENTWISE and not getattr(module, "inplace", False)


def is_convolution(module: nn.Module) -> bool:
    """Return whether a module is a convolution of one group whose kernel may be summed."""
    kind = type_before_parametrizations(module)
    if kind not in (nn.Conv2d, SlicedConv2d):
        return False
    conv = cast("nn.Conv2d", module)
    if isinstance(conv, SlicedConv2d) and not _is_whole(conv):
        return False
    zeros = conv.padding_mode == "zeros" and not isinstance(conv.padding, str)
    single = conv.groups == 1 and conv.stride[0] == conv.stride[1]
    return zeros and single and normed_plainly(conv)


def _is_whole(conv: SlicedConv2d) -> bool:
    return conv.out.fixed and len(conv.slices) == 1


def normed_plainly(module: nn.Module) -> bool:
    """Return whether a module's weight is stored, or stored and spectrally normalised."""
    lists = getattr(module, "parametrizations", None)
    if lists is None:
        return True
    found = list(cast("ParametrizationList", lists["weight"])) if "weight" in lists else []
    return len(lists) == 1 and len(found) == 1 and _is_spectral(found[0])


def _is_spectral(module: nn.Module) -> bool:
    return type(module) is _SpectralNorm and module.dim == 0 and hasattr(module, "_u")


def norm_of(conv: nn.Module) -> _SpectralNorm | None:
    """Return the spectral norm of a recognised convolution, None where it has none."""
    # Asked often: a module's own lookup raises and catches for what it has not.
    lists: Any = conv._modules.get("parametrizations")
    return None if lists is None else lists._modules["weight"]._modules["0"]


def _is_point(conv: nn.Conv2d) -> bool:
    padding = cast("tuple[int, int]", conv.padding)
    plain = type_before_parametrizations(conv) is nn.Conv2d
    return plain and conv.kernel_size == (1, 1) and conv.stride == (1, 1) and padding == (0, 0)


def _is_doubling(module: nn.Module) -> bool:
    """Return whether a module is the depthwise transposed 3x3 convolution that doubles the side."""
    return (
        type(module) is nn.ConvTranspose2d
        and module.groups == module.in_channels == module.out_channels
        and module.kernel_size == (3, 3)
        and module.stride == (2, 2)
        and tuple(module.padding) == tuple(module.output_padding) == (1, 1)
        and module.dilation == (1, 1)
        and module.bias is None
    )


def taps(conv: nn.Conv2d, size: Sequence[int]) -> tuple[Taps, tuple[int, int]]:
    """Return where a convolution reads on an image of ``size``, and the size of its result."""
    step = cast("tuple[int, int]", tuple(conv.dilation))
    pads = [_pads(conv, axis, size[axis]) for axis in (0, 1)]
    start = (-pads[0][0], -pads[1][0])
    out = tuple(
        (size[a] + sum(pads[a]) - step[a] * (conv.kernel_size[a] - 1) - 1) // conv.stride[a] + 1
        for a in (0, 1)
    )
    kernel = cast("tuple[int, int]", tuple(conv.kernel_size))
    return Taps(start, step, kernel), cast("tuple[int, int]", out)


def _pads(conv: nn.Conv2d, axis: int, side: int) -> tuple[int, int]:
    if isinstance(conv, SlicedConv2d):
        same = conv.same
        if same == "same":
            return same_padding(side, int(conv.kernel_size[axis]), int(conv.stride[axis]))
        return same, same
    pad = int(cast("tuple[int, int]", conv.padding)[axis])
    return pad, pad


def weight_of(conv: nn.Module) -> Tensor:
    """Return the stored ``(out, in, k, k)`` weight, below a spectral norm."""
    return raw_weight(conv)
