"""Which modules' results for an image depend on the other images of its batch."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.instancenorm import _InstanceNorm


def coupling(network: nn.Module) -> list[nn.Module]:
    """Return the modules that couple images while in training mode."""
    return [module for module in network.modules() if couples(module, training=True)]


def couples(module: nn.Module, training: bool) -> bool:
    """Return whether what a module itself does to an image, or to its buffers, depends on a batch.

    So do batch norms, instance norms that keep statistics, and what draws a number for every
    value. A module of another kind that looks over its batch says so by an attribute
    ``couples_images = True``.
    """
    if isinstance(module, _BatchNorm):
        return training or module.running_mean is None
    if isinstance(module, _InstanceNorm):
        return training and module.track_running_stats
    if isinstance(module, _DropoutNd):
        return training and module.p > 0
    if isinstance(module, nn.MultiheadAttention | nn.RNNBase):
        return training and module.dropout > 0
    if isinstance(module, nn.RReLU):
        return training
    return bool(getattr(module, "couples_images", False))
