"""Toys that go wrong on purpose; imported by worker processes too."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from attrs import field, frozen

from nastk.errors import DataError
from nastk.strategy import AskTellStrategy
from nastk.testing import toys
from nastk.testing.toy_strategies import ToyRandom

DRIVER = os.environ.setdefault("FAULTY_TOYS_DRIVER", str(os.getpid()))


@frozen
class FaultyConfig:
    """What happens to candidates with ``noisy`` in their first cell, and how often."""

    fault: str = field(default="kill", metadata={"help": "kill, hang, defect or user"})
    times: int = field(default=1, metadata={"help": "trainings that go wrong, in all"})
    folder: str = field(default="", metadata={"help": "where they are counted"})
    slow: float = field(default=0.0, metadata={"help": "seconds that even candidates take"})
    pause: float = 0.0
    bequeaths: bool = True


class FaultyTrainer(toys.ToyTrainer):
    """Trains as the toy does, but for some candidates."""

    def begin(self, pair: Any, plan: Any, randomness: Any) -> Any:
        """Go wrong where it is due."""
        config: Any = self.config
        marks = Path(config.folder)
        noisy = pair.generator.choices.get("cell0.op") == "noisy" and plan.phase != "retrain"
        if noisy and len(list(marks.glob("*"))) < config.times:
            (marks / f"{time.monotonic_ns()}").touch()
            self._fail(config.fault)
        if pair.generator.choices.get("cell1.op") == "plain":
            time.sleep(config.slow)
        return super().begin(pair, plan, randomness)

    def _fail(self, fault: str) -> None:
        if fault == "kill":
            assert os.getpid() != int(DRIVER)
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "hang":
            time.sleep(1000)
        if fault == "defect":
            raise KeyError("no such thing")
        raise DataError("the images are gone", "look for them")


class RankingEvaluator(toys.ToyEvaluator):
    """Rates candidates by their place among those measured with them."""

    together = True

    def evaluate(self, candidates: Any, split: Any, randomness: Any) -> Any:
        """Return ratings that depend on the whole batch and on the weights."""
        found = super().evaluate(candidates, split, randomness)
        mean = sum(e.metrics["rating"].value for e in found) / len(found)
        for evaluation in found:
            metric = evaluation.metrics["rating"]
            object.__setattr__(metric, "value", metric.value - mean)
        return found


class ShiftingDataset(toys.ToyDataset):
    """Holds other images in every process."""

    @property
    def content(self) -> str:
        """The process."""
        return f"process {os.getpid()}"


def shifting(config: None, *, seed: int, device: str) -> ShiftingDataset:
    """Return the data set."""
    return ShiftingDataset()


class Batches(ToyRandom):
    """Proposes whole batches only."""

    propose = AskTellStrategy.propose

    def ask(self) -> Any:
        """Draw a batch."""
        rng = self.search.randomness.numpy("propose")
        return [self.search.space.sample(rng) for _ in range(self.batch)]
