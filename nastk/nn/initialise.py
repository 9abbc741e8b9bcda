"""Initialisation schemes, drawn from a named generator."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import init

from nastk.errors import ConfigError, nearest
from nastk.nn.layers import raw_weight

Weighted = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


def _glorot(module: nn.Module, generator: torch.Generator) -> None:
    """Keras' default: Glorot-uniform weights and zero biases everywhere."""
    if isinstance(module, Weighted):
        init.xavier_uniform_(raw_weight(module), generator=generator)
        if module.bias is not None:
            module.bias.zero_()


def _autogan(draw: Callable[[Tensor, torch.Generator], object]) -> Callable[..., None]:
    def scheme(module: nn.Module, generator: torch.Generator) -> None:
        if isinstance(module, nn.Conv2d):
            draw(raw_weight(module), generator)
        elif isinstance(module, nn.BatchNorm2d) and module.affine:
            module.weight.normal_(1.0, 0.02, generator=generator)
            module.bias.zero_()

    return scheme


SCHEMES: dict[str, Callable[[nn.Module, torch.Generator], None]] = {
    "default": lambda module, generator: None,
    "glorot": _glorot,
    "xavier-conv": _autogan(lambda w, g: init.xavier_uniform_(w, generator=g)),
    "normal": _autogan(lambda w, g: init.normal_(w, 0.0, 0.02, generator=g)),
    "orthogonal": _autogan(lambda w, g: init.orthogonal_(w, generator=g)),
}
"""``xavier-conv``, ``normal`` and ``orthogonal`` are AutoGAN's: they touch 2-d convolutions and
batch norms (weight N(1, 0.02)) and leave linear and transposed layers at PyTorch's defaults."""


@torch.no_grad()
def initialise(network: nn.Module, scheme: str, generator: torch.Generator) -> None:
    """Initialise ``network`` in place; advances ``generator``.

    Raises:
        ConfigError: unknown scheme.
    """
    if scheme not in SCHEMES:
        raise ConfigError(f"unknown initialisation '{scheme}'", nearest(scheme, SCHEMES))
    for module in network.modules():
        SCHEMES[scheme](module, generator)
