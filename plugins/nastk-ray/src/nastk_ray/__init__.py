"""Candidates of nastk on a Ray cluster."""

from nastk import hookimpl
from nastk.registry import Component

nastk_api = "1.0"


@hookimpl
def register_components() -> list[Component]:
    """Return the executor ``ray``."""
    return [
        Component(
            kind="executor",
            name="ray",
            factory="nastk_ray.executor:RayExecutor",
            config="nastk_ray.config:RayConfig",
            summary="several candidates at a time, on the machines of a Ray cluster",
        )
    ]
