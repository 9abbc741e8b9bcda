"""What a run will need of disk and memory, before it begins."""

from __future__ import annotations

import io
import math
import resource
import sys
from typing import Any

from attrs import frozen

from nastk.assembly import World
from nastk.state import plain_weights, size_of
from nastk.trainer import Training

CHUNK = 100
"""Generator updates of the final training between two steps of the engine."""
LINE = 12_000
"""Bytes that a candidate adds to journals and generations, with ten metrics and their cards."""
PAGE = 120_000
"""Bytes of the report, its pictures aside."""
LIBRARIES = 2**25
"""Bytes of the libraries that only an evaluation loads."""
AT_WORK = 2.5
"""Memory of a strategy's training in units of its state: with gradients, and the state's copy."""


@frozen
class Estimate:
    """What a run needs.

    Attributes:
        generation: bytes of the largest committed state, of the strategy or the final training.
        disk: bytes of the run's folder at its largest.
        memory: bytes that the process takes at most; on CUDA those of the device are not in it.
    """

    generation: int
    disk: int
    memory: int


def estimate(world: World, training: Training) -> Estimate:
    """Return what the run will need; ``training`` is one like its largest, after a step.

    The state of a training is counted exactly, that of a strategy as it says.
    """
    searching = world.strategy.state_bytes(world.search)
    engine, final = world.config.engine, world.config.final
    state = size_of(training.state_dict()) * (1 if final.leaders == 1 else 2)
    candidates = int(getattr(world.config.component("strategy"), "candidates", 0))
    steps = math.ceil(final.steps / CHUNK) * final.leaders
    commits = math.ceil(steps / engine.commit_every) + 1
    kept = min(engine.keep + 1, commits)
    sheet = _sheet(training)
    sheets = commits + math.ceil(candidates / engine.commit_every)
    disk = max(kept * state, (engine.keep + 1) * searching) + _best(training) + PAGE
    disk += candidates * LINE * 2 + sheet * (min(sheets, engine.sheets) + 8)
    at_work = max(2 * state, int(AT_WORK * searching))
    return Estimate(max(state, searching), disk, _memory() + LIBRARIES + at_work)


def _best(training: Training) -> int:
    networks: tuple[Any, Any] = (training.eval_generator(), training.pair.discriminator)
    return sum(size_of(plain_weights(network)) for network in networks)


def _sheet(training: Training) -> int:
    """Return the bytes of one sheet of pictures."""
    from PIL import Image

    from nastk.pictures import grid

    pictures = training.pictures()
    if pictures is None:
        return 0
    png = io.BytesIO()
    Image.fromarray(grid(pictures)).save(png, format="png")
    return len(png.getvalue())


def _memory() -> int:
    """Return the most memory that this process has taken so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
