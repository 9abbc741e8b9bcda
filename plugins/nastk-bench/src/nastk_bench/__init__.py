"""The first tabulated benchmark for the architecture search of GANs, and zero-cost scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import fields

from nastk import hookimpl
from nastk.registry import Component
from nastk_bench.config import SpaceConfig
from nastk_bench.protocol import NAME, Protocol

if TYPE_CHECKING:
    import click

_PROTOCOL = Protocol()
_SIDE = _PROTOCOL.dataset["image_size"]
_WIDTHS = {f"space.{f.name}": f.default for f in fields(SpaceConfig)}
"""Said aloud, since a data set proposes others."""
_LENGTHS = {
    "strategy.steps": _PROTOCOL.steps,
    "final.steps": _PROTOCOL.steps,
    "final.samples": _PROTOCOL.evaluator["samples"],
}
_TABULATED = {
    "run.dataset": "digits",
    "run.objective": _PROTOCOL.objective,
    "run.trainer": "tabulated",
    "run.evaluator": "nano",
    **_LENGTHS,
}
_LIVE = {
    "run.dataset": "digits",
    "run.objective": _PROTOCOL.objective,
    **{f"trainer.{name}": value for name, value in _PROTOCOL.trainer.items()},
    **{f"evaluator.{name}": value for name, value in _PROTOCOL.evaluator.items()},
    **_LENGTHS,
}

nastk_api = "1.0"


@hookimpl
def register_components() -> list[Component]:
    """Return the space ``nano``, what reads its table, and the zero-cost scores."""
    return [_SPACE, _TRAINER, _EVALUATOR, _ZERO_COST]


@hookimpl
def register_commands(group: click.Group) -> None:
    """Add ``nastk bench``."""
    from nastk_bench.cli import bench

    group.add_command(bench)


_SPACE = Component(
    kind="space",
    name="nano",
    factory="nastk_bench.space:make",
    config="nastk_bench.config:SpaceConfig",
    summary="453 small pairs of networks, few enough to train all of them into a table",
    defaults={**_WIDTHS, "dataset.image_size": _SIDE, "inspect.image": f"1x{_SIDE}x{_SIDE}"},
    presets={"tabulated": _TABULATED, "protocol": _LIVE},
)

_TRAINER = Component(
    kind="trainer",
    name="tabulated",
    factory="nastk_bench.tabulated:TabulatedTrainer",
    config="nastk_bench.config:TableConfig",
    summary=f"trains nothing: charges what the table {NAME} says a training cost",
)

_EVALUATOR = Component(
    kind="evaluator",
    name="nano",
    factory="nastk_bench.tabulated:TableEvaluator",
    config="nastk_bench.config:TableConfig",
    summary=f"reads what the table {NAME} says that a training came to",
)

_ZERO_COST = Component(
    kind="evaluator",
    name="zero-cost",
    factory="nastk_bench.zero_cost:ZeroCostEvaluator",
    config="nastk_bench.config:ZeroCostConfig",
    summary="scores untrained networks: sizes, gradients, NTK, spread of outputs",
)
