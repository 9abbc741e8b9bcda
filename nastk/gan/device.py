"""What is particular to a device: rounding of products, compiled networks, where data lives."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch

from nastk.dataset import Split
from nastk.nn.choice import Network
from nastk.nn.forms import plain_forms

Compile = Literal["off", "on", "graphs"]
Home = Literal["auto", "device", "host"]

SHARE = 0.25
"""Share of a device's free memory that training images may take before they stay on the host."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
KEPT = 2**31 - 1
"""Bytes of freed memory that a process keeps at most, if it trains on a CPU with glibc."""
LARGE = 2**30
"""Bytes from which on an allocation is given back at once."""


def keep_freed_memory() -> None:
    """Let this process keep the memory of freed tensors, for those to come; Linux with glibc only.

    Every step makes and frees the same large tensors. By default their pages go back to the system
    each time and come again, zeroed. Whoever sets glibc's own variables decides instead.
    """
    theirs = "malloc" in os.environ.get("GLIBC_TUNABLES", "") or any(
        name.startswith("MALLOC_") for name in os.environ
    )
    if sys.platform != "linux" or theirs:
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "gnu_get_libc_version"):
        library.mallopt(_M_MMAP_THRESHOLD, LARGE)
        library.mallopt(_M_TRIM_THRESHOLD, KEPT)


@contextmanager
def short_products(on: bool) -> Iterator[None]:
    """Let CUDA round the inputs of fp32 products to TF32, or forbid it; restored at the end.

    Torch's own default allows it for convolutions and forbids it for matrix products.
    """
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = on
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


def compiled(network: Network, how: Compile) -> Callable[..., Any]:
    """Return what runs ``network``: itself, or its compiled form.

    Supernets run as they are, since every path would be compiled anew. A compiled network is
    evaluated as it is defined: the compiler finds its own short ways.

    Args:
        network: whose parameters stay where they are.
        how: ``graphs`` also records CUDA graphs where there is a CUDA device.
    """
    if how == "off" or not network.derived:
        return network
    mode = "reduce-overhead" if how == "graphs" else "default"
    run: Callable[..., Any] = torch.compile(network, mode=mode, dynamic=False)

    def forward(*inputs: Any) -> Any:
        with plain_forms():
            return run(*inputs)

    return forward


def housed(split: Split, device: torch.device, home: Home) -> Split:
    """Return ``split``, which is on the host, on the device, or pinned where it does not fit.

    Args:
        split: on the host; one that is on the device already is returned as it is.
        device: of the training.
        home: ``auto`` moves what takes at most :data:`SHARE` of the device's free memory.
    """
    if device.type != "cuda" or split.images.device.type == "cuda":
        return split
    images, labels = split.images, split.labels
    if home == "auto":
        free, _ = torch.cuda.mem_get_info(device)
        home = "device" if images.nbytes <= SHARE * free else "host"
    if home == "device":
        return Split(split.name, images.to(device), labels.to(device), split.content)
    return Split(split.name, images.pin_memory(), labels.pin_memory(), split.content)
