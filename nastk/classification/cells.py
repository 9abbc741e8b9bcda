"""What was asked of a comparison of classifiers → one run per method, label budget and seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import field, frozen

from nastk.config import Config
from nastk.errors import ConfigError
from nastk.recipes import Named
from nastk.registry import Registry
from nastk.retraining import training_config
from nastk.series import Part

GAN, REAL_ONLY, SUPERVISED = "semi-supervised", "real-only", "supervised"
METHODS = (GAN, REAL_ONLY, SUPERVISED)
"""With generated images; K + 1 classes without them; labelled real images only."""

LABELS = (1.0, 0.1, 0.01)
"""Label budgets unless others are asked for."""

SHARE = 0.5
"""Of a batch, images with a visible label, for methods that see others too.

Drawn as they come, a batch of 64 would hold less than one label at 1 %.
Source: as many of either, like Salimans et al. 2016 (arXiv:1606.03498).
"""


@frozen
class Asked:
    """A comparison as it was asked for.

    Attributes:
        text: architecture, as for :func:`nastk.retraining.training_config`.
        flags: dotted key → value or text; ``dataset.labels`` may list several, with commas.
        recipe: whose settings are used.
        space: name of the space; empty: as the text says.
        budget: length of every training.
        seeds: trainings of each method at each label budget, >= 1.
    """

    text: str
    flags: Mapping[str, Any] = field(factory=dict)
    recipe: Named | None = None
    space: str = ""
    budget: str = ""
    seeds: int = 3


@frozen
class Cell:
    """One training of the comparison.

    Attributes:
        method: of :data:`METHODS`.
        labels: budget, in (0, 1].
        seed: of data, labels and training; equal seeds see the same labels.
        part: folder and configuration.
    """

    method: str
    labels: float
    seed: int
    part: Part

    @property
    def name(self) -> str:
        """The last part of the folder."""
        return self.part.folder.name


def base_config(asked: Asked, registry: Registry) -> Config:
    """Return the configuration of the first cell, which also says where all of them go.

    Raises:
        UserError: there is no such architecture, or a value does not fit.
    """
    return _config(asked, registry, GAN, budgets(asked)[0])


def plan(asked: Asked, registry: Registry, out: Path, device: str) -> list[Cell]:
    """Return all cells: by label budget, then seed, then method.

    Args:
        asked: what to compare.
        registry: components to pick from.
        out: folder that holds a folder for each cell.
        device: where all of them run.

    Raises:
        UserError: a value does not fit.
    """
    cells = []
    for labels in budgets(asked):
        configs = {method: _config(asked, registry, method, labels) for method in METHODS}
        first = configs[GAN].run.seed
        for seed in range(first, first + asked.seeds):
            for method, config in configs.items():
                own = config.with_run("--task classify", seed=seed, device=device, out="")
                folder = out / f"labels{labels:g}-{method}-seed{seed}"
                cells.append(Cell(method, labels, seed, Part(folder, own)))
    return cells


def budgets(asked: Asked) -> Sequence[float]:
    """Return the label budgets that are asked for, in their order.

    Raises:
        ConfigError: not numbers in (0, 1], or one twice.
    """
    given = asked.flags.get("dataset.labels")
    if given is None:
        return LABELS
    try:
        found = [float(word) for word in str(given).split(",")]
    except ValueError:
        found = []
    if not found or len(set(found)) < len(found) or not all(0 < x <= 1 for x in found):
        raise ConfigError(
            f"flag --labels: got '{given}', expected different fractions in (0, 1] with commas",
            "e.g. --labels 1.0,0.1,0.01",
        )
    return found


def _config(asked: Asked, registry: Registry, method: str, labels: float) -> Config:
    flags = {key: v for key, v in asked.flags.items() if not _foreign(key, method)}
    # Without hidden labels every image is a labelled one: batches come as they are.
    flags.setdefault("trainer.labelled_share", SHARE if labels < 1 else 0.0)
    if method == SUPERVISED:
        flags["trainer.labelled_share"] = 1.0 if labels < 1 else 0.0
    objective = flags.get("run.objective", GAN) if method == GAN else method
    flags |= {
        "run.objective": objective,
        "run.evaluator": "class-head",
        "dataset.labels": labels,
    }
    return training_config(
        registry,
        asked.text,
        recipe=asked.recipe,
        space=asked.space,
        budget=asked.budget,
        flags=flags,
    )


def _foreign(key: str, method: str) -> bool:
    """Return whether a flag is not for this method: the supervised objective has no settings."""
    return key.startswith("objective.") and method == SUPERVISED
