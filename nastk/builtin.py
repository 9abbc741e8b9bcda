"""nastk's own components, registered through the same hooks as everybody's."""

from __future__ import annotations

from nastk.hookspecs import hookimpl
from nastk.registry import Component


@hookimpl
def register_components() -> list[Component]:
    """Return the data sets, objectives, trainers, evaluators and executors of the root package."""
    return [*_DATASETS, *_OBJECTIVES, *_TRAINERS, *_EVALUATORS, *_EXECUTORS, *_PASSES]


_DATASETS: list[Component] = []
_OBJECTIVES: list[Component] = []
_TRAINERS: list[Component] = []
_EVALUATORS: list[Component] = []
_EXECUTORS = [
    Component(
        kind="executor",
        name="in-process",
        factory="nastk.executor:in_process",
        summary="one candidate after another in this process",
    )
]
_PASSES: list[Component] = []
