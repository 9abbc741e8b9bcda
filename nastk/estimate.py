"""What a run will need of disk and memory, before it begins."""

from __future__ import annotations

import io
import math
import resource
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from attrs import asdict, evolve, frozen

from nastk.assembly import World
from nastk.attempts import FAILURES
from nastk.errors import SpaceError
from nastk.fixed import FixedStrategy
from nastk.halving import Halving
from nastk.randomness import Randomness
from nastk.records import Architecture, Decision
from nastk.search import begin
from nastk.space import SearchSpace
from nastk.state import plain_weights, size_of
from nastk.trainer import Plan, Training

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
DRAWN = 12
"""Architectures that are drawn to see how much the winner's size may differ."""
ALIKE = 0.95
"""Needs of which the least is at least this share of the most are told as one number."""


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


def estimate(world: World, training: Training, tick: int, held: int) -> Estimate:
    """Return what the run will need from now on, its winner being known.

    The state of a training is counted exactly.

    Args:
        world: of the run.
        training: of the winner, after a step.
        tick: steps of the engine before it.
        held: bytes of the generations that are on disk.
    """
    return evolve(_sized(world, training), held=held, tick=tick).estimate()


@frozen
class _Sized:
    """The sizes, in bytes, that a run's needs follow from.

    Attributes:
        world: of the run.
        sheet: one sheet of pictures.
        state: of the final training.
        best: weights of the winner.
        searching: largest state of the strategy, where its search is still to come.
        waiting: trainings of candidates that the strategy's state holds beside.
        held: the generations of a search that has ended.
        tick: steps of the engine before the final training; 0: about one a candidate.
    """

    world: World
    sheet: int
    state: int
    best: int
    searching: int = 0
    waiting: int = 0
    held: int = 0
    tick: int = 0

    def estimate(self) -> Estimate:
        engine, final = self.world.config.engine, self.world.config.final
        left, waiting = self._left(), self.waiting * self.state
        state = left + self.state * (1 if final.leaders == 1 else 2)
        searching = left + self.searching + waiting
        commits, most = self._commits(), engine.keep + 1
        sheets = commits + math.ceil(self._candidates / engine.commit_every)
        before = self.held + state if self.held else most * searching
        disk = max(min(most, commits) * state, before) + self.best + PAGE
        disk += self._candidates * LINE * 2 + self.sheet * (min(sheets, engine.sheets) + 8)
        at_work = max(2 * state - left, int(AT_WORK * self.searching) + left) + waiting
        return Estimate(max(state, searching), disk, _memory() + LIBRARIES + at_work)

    def _commits(self) -> int:
        """Return the generations that hold a final training: by schedule, at its end, and last."""
        first, every = self.tick or max(1, self._candidates), self.world.config.engine.commit_every
        final = self.world.config.final
        end = first + math.ceil(final.steps / CHUNK) * final.leaders
        return end // every - first // every + bool(end % every) + 1

    @property
    def _candidates(self) -> int:
        return int(getattr(self.world.config.component("strategy"), "candidates", 0))

    def _left(self) -> int:
        """Return the bytes of weights that are kept for later candidates."""
        estate = self.world.search.memory.estate
        if estate is None:
            return 0
        if estate.kept:
            return size_of(estate.state_dict())
        return min(estate.size, self._candidates) * self.best


def _sized(world: World, training: Training) -> _Sized:
    state = size_of(training.state_dict())
    return _Sized(world, _sheet(training), state, _best(training))


def span(
    world: World, training: Training, architecture: Architecture, randomness: Randomness
) -> dict[str, Any]:
    """Return what the run will need at most, and in ``least`` what it needs if a small one wins.

    Where the winner is not known, trainings of architectures that are drawn, and of the smallest
    and the largest of them with the options that cost least and most, are begun and not advanced:
    what the first step adds to a state grows with the weights.

    Args:
        world: of the run.
        training: of ``architecture``, after a step.
        architecture: a complete one.
        randomness: drawn from.
    """
    strategy = world.strategy
    waiting = strategy.waiting if isinstance(strategy, Halving) else 0
    searching = strategy.state_bytes(world.search)
    here = evolve(_sized(world, training), searching=searching, waiting=waiting)
    if isinstance(strategy, FixedStrategy):
        return asdict(here.estimate())
    space = world.search.space
    fresh = size_of(begun(world, architecture, randomness).state_dict())
    gained = (here.state - fresh) / max(1, here.best)
    found = {architecture: here.estimate()}

    def size_up(other: Architecture) -> None:
        with suppress(*FAILURES, SpaceError):  # what cannot be built cannot win
            beginning = begun(world, other, randomness)
            state, best = size_of(beginning.state_dict()), _best(beginning)
            sized = evolve(here, state=state + int(gained * best), best=best)
            found[other] = sized.estimate()

    rng = randomness.numpy("sample")
    for _ in range(DRAWN):
        size_up(space.sample(rng))
    for extreme in (min, max):
        nearest = extreme(found, key=lambda a: found[a].generation)
        with suppress(SpaceError):  # against the rules
            size_up(_pushed(space, nearest, extreme))
    needs = [asdict(each) for each in found.values()]
    least, most = ({k: f(need[k] for need in needs) for k in needs[0]} for f in (min, max))
    differing = {k: least[k] for k in least if least[k] < ALIKE * most[k]}
    return most | ({"least": differing} if differing else {})


def begun(world: World, architecture: Architecture, randomness: Randomness) -> Training:
    """Return a training like the final one, at its start; see :func:`nastk.search.begin`."""
    plan = Plan(phase="plan", horizon=world.config.final.steps)
    return begin(world.search.trainer, world.search.space, architecture, plan, randomness)


def _pushed(
    space: SearchSpace, architecture: Architecture, extreme: Callable[..., str]
) -> Architecture:
    """Return ``architecture`` with the option that costs least or most wherever costs are known.

    Raises:
        SpaceError: the space does not allow it.
    """

    def option(decision: Decision) -> str:
        return extreme(decision.allowed, key=lambda o: decision.costs[decision.code(o)])

    first = {d.name: d.allowed[0] for d in space.decisions}
    costly = {d.name: option(d) for d in space.decisions if d.costs}
    choices = space.canonical({**first, **architecture.choices, **costly})
    return space.architecture(space.repair(choices))


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
