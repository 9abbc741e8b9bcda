"""One rank of two: trains the supernets of the one-shot strategies, alone and then together."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Any

import torch

from benchmarks import tiny
from nastk import engine, ranks
from nastk.config import resolve
from nastk.gan.loop import GanTraining
from nastk.plugins import load
from nastk.state import save_state
from nastk.workers import following
from nastk_adversarialnas.strategy import AdversarialStrategy

RUNS: dict[str, dict[str, Any]] = {
    "blockwise": {},
    "adversarialnas": {"strategy.steps_per_chunk": 2},
    # It collapses at once, and begins anew.
    "autogan": {"strategy.reset_threshold": 1e9, "strategy.reset_window": 2,
                "trainer.health_every": 2},
}  # fmt: skip
"""Strategy → settings."""

ADVANCES = 2
"""Pieces of training of a run; then it is given up."""


class EnoughError(Exception):
    """All was seen that is to be seen."""


class Recorder:
    """Keeps the states of all trainings, numbered, and ends a run that leads after a few."""

    def __init__(self, out: Path, prefix: str, leads: bool) -> None:
        self.out, self.prefix, self.leads = out, prefix, leads
        self.number = 0
        self.strategies: list[AdversarialStrategy] = []
        advance, relax = GanTraining.advance, AdversarialStrategy._relax

        def advanced(training: GanTraining, budget: Any) -> Any:
            try:
                return advance(training, budget)
            finally:
                self.keep(training)

        def relaxed(strategy: AdversarialStrategy, *args: Any) -> None:
            relax(strategy, *args)
            self.strategies.append(strategy)

        GanTraining.advance = advanced  # type: ignore[method-assign]
        AdversarialStrategy._relax = relaxed  # type: ignore[method-assign]

    def keep(self, training: GanTraining) -> None:
        save_state(self.out, f"{self.prefix}{self.number}", training.state_dict())
        self.number += 1
        if self.leads and self.number % ADVANCES == 0:
            raise EnoughError

    def keep_choice_weights(self) -> None:
        weights = self.strategies[-1].weights
        tree = {role: own.state_dict() for role, own in weights.items()}
        save_state(self.out, f"{self.prefix}-choices", tree)


def settings(name: str, registry: Any) -> Any:
    own = {f"strategy.{key}": value for key, value in tiny.STRATEGIES[name].items()}
    short = {
        "run.strategy": name,
        "run.space": tiny.SPACES.get(name, "stasgan"),
        "trainer.n_critic": 2,
        "trainer.health_every": 3,
        # Gradients that are nothing but rounding must not become whole steps of Adam.
        "trainer.eps": 1e-3,
    }
    return resolve(registry, flags={**tiny.TINY, **own, **short, **RUNS[name]}, env={})


def search_all(out: Path, recorder: Recorder) -> None:
    registry = load()
    for name in RUNS:
        try:
            engine.run(settings(name, registry), registry, out / f"{recorder.prefix}-{name}")
        except EnoughError:
            continue
        raise AssertionError(f"{name} ended by itself")
    recorder.keep_choice_weights()


def main(folder: str) -> None:
    out = Path(folder)
    torch.set_num_threads(1)
    leads = os.environ["RANK"] == "0"
    recorder = Recorder(out, "alone" if leads else "follower", leads)
    try:
        if leads:
            search_all(out, recorder)
            recorder.prefix, recorder.number = "leader", 0
        with ranks.joined() as team:
            search_all(out, recorder) if team.leads else following.follow(team)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)  # whatever another rank is waiting for
