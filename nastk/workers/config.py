"""Settings of executors whose workers are other processes; imports no torch."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen
from attrs.validators import ge


def _setting(default: Any, about: str, validator: Any = None) -> Any:
    return field(default=default, validator=validator, metadata={"help": about})


@frozen
class CrewConfig:
    """Settings of all such executors; none of them changes what comes of a candidate."""

    workers: int = _setting(
        0, "candidates at a time; 0: one per CUDA device, on the CPU one per core", ge(0)
    )
    timeout: float = _setting(
        0.0,
        "seconds that a candidate may take before its worker counts as hung; 0: any time",
        ge(0),
    )
    tries: int = _setting(
        3, "lost workers after which the candidate that they had is recorded as failed", ge(1)
    )


@frozen
class ProcessesConfig(CrewConfig):
    """Settings of the executor ``processes``."""

    devices: tuple[str, ...] = _setting(
        (),
        "CUDA devices that workers take in turn, as in CUDA_VISIBLE_DEVICES; empty: all visible",
    )
