"""Deterministic-weight fingerprints: hold two implementations of one network against each other.

Weights follow a fixed formula that does not depend on names or on the order of parameters:
``h(n) = frac(43758.5453 * sin(12.9898 * n + 78.233))`` in float64, n = 0, 1, 2, …

* weights of convolutions and linear layers, flattened row-major in PyTorch's layout:
  ``(2 h(n) - 1) * sqrt(6 / fan)`` with fan = in_features, or (channels / groups) * kh * kw where
  channels is in_channels (for transposed convolutions ``weight.shape[0]``);
* biases ``0.1 * (2 h(n) - 1)``;
* norms: gain 1, offset 0, running mean 0.1, running variance 4; spectral norm removed;
* inputs, batch of two: latents ``sqrt(3) * (2 h(n) - 1)``, images ``2 h(n) - 1``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nastk.records import InputSpec


def formula(shape: Sequence[int]) -> Tensor:
    """Return ``h(0), h(1), …`` in [0, 1) as a float64 tensor of ``shape``, row-major."""
    n = torch.arange(math.prod(shape), dtype=torch.float64)
    value = 43758.5453 * torch.sin(12.9898 * n + 78.233)
    return (value - value.floor()).view(*shape)


@torch.no_grad()
def set_deterministic(network: nn.Module) -> None:
    """Set all weights and statistics of ``network`` by the formula, in place."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            shape = module.weight.shape
            module.weight.copy_((2 * formula(shape) - 1) * math.sqrt(6 / _fan(module)))
            if module.bias is not None:
                module.bias.copy_(0.1 * (2 * formula(module.bias.shape) - 1))
        elif isinstance(module, nn.BatchNorm2d):
            if module.running_mean is not None and module.running_var is not None:
                module.running_mean.fill_(0.1)
                module.running_var.fill_(4.0)
            if module.affine:
                module.weight.fill_(1.0)
                module.bias.fill_(0.0)


def deterministic_input(spec: InputSpec) -> Tensor:
    """Return the float32 batch ``(2, *spec.shape)`` that fingerprints are taken on."""
    scale = math.sqrt(3) if spec.kind == "latent" else 1.0
    return (scale * (2 * formula((2, *spec.shape)) - 1)).float()


def fingerprint(output: Tensor) -> dict[str, float]:
    """Return mean, population standard deviation and three elements of ``output``, of any shape.

    ``mid`` is element N // 2 + 5 of N (the last one when there are fewer).
    """
    flat = output.detach().double().flatten()
    mid = min(flat.numel() // 2 + 5, flat.numel() - 1)
    return {
        "mean": float(flat.mean()),
        "std": float(flat.std(correction=0)),
        "first": float(flat[0]),
        "mid": float(flat[mid]),
        "last": float(flat[-1]),
    }


def _fan(module: nn.Conv2d | nn.ConvTranspose2d | nn.Linear) -> int:
    if isinstance(module, nn.Linear):
        return module.in_features
    area = module.kernel_size[0] * module.kernel_size[1]
    channels = (
        module.weight.shape[0] if isinstance(module, nn.ConvTranspose2d) else (module.in_channels)
    )
    return channels // module.groups * area
