"""Settings of the executor ``ray``; imports neither Ray nor torch."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen
from attrs.validators import ge

from nastk.workers.config import CrewConfig


def _setting(default: Any, about: str, validator: Any = None) -> Any:
    return field(default=default, validator=validator, metadata={"help": about})


@frozen
class RayConfig(CrewConfig):
    """Settings of the executor ``ray``; none of them changes what comes of a candidate."""

    workers: int = _setting(
        0, "candidates at a time; 0: as many as the cluster has room for at the start", ge(0)
    )
    address: str = _setting(
        "",
        "of the cluster, e.g. 10.0.0.1:6379, or auto; empty: RAY_ADDRESS, else a cluster of this "
        "machine alone for as long as the run lasts",
    )
    cpus: float = _setting(1.0, "CPU cores that a worker claims", ge(0))
    gpus: float = _setting(
        1.0, "GPUs that a worker claims where the run is on CUDA; 0.5 lets two share one", ge(0)
    )
