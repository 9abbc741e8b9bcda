"""Which device a run uses; torch is imported only when asked."""

from __future__ import annotations

import os
import sys

from nastk.errors import ConfigError


def choose_device(wanted: str) -> tuple[str, str]:
    """Return the device that a wish comes to, and a remark for the user (may be empty).

    Args:
        wanted: ``auto``, ``cpu``, ``cuda`` (the current one) or ``cuda:N``.

    Returns:
        ``cpu`` or ``cuda:N``; the remark says when ``auto`` found no CUDA device.

    Raises:
        ConfigError: a CUDA device was asked for and is not there.
    """
    if wanted == "cpu":
        return "cpu", ""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted == "auto" and not count:
        return "cpu", "no CUDA device found: using the CPU"
    if wanted in ("auto", "cuda") and count:
        return f"cuda:{torch.cuda.current_device()}", ""
    index = wanted.partition(":")[2]
    if not index.isdigit() or int(index) >= count:
        raise ConfigError(
            f"device '{wanted}': got {count} CUDA devices on this machine",
            "choose --device cpu or auto" if not count else f"cuda:0 to cuda:{count - 1}",
        )
    return wanted, ""


def use_threads(count: int) -> None:
    """Let torch use ``count`` CPU threads in this process from now on.

    Fixed, since sums split over threads round differently, and more threads than free cores slow
    small networks down several times.
    """
    if "torch" not in sys.modules:  # it reads this when it is imported, if ever
        os.environ["OMP_NUM_THREADS"] = str(count)
        return
    import torch

    torch.set_num_threads(count)
