"""Spectral normalisation as a network pass."""

from __future__ import annotations

from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from nastk.errors import PairError
from nastk.nn.layers import FlatLinear, SlicedConv2d
from nastk.passes import NetworkPass
from nastk.randomness import Randomness
from nastk.records import Role


class SpectralNorm(NetworkPass):
    """Spectrally normalises every convolution and linear layer of the discriminator.

    One power iteration per training forward pass. Source: Miyato et al. 2018 (arXiv:1802.05957).
    """

    name = "spectral-norm"
    roles: tuple[Role, ...] = ("discriminator",)
    order = 10

    def apply(self, network: nn.Module, randomness: Randomness) -> nn.Module:
        """Return ``network`` with normalised weights; draws the start vectors.

        Raises:
            PairError: a layer's weight is a slice of a larger one, whose norm is not the slice's.
        """
        with randomness.scoped("init"):
            for name, module in list(network.named_modules()):
                if isinstance(module, SlicedConv2d | FlatLinear) and not _plain(module):
                    raise PairError(
                        f"spectral-norm: layer '{name}' holds options that are slices of one "
                        "tensor; decide its width first"
                    )
                if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                    spectral_norm(module)
        return network


def _plain(module: SlicedConv2d | FlatLinear) -> bool:
    return module.out.fixed if isinstance(module, SlicedConv2d) else module.channels.fixed


def make(config: None = None) -> SpectralNorm:
    """Return the pass."""
    return SpectralNorm()
