"""Weights pass from candidate to candidate where that is asked for, and every trial says so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nastk.assembly import assemble
from nastk.errors import PairError
from nastk.inheritance import INHERIT, Estate, shared
from nastk.records import (
    Architecture,
    Budget,
    Cost,
    Direction,
    Evaluation,
    Metric,
    MetricCard,
    Status,
    Trial,
)
from nastk.search import Search
from nastk.testing import toys

STEPS = Budget(5)


def searching(**flags: Any) -> Search:
    world = assemble(toys.config(**{"search.inherit": "nearest", **flags}), toys.registry())
    world.strategy.start(world.search)
    return world.search


def parsed(search: Search, *codes: str) -> list[Architecture]:
    return [search.space.parse(c) for c in codes]


def trial(number: int, score: float | None, steps: int = 5, status: Status = "ok") -> Trial:
    choices = {"a": f"a{number}", "b": "b"}
    found = None
    if score is not None:
        found = Evaluation({"rating": Metric("rating", score, "minimise", MetricCard())})
    return Trial(number, Architecture("s", choices), status, Cost(), Budget(steps), found)


# -- what is kept --------------------------------------------------------------------------------


@pytest.mark.parametrize(("direction", "best"), [("minimise", [2, 0]), ("maximise", [1, 0])])
def test_weights_of_the_best_few_are_kept(direction: Direction, best: list[int]) -> None:
    estate = Estate(2, "rating", direction)
    for number, score in enumerate((2.0, 3.0, 1.0)):
        estate.offer(trial(number, score), "weights")
    assert [x.number for x in estate.kept] == best


def test_longer_trained_weights_come_before_better_scores_of_shorter_trainings() -> None:
    estate = Estate(2, "rating")
    estate.offer(trial(0, 9.0, steps=50), "long")
    estate.offer(trial(1, 1.0), "short")
    estate.offer(trial(2, 2.0), "short")
    assert [x.number for x in estate.kept] == [0, 1]
    estate.offer(trial(1, 3.0, steps=50), "longer")
    assert [(x.number, x.weights) for x in estate.kept] == [(1, "longer"), (0, "long")]


def test_failed_or_unmeasured_candidates_leave_nothing() -> None:
    estate = Estate(2, "rating")
    estate.offer(trial(0, None, status="diverged"), "weights")
    estate.offer(trial(1, 1.0, status="collapsed"), "weights")
    estate.offer(trial(2, None), "weights")
    assert estate.kept == []
    assert estate.nearest(trial(3, 1.0).architecture) is None


def test_candidate_inherits_from_the_one_that_shares_most_choices() -> None:
    search = searching()
    one, two, child, stranger = parsed(search, "0 0 0 | 0", "0 1 1 | 1", "0 1 1 | 0", "2 2 2 | 1")
    assert shared(child, one) == 0.5
    assert shared(child, two) == 0.75
    search.evaluate([one, two], STEPS)
    last = search.evaluate([child, stranger], STEPS, first_number=2)
    assert [t.parent for t in last] == [1, 1]
    lonely = parsed(search, "1 2 2 | 0")[0]
    estate = Estate(2, "rating")
    estate.offer(trial(0, 1.0), "weights")
    assert estate.nearest(lonely) is None


# -- what a trial says ---------------------------------------------------------------------------


def test_trial_names_its_parent_and_the_ledger_has_the_copying() -> None:
    search = searching()
    first = search.evaluate(parsed(search, "0 0 0 | 0"), STEPS)[0]
    second = search.evaluate(parsed(search, "0 0 1 | 0"), STEPS, first_number=1)[0]
    assert (first.parent, first.inherited) == (None, 0.0)
    assert (second.parent, second.inherited) == (0, 1.0)
    copying = search.ledger.phases[INHERIT]
    assert (copying.steps, copying.seconds > 0) == (0, True)
    seconds = search.ledger.total().seconds
    assert seconds == pytest.approx(first.cost.seconds + second.cost.seconds)


def test_child_trains_on_from_its_parents_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[np.ndarray[Any, Any]] = []
    begin = toys.ToyTrainer.begin

    def noting(self: Any, pair: Any, *rest: Any) -> Any:
        begun.append(pair.generator.weights.copy())
        return begin(self, pair, *rest)

    monkeypatch.setattr(toys.ToyTrainer, "begin", noting)
    search = searching()
    search.evaluate(parsed(search, "0 0 0 | 0"), STEPS)
    estate = search.memory.estate
    assert estate is not None
    left = estate.kept[0].weights[0].copy()
    search.evaluate(parsed(search, "0 0 1 | 0"), STEPS, first_number=1)
    assert np.array_equal(begun[1], left)
    assert not np.array_equal(begun[0], begun[1])


def test_batch_inherits_from_the_batches_before_and_never_from_itself() -> None:
    search = searching()
    batch = search.evaluate(parsed(search, "0 0 0 | 0", "0 0 1 | 0"), STEPS)
    assert [t.parent for t in batch] == [None, None]


def test_without_it_every_candidate_begins_from_scratch() -> None:
    search = searching(**{"search.inherit": "none"})
    for number, codes in enumerate(("0 0 0 | 0", "0 0 1 | 0")):
        found = search.evaluate(parsed(search, codes), STEPS, first_number=number)[0]
        assert (found.parent, found.inherited) == (None, 0.0)
    assert INHERIT not in search.ledger.phases


def test_parent_stays_with_a_candidate_through_its_rungs() -> None:
    flags = {"search.halving": 2, "strategy.candidates": 16, "strategy.steps": 8}
    world = assemble(toys.config(**{"search.inherit": "nearest", **flags}), toys.registry())
    strategy: Any = world.strategy
    strategy.start(world.search)
    while not strategy.step().done:
        pass
    first = {t.number: t.parent for t in strategy.inner.trials}
    assert {t.number: t.parent for t in strategy.inner.promoted}.items() <= first.items()
    assert any(t.parent is not None for t in strategy.inner.promoted)


def test_kept_weights_survive_their_state() -> None:
    search, other = searching(), searching()
    search.evaluate(parsed(search, "0 0 0 | 0", "1 0 0 | 0"), STEPS)
    other.memory.load_state_dict(search.memory.state_dict())
    assert other.memory.estate == search.memory.estate
    for one in (search, other):
        one.evaluate(parsed(one, "0 0 1 | 0"), STEPS, first_number=2)
    trials = [list(s.memory.trials.values())[-1] for s in (search, other)]
    assert trials[0].evaluation == trials[1].evaluation


# -- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "flags", "line"),
    [
        ("toy-growing", {}, r"search\.inherit needs a strategy that only proposes"),
        (
            "toy-random",
            {"trainer.bequeaths": False},
            r"search\.inherit: trainer 'toy' passes no weights on",
        ),
    ],
)
def test_inheritance_is_refused_where_weights_cannot_pass(
    strategy: str, flags: dict[str, Any], line: str
) -> None:
    wanted = toys.config(strategy, **{"search.inherit": "nearest", **flags})
    with pytest.raises(PairError, match=line):
        assemble(wanted, toys.registry())
