"""Successive halving: fewer steps to the optimum, state in the open, refusals before the start."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nastk import engine
from nastk.assembly import assemble
from nastk.errors import ConfigError, PairError
from nastk.evaluator import Candidate
from nastk.halving import Halving, Schedule
from nastk.records import Architecture, Evaluation, Metric, MetricCard, Trial
from nastk.rundir import RunFolder
from nastk.search import Search
from nastk.sections import SearchSettings
from nastk.strategy import AskTellStrategy
from nastk.testing import toys
from nastk.testing.folders import result_files

FLAGS = {
    "strategy.candidates": 27,
    "strategy.steps": 18,
    "strategy.batch": 3,
    "search.halving": 3,
    "final.steps": 20,
    "engine.max_failures": 1000,
}


def config(**flags: Any) -> Any:
    return toys.config(**{**FLAGS, **flags})


def started(**flags: Any) -> tuple[Any, Search]:
    """Return strategy and search of a world whose strategy has started."""
    world = assemble(config(**flags), toys.registry())
    world.strategy.start(world.search)
    return world.strategy, world.search


def finish(strategy: Any) -> None:
    while not strategy.step().done:
        pass


def told(folder: Path) -> list[dict[str, Any]]:
    return list(RunFolder.open(folder).read("candidates"))


# -- the schedule --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("factor", "rungs", "steps", "lengths"),
    [(3, 3, 18, (2, 6, 18)), (2, 4, 100, (12, 25, 50, 100)), (4, 2, 7, (1, 7))],
)
def test_trainings_grow_by_the_factor_up_to_the_strategys_own(
    factor: int, rungs: int, steps: int, lengths: tuple[int, ...]
) -> None:
    assert Schedule.of(SearchSettings(halving=factor, rungs=rungs), steps, 9).steps == lengths


@pytest.mark.parametrize("candidates", [5, 16, 100])
@pytest.mark.parametrize("brackets", [1, 2, 3])
def test_brackets_share_all_candidates_and_the_patient_ones_are_smaller(
    candidates: int, brackets: int
) -> None:
    settings = SearchSettings(halving=3, brackets=brackets)
    sizes = Schedule.of(settings, 27, candidates).sizes
    assert (sum(sizes), len(sizes)) == (candidates, brackets)
    assert list(sizes) == sorted(sizes, reverse=True)


def test_one_of_so_many_goes_on_and_all_do_below_the_brackets_own_rung() -> None:
    schedule = Schedule((2, 6, 18), (20, 7), 3)
    assert [schedule.quota(0, rung, 10) for rung in range(3)] == [3, 3, 0]
    assert [schedule.quota(1, rung, 10) for rung in range(3)] == [10, 3, 0]
    assert schedule.quota(0, 0, 2) == 1
    assert schedule.planned() == (20 * 2 + 6 * 4 + 2 * 12) + (7 * 2 + 7 * 4 + 2 * 12)


# -- what a run does -----------------------------------------------------------------------------


def test_best_of_each_rung_go_on_and_the_ledger_has_every_rung(tmp_path: Path) -> None:
    result = engine.run(config(), toys.registry(), tmp_path / "r")
    rungs: dict[int, list[dict[str, Any]]] = {}
    for record in told(tmp_path / "r"):
        if not record["reason"].startswith("known"):
            rungs.setdefault(record["rung"], []).append(record)
    for rung, steps in enumerate((2, 6, 18)):
        assert {r["budget"]["amount"] for r in rungs[rung]} == {steps}
        assert result.ledger[f"rung{rung}"].steps == sum(r["cost"]["steps"] for r in rungs[rung])
    assert "candidates" not in result.ledger
    for low, high in ((0, 1), (1, 2)):
        assert len(rungs[high]) == len(rungs[low]) // 3
        scores = {r["number"]: score(r) for r in rungs[low]}
        best = sorted(scores, key=lambda n: scores[n])[: len(rungs[high])]
        assert sorted(r["number"] for r in rungs[high]) == sorted(best)


def score(record: Mapping[str, Any]) -> float:
    found = record["evaluation"]
    return math.inf if found is None else float(found["metrics"]["rating"]["value"])


def test_saved_steps_are_what_full_trainings_of_the_same_would_have_cost_more() -> None:
    strategy, search = started(**{"space.blocks": 5})
    finish(strategy)
    sound = [t for t in strategy.inner.trials if t.ok and "known" not in t.reason]
    spent = search.ledger.total().steps - search.ledger.failed.steps
    failed_later = [t for t in strategy.inner.promoted if not t.ok]
    assert failed_later  # an explosion comes in the third step, the first rung has two
    lost = sum(18 - (2 if t.rung == 1 else 6) for t in failed_later)
    assert search.ledger.saved + spent + lost == 18 * len(sound)
    assert search.ledger.trials == len({t.number for t in sound})


def test_candidate_that_went_on_is_bitwise_what_it_is_when_trained_at_once() -> None:
    strategy, _ = started()
    finish(strategy)
    top = [t for t in strategy.inner.promoted if t.rung == 2 and t.ok]
    assert top
    for trial in top:
        whole, _ = started(**{"search.halving": 0})
        plain = whole.search.evaluate([trial.architecture], trial.budget, trial.number)[0]
        assert plain.evaluation == trial.evaluation


def test_candidates_measured_together_climb_the_same_rungs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    apart, _ = started()
    finish(apart)
    monkeypatch.setattr(toys.ToyEvaluator, "together", True)
    together, _ = started()
    finish(together)
    seen = [[(t.number, t.rung, t.evaluation) for t in s.inner.promoted] for s in (apart, together)]
    assert seen[0] == seen[1] != []


def test_failed_candidates_never_go_on_and_no_leader_failed_later() -> None:
    strategy, _ = started(**{"strategy.steps": 45})  # the first rung has five steps
    finish(strategy)
    failed = {t.number for t in strategy.inner.trials if not t.ok}
    assert failed
    assert failed.isdisjoint(t.number for t in strategy.inner.promoted)
    strategy, _ = started(**{"space.blocks": 5})  # here it has two, an explosion takes three
    finish(strategy)
    later = {t.architecture.fingerprint for t in strategy.inner.promoted if not t.ok}
    assert later
    assert later.isdisjoint(x.architecture.fingerprint for x in strategy.leaders())


def test_leaders_of_larger_budgets_come_first_whatever_shorter_ones_score() -> None:
    strategy, _ = started()
    finish(strategy)
    last: dict[str, Any] = {t.architecture.fingerprint: t for t in strategy.inner.trials}
    last |= {t.architecture.fingerprint: t for t in strategy.inner.promoted}
    budgets = [last[x.architecture.fingerprint].budget.amount for x in strategy.leaders()]
    assert budgets == sorted(budgets, reverse=True)
    assert len(set(budgets)) == 3
    for amount in set(budgets):
        scores = [x.score for x, b in zip(strategy.leaders(), budgets, strict=True) if b == amount]
        assert scores == sorted(scores)


def test_inner_strategy_is_told_one_fidelity_and_of_those_that_went_on() -> None:
    heard: list[Trial] = []
    strategy, _ = started(**{"search.brackets": 3})
    strategy.inner.tell_promoted = heard.extend
    finish(strategy)
    assert {t.budget.amount for t in strategy.inner.trials} == {2}
    assert heard == strategy.inner.promoted
    assert {t.budget.amount for t in heard if t.budget} == {6, 18}


def test_architecture_proposed_again_is_known_and_takes_no_second_place() -> None:
    strategy, search = started(**{"space.blocks": 1})  # eight architectures
    finish(strategy)
    assert search.ledger.reused > 10
    for rung in (1, 2):
        at = [t.architecture.fingerprint for t in strategy.inner.promoted if t.rung == rung]
        assert len(at) == len(set(at))


def test_later_bracket_takes_all_its_candidates_to_its_own_rung(tmp_path: Path) -> None:
    engine.run(config(**{"search.brackets": 2}), toys.registry(), tmp_path / "r")
    rungs = [e for e in RunFolder.open(tmp_path / "r").read("events") if e["type"] == "rung"]
    assert [(e["bracket"], e["rung"], e["steps"]) for e in rungs] == [
        (b, r, s) for b in (0, 1) for r, s in enumerate((2, 6, 18))
    ]
    later = rungs[3]
    assert len(later["promoted"]) == later["candidates"] - later["failed"]


def test_no_more_trainings_are_held_than_can_still_go_on() -> None:
    strategy, _ = started(**{"space.blocks": 6})
    most = 0
    while not strategy.step().done:
        most = max(most, len(strategy.states))
    assert 9 <= most <= 10  # a third of 27, and of the batch that may be one too many
    assert strategy.states == {}


# -- fewer steps to the optimum ------------------------------------------------------------------


class Curves(toys.ToyEvaluator):
    """Tabulated learning curves: the score of an architecture after some training.

    Curves of unlike slope and a little noise cross, so that short trainings mislead somewhat.
    """

    steps = 0.0
    """Of the training that is measured next."""

    def evaluate(self, candidates: Sequence[Candidate], *_: Any) -> list[Evaluation]:
        return [self._rated(c) for c in candidates]

    def _rated(self, candidate: Candidate) -> Evaluation:
        value = curve(candidate.architecture, self.steps)
        return Evaluation({"rating": Metric("rating", value, "minimise", MetricCard())})


def curve(architecture: Architecture, steps: float) -> float:
    """Return a score that falls with training to its asymptote."""
    draws = np.random.default_rng(int(architecture.fingerprint, 16))
    asymptote, height, noise = draws.uniform(0, 10), draws.uniform(2, 6), draws.normal()
    return float(asymptote + (height + 0.5 * noise) * math.exp(-steps / 9))


def optimum_and_steps(seed: int, halving: int, monkeypatch: pytest.MonkeyPatch) -> tuple[str, int]:
    monkeypatch.setattr(toys, "OPTIONS", ("a", "b", "c", "d"))  # none explodes
    flags = {"run.seed": seed, "strategy.candidates": 60, "strategy.steps": 27}
    strategy, search = started(**{**flags, "search.halving": halving})
    evaluator = Curves(dataset=search.dataset, device="cpu")
    advance = toys.ToyTraining.advance

    def counted(self: Any, budget: Any) -> Any:
        progress = advance(self, budget)
        evaluator.steps = self.cost.steps
        return progress

    monkeypatch.setattr(toys.ToyTraining, "advance", counted)
    search.evaluator = evaluator
    if halving:
        strategy.shortened.evaluator = evaluator
    strategy.search = search
    finish(strategy)
    monkeypatch.undo()
    best: Architecture = strategy.leaders()[0].architecture
    return best.fingerprint, search.ledger.total().steps


def test_halving_finds_the_optimum_in_fewer_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    found, costs = 0, []
    for seed in range(20):
        best, whole = optimum_and_steps(seed, 0, monkeypatch)
        same, steps = optimum_and_steps(seed, 3, monkeypatch)
        found += best == same and steps < whole
        costs.append(steps / whole)
    assert found >= 18
    assert max(costs) < 0.5


# -- refusals and off by default -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ({"run.strategy": "toy-growing"}, "search.halving needs a strategy that only proposes"),
        ({"strategy.steps": 8}, "3 rungs by 3 need trainings of at least 9 steps, got 8"),
        ({"search.brackets": 4}, "got 4 brackets, expected at most 3, one per rung"),
        ({"strategy.candidates": 2, "search.brackets": 3}, "2 candidates do not fill 3 brackets"),
    ],
)
def test_what_cannot_be_halved_is_refused_in_one_line_before_the_start(
    tmp_path: Path, flags: dict[str, Any], line: str
) -> None:
    strategy = str(flags.pop("run.strategy", "toy-random"))
    own = {} if strategy == "toy-growing" else FLAGS
    wanted = toys.config(strategy, **{**own, "search.halving": 3, **flags})
    with pytest.raises(PairError, match=re.escape(line)) as refused:
        engine.run(wanted, toys.registry(), tmp_path / "r")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "r").exists()


def test_evaluator_that_trains_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toys.ToyEvaluator, "builds", False)
    with pytest.raises(PairError, match=r"search\.halving: evaluator 'toy' trains nothing"):
        assemble(config(), toys.registry())


@pytest.mark.parametrize("value", [1, -3])
def test_factor_that_does_not_halve_is_refused(value: int) -> None:
    with pytest.raises(ConfigError, match=f"halving: got {value}, expected 0"):
        config(**{"search.halving": value})


def test_strategy_is_left_alone_unless_halving_is_asked_for() -> None:
    assert isinstance(assemble(config(), toys.registry()).strategy, Halving)
    plain = assemble(config(**{"search.halving": 0}), toys.registry())
    assert isinstance(plain.strategy, AskTellStrategy)
    assert plain.search.memory.estate is None


# -- state ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_run_stopped_after_any_step_ends_as_the_uninterrupted_one(
    tmp_path: Path, seed: int
) -> None:
    flags: dict[str, Any]
    flags = {"run.seed": seed, "engine.commit_every": 1, "search.brackets": 2}
    flags["search.inherit"] = "nearest"
    whole = engine.run(config(**flags), toys.registry(), tmp_path / "whole")
    held = None
    while held is None or held.interrupted:
        stop = engine.StopRequest()

        class Stop:
            def __init__(self, stop: engine.StopRequest) -> None:
                self.stop = stop

            def emit(self, event: Mapping[str, Any]) -> None:
                if event["type"] == "step":
                    self.stop.set()

        if held is None:
            run = config(**flags)
            held = engine.run(run, toys.registry(), tmp_path / "r", [Stop(stop)], stop)
        else:
            held = engine.resume(tmp_path / "r", toys.registry(), [Stop(stop)], stop)
    assert held.codes == whole.codes
    assert result_files(tmp_path / "r") == result_files(tmp_path / "whole")
