"""The folder ``best/`` of a run: the winner, its weights, metrics and pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nastk import disk
from nastk.pictures import save_sheet
from nastk.records import SCHEMA, Architecture, Evaluation, to_json
from nastk.rundir import RunFolder, write_json
from nastk.state import plain_weights, write_weights

if TYPE_CHECKING:
    from nastk.space import SearchSpace
    from nastk.trainer import Training

DRAWING = "drawing.json"


def write_best(
    folder: RunFolder,
    space: SearchSpace,
    architecture: Architecture,
    training: Training,
    evaluation: Evaluation,
) -> None:
    """Write ``best/`` of a run, whole or not at all, in the place of an earlier one.

    ``architecture.json``, ``generator.safetensors`` (averaged weights where kept),
    ``discriminator.safetensors``, both as they take effect in eval mode, ``metrics.json`` with
    every metric's card, ``samples.png`` where the training has pictures, and ``drawing.json``,
    layers and connections for a report, where it knows them.
    """
    from nastk.archfile import save_architecture

    new = folder.path / ".best.new"
    disk.remove(new)
    disk.make(new)
    save_architecture(new / "architecture.json", space, architecture)
    generator: Any = training.eval_generator()
    write_weights(new / "generator.safetensors", plain_weights(generator))
    discriminator: Any = training.pair.discriminator
    write_weights(new / "discriminator.safetensors", plain_weights(discriminator))
    metrics = to_json(evaluation)["metrics"]
    write_json(new / "metrics.json", {"schema": SCHEMA, "kind": "metrics", "metrics": metrics})
    pictures = training.pictures()
    if pictures is not None:
        save_sheet(new / "samples.png", pictures)
    drawing = _drawing(training)
    if drawing is not None:
        write_json(new / DRAWING, {"schema": SCHEMA, "kind": "drawing", **drawing})
    folder.replace_best(new)


def _drawing(training: Training) -> dict[str, Any] | None:
    try:
        return training.drawing()
    except Exception:  # a network of a stranger that cannot be traced is no reason to lose a run
        return None
