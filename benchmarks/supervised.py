"""The default discriminator trained on labelled real images only: ``SEED LABELS`` → JSON."""

from __future__ import annotations

import json
import sys

import torch

from benchmarks.first_search import FINAL
from nastk.assembly import assemble
from nastk.config import resolve
from nastk.data.batches import to_float
from nastk.metrics.paired import accuracy
from nastk.objective import as_scores
from nastk.plugins import load
from nastk.records import Budget
from nastk.trainer import Pair, Plan


def main(seed: int, labels: float) -> None:
    """Train for as many steps as a search's final retraining, then open the test split."""
    registry = load()
    flags = {
        "run.objective": "supervised",
        "run.seed": seed,
        "dataset.labels": labels,
        "trainer.d_update": "joint",
        **FINAL,
    }
    config = resolve(registry, flags=flags)
    search = assemble(config, registry).search
    space, streams = search.space, search.randomness.child("supervised")
    choices = space.reference()
    assert choices is not None
    pair = Pair(
        search.trainer.build(space, "generator", choices, streams),
        search.trainer.build(space, "discriminator", choices, streams),
        space,
    )
    plan = Plan("supervised", train_generator=False, ema=False)
    search.trainer.begin(pair, plan, streams).advance(Budget(config.final.steps))
    test = search.dataset.split("test", search.device)
    with torch.no_grad():
        scores = as_scores(pair.discriminator.eval()(to_float(test.images)))
    assert scores.classes is not None
    value = accuracy(scores.classes, test.labels, search.task.classes)
    print(json.dumps({"accuracy": value, "seed": seed, "labels": labels}))


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
