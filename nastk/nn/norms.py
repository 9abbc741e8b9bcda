"""Batch-norm statistics of one path of a supernet, measured anew for as long as it is scored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def recalibrated(network: nn.Module, run: Callable[[], None]) -> Iterator[None]:
    """Measure batch-norm statistics by ``run``, keep them inside, restore the old ones after.

    Inside, and while ``run`` works, all other modules are in eval mode. The statistics are plain
    averages over the batches that ``run`` passes through the network.

    Args:
        network: mutated and restored, modes included.
        run: passes training batches through ``network``.
    """
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    saved = [{k: b.clone() for k, b in m.named_buffers(recurse=False)} for m in norms]
    momenta = [m.momentum for m in norms]
    modes = {m: m.training for m in network.modules()}
    network.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    try:
        with torch.no_grad():
            run()
        network.eval()
        yield
    finally:
        for norm, buffers, momentum in zip(norms, saved, momenta, strict=True):
            norm.momentum = momentum
            for name, value in buffers.items():
                getattr(norm, name).copy_(value)
        for module, mode in modes.items():
            module.training = mode
