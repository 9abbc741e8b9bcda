"""Whether hidden labels stayed hidden: what exists, what was handed to whom, what is kept.

The auditor reads all labels itself, after the training is over and in objects of its own.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from attrs import evolve
from numpy.typing import NDArray

from nastk.classification.secrets import Secrets, files_with, holders
from nastk.config import Config
from nastk.dataset import HIDDEN, Dataset
from nastk.labels import label_hash
from nastk.registry import Registry
from nastk.rundir import RunFolder

Labels = NDArray[np.int64]


class Auditor:
    """Audits runs, one after the other; data that several share is read once.

    Args:
        registry: has the data sets.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._known: dict[tuple[Any, ...], Dataset] = {}

    def audit(self, folder: Path, config: Config) -> dict[str, Any]:
        """Return what is known of the labels of a finished run, as JSON data.

        ``problems`` lists every way in which a hidden label was or could have been seen;
        ``passed`` says that there is none.

        Args:
            folder: of the run.
            config: of the run.

        Raises:
            UserError: the data cannot be read any more.
        """
        data, truth = self._data(config), self.truth(config)
        shown = _labels(data)
        held = RunFolder.open(folder)
        sessions = list(held.read("sessions"))
        reads = _reads(sessions)
        budget, visible_hash = float(config.component("dataset").labels), label_hash(shown)
        problems = [
            *_of_data(held, data.content, shown, truth, budget),
            *_of_reads(reads, visible_hash),
            *_of_keeping(folder, data, shown, truth),
        ]
        return {
            "cell": folder.name,
            "data": data.content,
            "budget": budget,
            "exist": int((truth != HIDDEN).sum()),
            "visible": int((shown != HIDDEN).sum()),
            "hidden": int(((truth != HIDDEN) & (shown == HIDDEN)).sum()),
            "per_class": _per_class(shown, data.classes),
            "visible_hash": visible_hash,
            "reads": reads,
            "unrecorded_sessions": _unrecorded(sessions),
            "problems": problems,
            "passed": not problems,
        }

    def truth(self, config: Config) -> Labels:
        """Return all training labels ``(N,)``.

        The budget moves no image between splits or within one.
        """
        return _labels(self._data(config, labels=1.0))

    def _data(self, config: Config, **changes: Any) -> Dataset:
        settings = evolve(config.component("dataset"), **changes)
        key = (config.run.dataset, config.run.seed, settings)
        if key not in self._known:
            factory = self._registry.get("dataset", config.run.dataset).component.load_factory()
            # A data set or two at a time: they may be large.
            self._known = dict(list(self._known.items())[-1:])
            self._known[key] = factory(settings, seed=config.run.seed, device="cpu")
        return self._known[key]


def _of_data(
    held: RunFolder, content: str, shown: Labels, truth: Labels, budget: float
) -> list[str]:
    problems = []
    was = dict(held.document.get("data") or {}).get("content")
    if was != content:
        problems.append(f"the data is {content}, the run's was {was}")
    if len(shown) != len(truth):
        return [*problems, f"{len(shown)} training images, with all labels {len(truth)}"]
    seen = shown != HIDDEN
    if (shown[seen] != truth[seen]).any():
        problems.append("visible labels are not the true ones")
    for code, count in Counter(truth[truth != HIDDEN].tolist()).items():
        allowed, got = max(1, int(budget * count + 0.5)), int((shown == code).sum())
        if got > allowed:
            problems.append(f"class {code} shows {got} labels, the budget allows {allowed}")
    return problems


def _of_reads(reads: list[dict[str, Any]], expected: str) -> list[str]:
    problems = []
    for read in reads:
        if read["split"] == "train" and read["labels"] != expected:
            problems.append(f"{read['reader']} was handed other training labels than are visible")
        if read["split"] == "test" and read["reader"] != "evaluator":
            problems.append(f"{read['reader']} read the test split")
        if read["split"] == "validation" and read["reader"] == "trainer":
            problems.append("trainer read the validation split, whose labels are no part of it")
    if not reads:
        problems.append("no read is on record")
    return problems


def _of_keeping(folder: Path, data: Dataset, shown: Labels, truth: Labels) -> list[str]:
    secrets = Secrets.of(shown, truth, data.classes)
    if secrets is None:
        return []
    kept = [f"the data set keeps hidden labels: {where}" for where in holders(data, secrets)]
    return kept + [f"a file holds hidden labels: {name}" for name in files_with(folder, secrets)]


def _labels(data: Dataset) -> Labels:
    return np.asarray(data.split("train", "cpu").labels, dtype=np.int64)


def _per_class(shown: Labels, classes: int) -> list[int]:
    return [int((shown == code).sum()) for code in range(classes)]


def _reads(sessions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the reads of all sessions, equal ones added up."""
    total: Counter[tuple[tuple[str, Any], ...]] = Counter()
    for session in sessions:
        for read in session.get("labels") or ():
            total[tuple((k, v) for k, v in read.items() if k != "count")] += read["count"]
    return [{**dict(read), "count": count} for read, count in total.items()]


def _unrecorded(sessions: list[dict[str, Any]]) -> int:
    """Return how many processes were killed before they could tell what they read."""
    kinds = Counter(session.get("type") for session in sessions)
    return kinds["start"] - kinds["stop"]
