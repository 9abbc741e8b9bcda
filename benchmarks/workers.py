"""Candidates per hour with one and with two workers: ``python -m benchmarks.workers``.

The same candidates of a random search go through the executor ``processes``, with one worker and
with two in turns, one torch thread each. Wall time, so nothing else may run: the load before each
round is told. Outcomes must be equal bit for bit, else there is nothing to compare.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from typing import Any

from attrs import evolve

from nastk.assembly import assemble
from nastk.config import resolve
from nastk.plugins import load
from nastk.records import Budget, Trial

FLAGS: dict[str, Any] = {
    "run.strategy": "random",
    "run.device": "cpu",
    "run.executor": "processes",
    "engine.threads": 1,
}


class Crew:
    """A search whose workers are up and warm.

    Args:
        workers: of the pool.
        steps: training of a candidate.
    """

    def __init__(self, workers: int, steps: int) -> None:
        registry = load()
        flags = {**FLAGS, "executor.workers": workers}
        self.search = assemble(resolve(registry, flags=flags, env={}), registry).search
        self.steps = 1
        self.round(2 * workers, 0)  # every worker has put the run together, and measured once
        self.steps = steps

    def round(self, count: int, first: int) -> tuple[float, list[Trial]]:
        """Return the seconds that so many candidates took, and what came of them."""
        rng = self.search.randomness.child(f"round/{first}").numpy("sample")
        drawn = [self.search.space.sample(rng) for _ in range(count)]
        began = time.perf_counter()
        told = self.search.evaluate(drawn, Budget(self.steps), first, reuse=False)
        return time.perf_counter() - began, [
            evolve(trial, cost=evolve(trial.cost, seconds=0.0)) for trial in told
        ]


def compare(count: int, steps: int, rounds: int) -> dict[str, Any]:
    """Return candidates per hour of one and of two workers, in turns, and their ratios."""
    crews = {workers: Crew(workers, steps) for workers in (1, 2)}
    rows = []
    for number in range(rounds):
        load_before = os.getloadavg()[0]
        found = {w: crew.round(count, 1000 + count * number) for w, crew in crews.items()}
        assert found[1][1] == found[2][1], "two workers gave other outcomes than one"
        rates = {w: 3600 * count / seconds for w, (seconds, _) in found.items()}
        rows.append({"load": load_before, "one": rates[1], "two": rates[2],
                     "ratio": rates[2] / rates[1]})  # fmt: skip
    for crew in crews.values():
        crew.search.executor.close()
    ratio = statistics.median(row["ratio"] for row in rows)
    return {"candidates": count, "steps": steps, "cores": os.cpu_count(), "ratio": ratio,
            "rounds": rows}  # fmt: skip


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--candidates", type=int, default=32, help="of a round")
    parser.add_argument("--steps", type=int, default=40, help="training of a candidate")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    found = compare(asked.candidates, asked.steps, asked.rounds)
    if asked.json:
        print(json.dumps(found))
        return
    for row in found["rounds"]:
        print(f"one worker {row['one']:7.1f}/h   two {row['two']:7.1f}/h   "
              f"{row['ratio']:.2f} x   (load before: {row['load']:.1f})")  # fmt: skip
    print(f"median {found['ratio']:.2f} x, aim 1.8 x; outcomes equal bit for bit")


if __name__ == "__main__":
    main()
