"""What many GPUs do to a search, on paper: ``python -m benchmarks.staleness``.

A discrete-event simulation of workers, proposals and tells. Durations of candidates, the driver's
own work and the sizes of messages are measured first (``--measure``, kept in
``benchmarks/results/staleness.json``); a GPU is so many times faster as ``--speed`` says.

*Idle* is the share of the workers' time that is spent waiting, the last candidates' included.
*Stale* is how many proposals were not told when one was made, on average. *Blind* is the share of
candidates that were proposed before anything was told.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import tempfile
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
from attrs import field, frozen

RESULT = Path(__file__).parent / "results" / "staleness.json"
Mode = Literal["batches", "asked", "completed"]
MODES: tuple[Mode, ...] = ("batches", "asked", "completed")


@frozen
class Work:
    """What one candidate takes.

    Attributes:
        mean: seconds of training and measuring, on average.
        spread: standard deviation over mean.
        driver: seconds of the driver: propose, send, take back, enter, tell.
    """

    mean: float
    spread: float
    driver: float

    def durations(self, count: int, seed: int = 0) -> np.ndarray[Any, Any]:
        """Return so many durations, log-normal; equal seeds, equal durations."""
        variance = math.log1p(self.spread**2)
        normal = np.random.default_rng(seed).normal(size=count)
        return np.asarray(self.mean * np.exp(math.sqrt(variance) * normal - variance / 2))


@frozen
class Flown:
    """How a search went.

    Attributes:
        seconds: until the last candidate was told.
        idle: share of the workers' time without a candidate, 0 to 1.
        stale: mean number of candidates asked and not told when one was proposed.
        blind: share of candidates proposed before any was told.
    """

    seconds: float
    idle: float
    stale: float
    blind: float


@frozen
class Field:
    """Workers, and how candidates are kept on their way.

    Attributes:
        workers: at work at a time.
        mode: ``batches``; or in flight, told in the order ``asked`` or ``completed``.
        window: candidates on their way, or of a batch; as many as workers unless given.
    """

    workers: int
    mode: Mode
    window: int = field(default=0)

    def fly(self, work: Work, count: int, seed: int = 0) -> Flown:
        """Return how a search of so many candidates goes."""
        if self.mode == "batches":
            return self._batches(work, count, seed)
        durations = work.durations(count, seed)
        window, clock, busy = self.window or self.workers, 0.0, 0.0
        free, running, done = self.workers, [], set[int]()  # type: list[tuple[float, int]]
        asked = told = begun = 0
        stale: list[int] = []
        while told < count:
            while asked < count and asked - told < window:
                stale.append(asked - told)
                asked += 1
            while free and begun < asked:
                clock += work.driver
                heapq.heappush(running, (clock + durations[begun], begun))
                free, begun = free - 1, begun + 1
            end, number = heapq.heappop(running)
            clock, free = max(clock, end) + work.driver, free + 1
            busy += durations[number]
            done.add(number)
            while (self.mode == "completed" and done) or told in done:
                done.discard(told) if self.mode == "asked" else done.pop()
                told += 1
        return self._flown(clock, busy, stale, min(window, count) / count)

    def _batches(self, work: Work, count: int, seed: int) -> Flown:
        durations = work.durations(count, seed)
        size, clock, stale = self.window or self.workers, 0.0, []  # type: int, float, list[int]
        for first in range(0, count, size):
            batch = durations[first : first + size]
            stale.extend(range(len(batch)))
            ends = [clock] * min(self.workers, len(batch))
            heapq.heapify(ends)
            for duration in batch:
                clock += work.driver
                heapq.heappush(ends, max(heapq.heappop(ends), clock) + float(duration))
            clock = max(clock, *ends) + work.driver * len(batch)
        return self._flown(clock, float(durations.sum()), stale, min(size, count) / count)

    def _flown(self, clock: float, busy: float, stale: list[int], blind: float) -> Flown:
        idle = 1.0 - busy / (self.workers * clock)
        return Flown(clock, idle, sum(stale) / len(stale), blind)


def ceiling(work: Work) -> float:
    """Return the workers that one driver can keep busy."""
    return work.mean / (2 * work.driver)


# -- measuring -------------------------------------------------------------------------------------


def measure(candidates: int = 8, steps: int = 60, full: int = 400) -> dict[str, Any]:
    """Return step times of random architectures, the driver's work and the sizes of messages."""
    from nastk.assembly import assemble
    from nastk.attempts import Job, begin
    from nastk.config import resolve
    from nastk.messages import from_bytes, to_bytes
    from nastk.plugins import load
    from nastk.records import Budget
    from nastk.trainer import Plan
    from nastk.workers.errands import errand

    registry = load()
    flags = {"run.strategy": "random", "run.device": "cpu"}
    search = assemble(resolve(registry, flags=flags, env={}), registry).search
    rng = search.randomness.child("staleness").numpy("sample")
    seconds, states = [], []
    for number in range(candidates):
        drawn = search.space.sample(rng)
        child = search.randomness.child(f"staleness/{number}")
        training = begin(search.trainer, search.space, drawn, Plan(phase="x", horizon=None), child)
        training.advance(Budget(10))
        began = time.process_time()
        training.advance(Budget(steps))
        seconds.append((time.process_time() - began) / steps)
        states.append(len(to_bytes(training.state_dict())))
    attempt = search.attempts(Budget(full))
    began = time.process_time()
    for _ in range(20):
        from_bytes(errand(attempt, Job(0, drawn)))
    posted = (time.process_time() - began) / 20
    return {
        "step": float(np.mean(seconds)),
        "spread": float(np.std(seconds) / np.mean(seconds)),
        "steps": full,
        "driver": posted + engine_seconds(),
        "state": int(np.mean(states)),
    }


def engine_seconds(count: int = 60) -> float:
    """Return the CPU seconds that engine, journal and generations take per candidate."""
    from nastk import engine
    from nastk.testing import toys

    def run(candidates: int) -> float:
        flags = {"strategy.candidates": candidates, "strategy.steps": 1, "final.steps": 1}
        with tempfile.TemporaryDirectory() as folder:
            began = time.process_time()
            engine.run(toys.config(**flags), toys.registry(), Path(folder) / "run")
            return time.process_time() - began

    run(4)
    return (run(count) - run(4)) / (count - 4)


def work_of(found: dict[str, Any], speed: float) -> Work:
    """Return a candidate's work on devices ``speed`` times as fast as the measured one."""
    mean = found["step"] * found["steps"] / speed
    return Work(mean, found["spread"], found["driver"])


# -- telling ---------------------------------------------------------------------------------------


def table(work: Work, state: float, count: int, numbers: list[int]) -> list[str]:
    """Return the lines of a Markdown table, one per number of workers and way."""
    lines = [
        f"{count} candidates of {work.mean:.2f} s (spread {100 * work.spread:.0f} %); one driver "
        f"keeps about {ceiling(work):,.0f} workers busy.",
        "",
        "| workers | way | hours | idle | stale | blind | MB/s of states |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for workers in numbers:
        ways = [Field(workers, mode) for mode in MODES]
        ways.insert(2, Field(workers, "asked", 2 * workers))
        for way in ways:
            flown = way.fly(work, count)
            name = f"{way.mode}, window of 2 each" if way.window else way.mode
            rate = 2 * state * count / flown.seconds / 1e6
            lines.append(
                f"| {workers} | {name} | {flown.seconds / 3600:.3f} | {100 * flown.idle:.0f} % "
                f"| {flown.stale:.1f} | {100 * flown.blind:.0f} % | {rate:.1f} |"
            )
    return lines


def main() -> None:
    """Measure if asked to, simulate, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", action="store_true", help="measure here and keep the result")
    parser.add_argument("--workers", type=int, nargs="+", default=[8, 64, 1000])
    parser.add_argument("--candidates", type=int, default=4000)
    parser.add_argument("--speed", type=float, default=1.0, help="of a GPU, in measured cores")
    parser.add_argument("--spread", type=float, default=None, help="of durations, over their mean")
    asked = parser.parse_args()
    if asked.measure:
        RESULT.write_text(json.dumps(measure(), indent=1) + "\n", encoding="utf-8")
    found = json.loads(RESULT.read_text(encoding="utf-8"))
    if asked.spread is not None:
        found["spread"] = asked.spread
    work = work_of(found, asked.speed)
    print("\n".join(table(work, found["state"], asked.candidates, asked.workers)))


if __name__ == "__main__":
    main()
