"""Instance normalisation of images that lie channels last, as they are."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nastk.nn.forms import plain


class LastInstanceNorm2d(nn.InstanceNorm2d):
    """Instance normalisation that leaves the order in memory; torch's own turns it, on a CPU.

    Parameters and their names are those of any other. What keeps running statistics, and images
    of one pixel, go torch's way.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(N, C, H, W)``: every plane less its mean, over its deviation."""
        if plain() or self.track_running_stats or not _lies_last(x):
            usual: Tensor = super().forward(x)
            return usual
        planes = x.permute(0, 2, 3, 1).flatten(1, 2).to(torch.promote_types(x.dtype, torch.float32))
        centred = planes - planes.mean(1, keepdim=True)
        scale = torch.rsqrt(centred.square().mean(1, keepdim=True) + self.eps)
        found = centred * scale
        if self.affine:
            found = torch.addcmul(self.bias, found, self.weight)
        return found.to(x.dtype).view(x.shape[0], *x.shape[2:], -1).permute(0, 3, 1, 2)


def _lies_last(x: Tensor) -> bool:
    """Return whether ``x`` is channels last only, so of several pixels, and on a CPU."""
    return (
        x.device.type == "cpu"
        and x.dim() == 4
        and not x.is_contiguous()
        and x.is_contiguous(memory_format=torch.channels_last)
    )
