"""Layers that spaces share: sliced convolutions and norms, 'same' padding, sample norm, joins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nastk.errors import ShapeError
from nastk.nn.choice import PerSize, Size, as_size
from nastk.nn.enlarged import Enlarged, convolve_enlarged
from nastk.nn.forms import plain
from nastk.nn.thin import THIN, thin_convolution

Padding = int | Literal["same"]


def same_padding(n: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return the padding before and after an axis of length ``n`` for an output of ceil(n/stride).

    TensorFlow's rule: the smaller half stands before.
    """
    total = max((-(-n // stride) - 1) * stride + kernel - n, 0)
    return total // 2, total - total // 2


class SlicedConv2d(nn.Conv2d):
    """A convolution whose inputs and output may be slices of one tensor.

    The input channels are the channels of named *sources*, one after the other. A source that is
    absent (None) or narrower than its largest uses only its own slice of the kernel. With fixed
    sizes and all sources present it is a plain convolution.

    Args:
        sources: name → channels of each source; a bare size is one source called ``x``.
        out: output channels.
        kernel: side.
        stride: of both axes.
        padding: zeros on each side, or ``same`` (output side = ceil(side / stride), TensorFlow's
            asymmetric halves).
        bias: whether there is one.

    Attributes:
        quick: whether an equal form that takes less time may be used.
    """

    quick = False

    def __init__(
        self,
        sources: Mapping[str, Size | int] | Size | int,
        out: Size | int,
        kernel: int,
        *,
        stride: int = 1,
        padding: Padding = "same",
        bias: bool = True,
    ) -> None:
        if not isinstance(sources, Mapping):
            sources = {"x": sources}
        widths = {name: as_size(size).max for name, size in sources.items()}
        self.out = as_size(out)
        super().__init__(sum(widths.values()), self.out.max, kernel, stride, 0, bias=bias)
        self.same = padding
        self.slices: dict[str, tuple[int, int]] = {}
        start = 0
        for name, width in widths.items():
            self.slices[name] = (start, start + width)
            start += width

    def forward(self, *features: Tensor | None) -> Tensor:
        """Return ``(N, out, H', W')``.

        Args:
            features: one ``(N, C_i, H, W)`` per source in order, None where absent.
        """
        present = [f for f in features if f is not None]
        x = present[0] if len(present) == 1 else torch.cat(present, 1)
        out = self.out.active
        weight = self._columns(features, x.shape[1])
        bias = self.bias
        if out != self.out_channels:
            weight = weight[:out]
            bias = None if bias is None else bias[:out]
        return self._convolve(x, weight, bias)

    def _columns(self, features: tuple[Tensor | None, ...], width: int) -> Tensor:
        if width == self.in_channels:
            return self.weight
        columns = []
        for feature, (start, stop) in zip(features, self.slices.values(), strict=True):
            if feature is not None:
                if feature.shape[1] > stop - start:
                    raise ShapeError(
                        f"source of {stop - start} channels got {feature.shape[1]} channels"
                    )
                columns.append(self.weight[:, start : start + feature.shape[1]])
        return columns[0] if len(columns) == 1 else torch.cat(columns, 1)

    def _convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        padding = self._padding(x)
        if self.quick and self.stride == (1, 1) and not plain():
            found = _quickly(x, weight, bias, padding)
            if found is not None:
                return found
        top, bottom, left, right = padding
        if top == bottom and left == right:
            return F.conv2d(x, weight, bias, self.stride, (top, left))
        return F.conv2d(F.pad(x, (left, right, top, bottom)), weight, bias, self.stride)

    def _padding(self, x: Tensor) -> tuple[int, int, int, int]:
        if self.same != "same":
            return (self.same,) * 4
        rows = same_padding(x.shape[2], self.kernel_size[0], self.stride[0])
        columns = same_padding(x.shape[3], self.kernel_size[1], self.stride[1])
        return (*rows, *columns)

    @torch.no_grad()
    def copy_slices(self, source: SlicedConv2d) -> None:
        """Copy the common slices of ``source``; kernels of sources it lacks become zero.

        So a network that gains an input keeps its function.
        """
        rows = min(self.out_channels, source.out_channels)
        mine, theirs = raw_weight(self), raw_weight(source)
        for name, (start, stop) in self.slices.items():
            if name not in source.slices:
                mine[:, start:stop] = 0.0
                continue
            first, last = source.slices[name]
            n = min(stop - start, last - first)
            mine[:rows, start : start + n] = theirs[:rows, first : first + n]
        if self.bias is not None and source.bias is not None:
            self.bias[:rows] = source.bias[:rows]


def _quickly(
    x: Tensor, weight: Tensor, bias: Tensor | None, padding: tuple[int, int, int, int]
) -> Tensor | None:
    if isinstance(x, Enlarged):
        return convolve_enlarged(x, weight, bias, padding)
    if len(weight) <= THIN and max(padding) < weight.shape[2]:
        return thin_convolution(x, weight, bias, padding)
    return None


class FlatLinear(nn.Linear):
    """A linear layer on features flattened in (H, W, C) order; C may be a slice of the largest.

    Args:
        positions: H·W of the features.
        channels: C.
        out: output features.
    """

    def __init__(self, positions: int, channels: Size | int, out: int) -> None:
        self.channels = as_size(channels)
        super().__init__(positions * self.channels.max, out)
        self.positions = positions

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(N, out)`` of features ``(N, C, H, W)``."""
        c = x.shape[1]
        weight = self.weight
        if c != self.channels.max:
            weight = weight.view(self.out_features, self.positions, -1)[:, :, :c].flatten(1)
        return F.linear(x.permute(0, 2, 3, 1).flatten(1), weight, self.bias)

    @torch.no_grad()
    def copy_slices(self, source: FlatLinear) -> None:
        """Copy the common channels of ``source``."""
        n = min(self.channels.max, source.channels.max)
        mine = raw_weight(self).view(self.out_features, self.positions, -1)
        theirs = raw_weight(source).view(source.out_features, source.positions, -1)
        mine[:, :, :n] = theirs[:, :, :n]
        self.bias.copy_(source.bias)


def raw_weight(module: nn.Module) -> Tensor:
    """Return a layer's stored weight, of any shape, below a parametrisation (spectral norm)."""
    parametrizations: Any = module._modules.get("parametrizations")
    if parametrizations is not None and "weight" in parametrizations:
        weight = parametrizations["weight"].original
    else:
        weight = module.weight
    assert isinstance(weight, Tensor)
    return weight


class Gate(nn.Module):
    """Closes the channels above the size: multiplies by a soft mask in a mixture.

    The mask of channel c is the summed weight of the options wider than c.
    """

    def __init__(self, size: Size | int) -> None:
        super().__init__()
        self.size = as_size(size)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` ``(N, C, H, W)`` masked; unchanged outside of mixtures."""
        weights = self.size.weights
        if weights is None:
            return x
        channel = torch.arange(self.size.max, device=x.device)
        widths = torch.tensor(self.size.values, device=x.device)
        open_ = (channel < widths[:, None]).to(x.dtype)
        return x * (weights.to(x.dtype) @ open_)[:, None, None]


class SampleNorm(nn.Module):
    """Normalises each sample over channels, height and width, with one gain and one offset.

    ``(x - mean) / (std + eps)`` with the population standard deviation.

    Source: AICV-CUMT/STASGAN's normalisation layer with its default axis.
    """

    def __init__(self, eps: float = 1e-3) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.empty(1))
        self.bias = nn.Parameter(torch.empty(1))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set gain 1 and offset 0."""
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised ``(N, C, H, W)``."""
        std, mean = torch.std_mean(x, dim=(1, 2, 3), correction=0, keepdim=True)
        return (x - mean) / (std + self.eps) * self.weight + self.bias


class Upsample(nn.Module):
    """Interpolates to twice the side, ``nearest`` or ``bilinear`` (corners not aligned).

    Attributes:
        quick: whether it may leave its work to what follows (:class:`~nastk.nn.enlarged.Enlarged`).
    """

    quick = False

    def __init__(self, mode: Literal["nearest", "bilinear"], factor: int = 2) -> None:
        super().__init__()
        self.mode = mode
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(N, C, factor * H, factor * W)``."""
        if self.quick and isinstance(x, Tensor) and not plain():
            return Enlarged.of(x, self.factor, self.mode)
        return F.interpolate(x, scale_factor=float(self.factor), mode=self.mode)


class View(nn.Module):
    """Reshapes ``(N, …)`` to ``(N, *shape)``."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` ``(N, …)`` as ``(N, *shape)``."""
        return x.view(x.shape[0], *self.shape)


def add(*terms: Tensor | None) -> Tensor | None:
    """Return the sum of the terms present, of one shape, None if none is; never in place."""
    total: Tensor | None = None
    for term in terms:
        if term is not None:
            total = term if total is None else total + term
    return total


__all__ = [
    "FlatLinear",
    "Gate",
    "PerSize",
    "SampleNorm",
    "SlicedConv2d",
    "Upsample",
    "View",
    "add",
    "raw_weight",
    "same_padding",
]
