"""A tabulated world: a small torch space whose ratings are known without training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from attrs import evolve
from torch import nn

from nastk.assembly import assemble
from nastk.config import resolve
from nastk.evaluator import Candidate, Evaluator
from nastk.executor import InProcess
from nastk.records import Choices, Decision, Evaluation, InputSpec, Metric, MetricCard, Task
from nastk.search import Search
from nastk.space import Pick, SearchSpace
from nastk.testing import toys

WIDTHS = {"w4": 4, "w8": 8, "w16": 16, "w32": 32}


class TableSpace(SearchSpace):
    """Five decisions; ``norm`` exists only where ``kind`` is ``deep``; ``a3`` with ``b3`` is bad.

    The repair of ``a3 b3`` is ``a3 b0``; ``a2`` with ``b2`` is beyond repair.
    """

    name = "table"

    def __init__(self, *, reference: str = "") -> None:
        self.task = Task((1, 4, 4))
        self.input = InputSpec("latent", (4,))
        self.settings = {}
        self.reference_width = reference
        self.decisions = (
            Decision("kind", ("flat", "deep")),
            Decision("norm", ("none", "bn", "in"), when=({"kind": ("deep",)},)),
            Decision("a", ("a0", "a1", "a2", "a3")),
            Decision("b", ("b0", "b1", "b2", "b3")),
            Decision("width", tuple(WIDTHS), kind="width"),
            Decision("d", ("only",), role="discriminator"),
        )

    def generator(self, pick: Pick, blocks: int | None = None) -> nn.Module:
        width = pick.size("width", WIDTHS).max
        return nn.Sequential(nn.Linear(4, width), nn.Linear(width, 16))

    def discriminator(self, pick: Pick, blocks: int | None = None) -> nn.Module:
        return nn.Linear(16, 1)

    def problems(self, choices: Choices) -> list[str]:
        pair = (choices.get("a"), choices.get("b"))
        return ["a and b clash"] if pair in {("a3", "b3"), ("a2", "b2")} else []

    def repair(self, choices: Choices) -> dict[str, str]:
        return {**choices, "b": "b0"} if choices.get("a") == "a3" else dict(choices)

    def reference(self) -> dict[str, str] | None:
        if not self.reference_width:
            return None
        rest = {"kind": "flat", "a": "a0", "b": "b0", "d": "only"}
        return {**rest, "width": self.reference_width}


def rate(choices: Choices) -> float:
    """The table: small is good; deep, in, a1, b3, w16 is best of all with 0."""
    value = {"a0": 2.0, "a1": 0.0, "a2": 1.0, "a3": 3.0}[choices["a"]]
    value += {"b0": 3.0, "b1": 2.0, "b2": 1.0, "b3": 0.0}[choices["b"]]
    value += {"none": 2.0, "bn": 1.0, "in": 0.0, "": 3.0}[choices.get("norm", "")]
    return value + abs(list(WIDTHS).index(choices["width"]) - 2)


class Table(Evaluator):
    """Reads the table; builds nothing."""

    name = "table"
    builds = False
    metrics: Mapping[str, Any] = {"rating": "minimise", "inverse": "maximise"}
    protocol = ""

    def evaluate(self, candidates: Sequence[Candidate], *_: Any) -> list[Evaluation]:
        return [self._evaluate(c.architecture.choices) for c in candidates]

    def _evaluate(self, choices: Choices) -> Evaluation:
        card = MetricCard(split="validation", extra={"protocol": self.protocol})
        value = rate(choices)
        return Evaluation({
            "rating": Metric("rating", value, "minimise", card),
            "inverse": Metric("inverse", -value, "maximise", card),
        })  # fmt: skip


class World:
    """Makes searches of the tabulated world and of the toys."""

    def table(self, seed: int = 0, **space: Any) -> Search:
        search = self.toy(seed)
        search.space = TableSpace(**space)
        search.evaluator = Table()
        return search

    def toy(self, seed: int = 0) -> Search:
        flags = {**toys.FLAGS, "run.seed": seed, "engine.max_failures": 1000}
        search = assemble(resolve(toys.registry(), flags=flags, env={}), toys.registry()).search
        search.executor = InProcess()
        return search

    def run(self, strategy: Any, search: Search, steps: int = 10_000) -> Any:
        assert strategy.unsupported(search) == ""
        strategy.start(search)
        return self.advance(strategy, steps)

    def advance(self, strategy: Any, steps: int = 10_000) -> Any:
        for _ in range(steps):
            if strategy.step().done:
                break
        return strategy


@pytest.fixture
def world() -> World:
    return World()


def timeless(trials: Sequence[Any]) -> list[Any]:
    """Trials but for the seconds that they took."""
    return [evolve(t, cost=evolve(t.cost, seconds=0.0)) for t in trials]
