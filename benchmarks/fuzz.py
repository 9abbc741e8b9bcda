"""Spoil real files at random and read them: ``python -m benchmarks.fuzz --cases 10000``.

Each case spoils one file of :mod:`benchmarks.doors` and opens it as nastk does. It may be read,
or refused by an error of the user; anything else, or more than :data:`SECONDS`, is a defect. A
case is a door and a number, and is the same wherever it is run again.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count, islice
from pathlib import Path

from attrs import field, frozen

from benchmarks.doors import DOORS, Door, files_of, guards, sample
from nastk.errors import UserError
from nastk.plugins import load
from nastk.registry import Registry
from nastk.testing import workbench

SECONDS = 20.0
"""Of reading one file."""


@frozen
class Tally:
    """What became of the cases.

    Attributes:
        read: door → cases that were read all the same.
        refused: door → cases refused in one line.
        defects: one line each, with door, number and error.
    """

    read: Counter[str] = field(factory=Counter)
    refused: Counter[str] = field(factory=Counter)
    defects: list[str] = field(factory=list)


@contextmanager
def sampled() -> Iterator[tuple[Path, Registry]]:
    """Yield a folder with a file of every kind, and the registry that knows them."""
    before = os.environ.get("NASTK_CACHE")
    with tempfile.TemporaryDirectory(prefix="nastk-fuzz-") as folder:
        os.environ["NASTK_CACHE"] = str(Path(folder, "cache"))
        registry = everything()
        try:
            sample(Path(folder), registry)
            yield Path(folder), registry
        finally:
            os.environ.pop("NASTK_CACHE")
            if before is not None:
                os.environ["NASTK_CACHE"] = before


def everything() -> Registry:
    """Return all that is installed, and the tiny components of contract suites."""
    registry = load(env={}, warn=lambda line: None)
    for entry in workbench.registry():
        if entry.component.name == "tiny":
            registry.add(entry)
    return registry


def fuzz(root: Path, registry: Registry, cases: int, seed: int = 0) -> Tally:
    """Return what became of so many cases, spread over the doors.

    Args:
        root: a sample; it is as it was afterwards.
        registry: that knows it.
        cases: in all.
        seed: of the first number.
    """
    tally = Tally()
    rounds = ((door, number) for number in count(seed) for door in DOORS)
    wanted = ((door, number) for door, number in rounds if number % 5 == 0 or not door.slow)
    for door, number in islice(wanted, cases):
        attempt(door, number, root, registry, tally)
    return tally


def attempt(door: Door, number: int, root: Path, registry: Registry, tally: Tally) -> None:
    """Try one case."""
    rng = random.Random(f"{door.name} {number}")
    path = rng.choice(files_of(door, root))
    kept = {file: file.read_bytes() for file in (path, *guards(path))}
    try:
        path.write_bytes(door.damage(kept[path], rng))
        if door.seal is not None:
            door.seal(path)
        with _limited(SECONDS):
            door.read(root, registry)
        tally.read[door.name] += 1
    except UserError as error:
        if len(str(error).splitlines()) != 1 or len(str(error)) > 4000:
            tally.defects.append(f"{door.name} {number}: no line: {str(error)[:200]!r}")
        tally.refused[door.name] += 1
    except Exception as error:  # what this is looking for
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(frame.filename).name}:{frame.lineno}"
        what = f"{path.name}: {type(error).__name__}: {str(error)[:160]!r} at {where}"
        tally.defects.append(f"{door.name} {number}: {what}")
        print(f"defect: {tally.defects[-1]}", file=sys.stderr, flush=True)
    finally:
        for file, data in kept.items():
            file.write_bytes(data)


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in a ``with`` block of the main thread that takes too long."""

    def over(*_: object) -> None:
        raise RuntimeError(f"took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def main(words: list[str] | None = None) -> int:
    """Run the cases, print a table and the defects; 1 where there are any."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0, help="first number of each door's cases")
    asked = parser.parse_args(words)
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    with sampled() as (root, registry):
        tally = fuzz(root, registry, asked.cases, asked.seed)
    print(f"{'door':20} {'read':>6} {'refused':>8}")
    for door in DOORS:
        print(f"{door.name:20} {tally.read[door.name]:6} {tally.refused[door.name]:8}")
    for line in tally.defects:
        print(f"defect: {line}")
    print(f"{asked.cases} cases, {len(tally.defects)} defects")
    return 1 if tally.defects else 0


if __name__ == "__main__":
    sys.exit(main())
