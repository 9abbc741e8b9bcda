"""Convolutions to very few channels, for which convolution kernels are poor.

A layer that makes an image of one to four channels is one matrix product over its input channels
and a scatter of the products to their pixels. It computes the same as the convolution.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nastk.nn.forms import plain

THIN = 4
"""Up to so many output channels the matrix product wins on a CPU."""

Padding = tuple[int, int, int, int]
"""Rows above, rows below, columns left, columns right."""


def scattered(x: Tensor, kernel: Tensor, stride: int) -> Tensor:
    """Return the transposed convolution as one matrix product whose columns are added in place.

    Args:
        x: ``(N, C, H, W)``.
        kernel: ``(out, C, k, k)``.
        stride: distance in the result of two neighbours of ``x``.

    Returns:
        ``(N, out, (H - 1) * stride + k, (W - 1) * stride + k)``.
    """
    n, channels, height, width = x.shape
    side = kernel.shape[2]
    flat = kernel.permute(0, 2, 3, 1).reshape(-1, channels)
    columns = flat @ x.reshape(n, channels, height * width)
    size = (height - 1) * stride + side, (width - 1) * stride + side
    return F.fold(columns, size, side, stride=stride)


def thin_convolution(x: Tensor, weight: Tensor, bias: Tensor | None, padding: Padding) -> Tensor:
    """Return the convolution with stride 1.

    Args:
        x: ``(N, C, H, W)``.
        weight: ``(out, C, k, k)``.
        bias: ``(out,)`` or None.
        padding: zeros around ``x``, at most k - 1 on each side.
    """
    top, bottom, left, right = padding
    k = weight.shape[2]
    full = scattered(x, weight.flip(2, 3), 1)
    height, width = x.shape[2] + top + bottom - k + 1, x.shape[3] + left + right - k + 1
    rows, columns = k - 1 - top, k - 1 - left
    cut = full[:, :, rows : rows + height, columns : columns + width]
    return cut if bias is None else cut + bias.to(cut.dtype)[:, None, None]


def is_thin(conv: nn.Conv2d) -> bool:
    """Return whether :func:`thin_convolution` computes this layer, and sooner."""
    k = conv.kernel_size[0]
    plain_kind = conv.stride == conv.dilation == (1, 1) and conv.groups == 1
    square = conv.kernel_size == (k, k) and k > 1 and conv.padding_mode == "zeros"
    fits = not isinstance(conv.padding, str) and max(conv.padding) < k
    return plain_kind and square and fits and conv.out_channels <= THIN


def _too_wide(conv: nn.Conv2d, x: Tensor) -> bool:
    """Return whether the usual kernels win: channels last and back again, above two channels."""
    return (
        conv.out_channels > 2
        and x.requires_grad
        and torch.is_grad_enabled()
        and x.is_contiguous(memory_format=torch.channels_last)
    )


class ThinConv2d(nn.Conv2d):
    """A convolution to few channels; parameters and their names are those of any other."""

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if plain() or type(x) is not Tensor or not is_thin(self) or _too_wide(self, x):
            usual: Tensor = super()._conv_forward(x, weight, bias)
            return usual
        rows, columns = (int(p) for p in self.padding)
        return thin_convolution(x, weight, bias, (rows, rows, columns, columns))
