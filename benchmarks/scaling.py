"""How the cost of a supernet grows: options, blocks, width, batch and image size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from attrs import frozen

from benchmarks.measure import fitted, paired
from benchmarks.page import table
from nastk.data.memory import InMemoryDataset, Source
from nastk.gan.config import TrainerConfig
from nastk.gan.objectives import Hinge
from nastk.gan.trainer import GanTrainer
from nastk.randomness import Randomness
from nastk.records import Task
from nastk_adversarialnas.config import SpaceConfig
from nastk_adversarialnas.space import CELL_EDGES, CELLS, FIRST, UP_EDGES, AdversarialSpace

NAME = "scaling"
TITLE = "How cost grows"
ROUNDS = {True: 1, False: 5}
FREE = 0.1
"""An exponent below this is noise and not growth."""
USES = ("mixture", "path")
"""All options weighted, as differentiable strategies run a supernet; one option of each choice."""


@frozen
class Setup:
    """One supernet: the adversarialnas generator, with a choice of convolutions."""

    options: int = 5
    blocks: int = CELLS
    width: int = 16
    batch: int = 16
    size: int = 16


AXES: dict[str, tuple[int, ...]] = {
    "options": (2, 3, 4, 5),
    "blocks": (1, 2, 3),
    "width": (8, 16, 32, 64),
    "batch": (4, 8, 16, 32, 64),
    "size": (16, 32, 64),
}
"""What grows while the rest of :class:`Setup` stays."""
QUICK = {"options": (2, 3), "batch": (2, 4)}
TICKS = (1, 2, 5, 10)
MEANING = {
    "options": "convolutions to choose from on each of 15 edges",
    "blocks": "cells, each of which doubles the image's side",
    "width": "channels",
    "batch": "images of a batch",
    "size": "side of the image, pixels",
}


def space_of(setup: Setup) -> Any:
    """Return the space with the first ``options`` convolutions on every edge of a cell."""
    config = SpaceConfig(generator_width=setup.width, latent_dim=120)
    space = AdversarialSpace(config, task=Task(image=(3, setup.size, setup.size)))
    edges = {f"cell{i}.{e}": FIRST[: setup.options] for i in range(CELLS) for e in CELL_EDGES}
    ups = {f"cell{i}.{e}": ("nearest", "bilinear") for i in range(CELLS) for e in UP_EDGES}
    return space.restrict(edges | ups)


def trainer_of(setup: Setup) -> GanTrainer:
    """Return a trainer with its defaults; the images are never looked at."""
    blank = torch.zeros(8, 3, setup.size, setup.size, dtype=torch.uint8).numpy()
    dataset = InMemoryDataset("blank", Source(blank))
    return GanTrainer(TrainerConfig(), dataset=dataset, objective=Hinge(), device="cpu")


def step(setup: Setup, use: str) -> Callable[[], object]:
    """Return a forward and a backward pass of the supernet, as the trainer builds it."""
    torch.manual_seed(0)
    space, streams = space_of(setup), Randomness(0)
    network = trainer_of(setup).build(space, "generator", {}, streams, setup.blocks)
    weights: dict[str, torch.Tensor] = {}
    if use == "mixture":
        for name, options in network.selection.options.items():
            weights[name] = torch.full((len(options),), 1 / len(options), requires_grad=True)
        network.mix(weights)
    z = torch.randn(setup.batch, *space.input.shape)
    parameters = [*network.parameters(), *weights.values()]

    def work() -> object:
        for parameter in parameters:
            parameter.grad = None
        loss = network(z).square().mean()
        torch.autograd.backward(loss)
        return loss

    return work


def measured(axis: str, values: tuple[int, ...], use: str, rounds: int) -> dict[str, Any]:
    """Return seconds at each value of an axis, and the exponent of the growth."""
    ways = {str(value): step(Setup(**{axis: value}), use) for value in values}
    found = paired(ways, rounds)
    seconds = [found[str(value)]["seconds"] for value in values]
    # Of the paired ratios to the first value: they drift less than the seconds.
    relative = [1 / found[str(value)]["ratio"][0] for value in values]
    return {"values": list(values), "seconds": seconds, "relative": relative,
            "exponent": fitted(values, relative)}  # fmt: skip


def run(quick: bool = False) -> dict[str, Any]:
    """Measure every axis in both uses of a supernet."""
    axes = QUICK if quick else AXES
    rounds = ROUNDS[quick]
    return {
        axis: {use: measured(axis, values, use, rounds) for use in USES}
        for axis, values in axes.items()
    }


def section(result: dict[str, Any]) -> str:
    """Return what the page says of a result."""
    rows = [
        [
            axis,
            MEANING[axis],
            ", ".join(map(str, found["mixture"]["values"])),
            *(f"{found[use]['exponent']:.2f}" for use in USES),
            *(" → ".join(_time(s) for s in _ends(found[use]["seconds"])) for use in USES),
        ]
        for axis, found in result.items()
    ]
    head = ("axis", "what it counts", "values", "k, mixture", "k, path", "mixture", "single path")
    base = Setup()
    return f"""A forward and a backward pass of the `adversarialnas` generator's supernet, built by
the trainer with its defaults; what does not grow is {base.options} options, {base.blocks} cells,
{base.width} channels, batches of {base.batch}, {base.size}×{base.size} pixels. The single path runs
each choice's first option, which is a 1×1 convolution. The exponent k is that of the fit
cost ∝ valueᵏ, from ratios to the first value: 1 is proportional, 0 is free. Fixed costs flatten it
where the work is small.

{table(head, rows)}

![Cost relative to the first value, log-log, one panel an axis]({NAME}.svg)

{_verdict(result)}
"""


def _verdict(result: dict[str, Any]) -> str:
    growth = result["options"]["path"]["exponent"]
    if abs(growth) < FREE:
        return "A single path costs only its path: from how many options it was chosen is free."
    return f"A single path costs more where it is chosen from more options (k {growth:.2f})."


def _ends(values: list[float]) -> tuple[float, float]:
    return values[0], values[-1]


def _time(seconds: float) -> str:
    return f"{1000 * seconds:,.0f} ms"


def figure(result: dict[str, Any], path: Path) -> None:
    """Draw cost against value, log-log; equal results, equal bytes."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": NAME, "svg.fonttype": "none", "font.size": 8}):
        drawn = Figure(figsize=(2 * len(result), 2.2), layout="constrained")
        panels = drawn.subplots(1, len(result), sharey=True, squeeze=False)[0]
        for panel, (axis, found) in zip(panels, result.items(), strict=True):
            for use, mark in zip(USES, ("o-", "s--"), strict=True):
                own = found[use]
                panel.loglog(own["values"], own["relative"], mark, markersize=3, label=use)
            panel.set_xticks(found["mixture"]["values"], map(str, found["mixture"]["values"]))
            panel.minorticks_off()
            panel.set_xlabel(axis)
        panels[0].set_ylabel("relative cost")
        panels[0].set_yticks(TICKS, [f"{tick} ×" for tick in TICKS])
        panels[0].legend(frameon=False)
        drawn.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
