from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from nastk.assembly import assemble
from nastk.errors import NastkError, TrialError
from nastk.evaluator import Candidate
from nastk.executor import InProcess
from nastk.records import Budget, Cost, Evaluation, Metric, MetricCard, from_json, to_json
from nastk.result import trial_record
from nastk.search import Search
from nastk.testing import toys

BUDGET = Budget(5)


def make(**flags: Any) -> tuple[Search, list[tuple[str, Mapping[str, Any]]]]:
    search = assemble(toys.config(**flags), toys.registry()).search
    heard: list[tuple[str, Mapping[str, Any]]] = []
    search.observer = lambda kind, values: heard.append((kind, values))
    return search, heard


def parsed(search: Search, *codes: str) -> list[Any]:
    return [search.space.parse(c) for c in codes]


def without_time(trials: Sequence[Any]) -> list[Any]:
    records = [trial_record(t, "") for t in trials]
    return [{k: v for k, v in r.items() if k != "time"} for r in records]


def test_candidates_are_measured_entered_and_told_in_order() -> None:
    search, heard = make()
    trials = search.evaluate(parsed(search, "0 0 0 | 0", "1 0 0 | 1"), BUDGET, first_number=7)
    assert [t.number for t in trials] == [7, 8]
    assert all(t.ok and t.evaluation is not None for t in trials)
    phase = search.ledger.phases["candidates"]
    assert (phase.steps, phase.images, search.ledger.trials) == (10, 80, 2)
    assert [(k, v["trial"].number, v["codes"]) for k, v in heard] == [
        ("trial", 7, "0 / 0 / 0 | 0"), ("trial", 8, "1 / 0 / 0 | 1"),
    ]  # fmt: skip


def test_failed_candidate_is_data_with_its_cost() -> None:
    search, _ = make()
    failed, good = search.evaluate(parsed(search, "3 0 0 | 0", "0 0 0 | 0"), BUDGET)
    assert (failed.status, failed.reason) == ("diverged", "the first cell exploded")
    assert (failed.cost.steps, failed.evaluation) == (3, None)
    assert good.ok
    assert (search.ledger.failures, search.ledger.failed.steps) == (1, 3)
    assert search.ledger.total().steps == 8


class OutOfMemoryError(RuntimeError):
    pass


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (OutOfMemoryError("CUDA out of memory"), "out-of-memory"),
        (RuntimeError("DefaultCPUAllocator: not enough memory"), "out-of-memory"),
        (RuntimeError("mat1 and mat2\nshapes"), "crashed"),
    ],
)
def test_runtime_errors_of_torch_are_failures(
    monkeypatch: pytest.MonkeyPatch, error: Exception, status: str
) -> None:
    def advance(self: Any, budget: Budget) -> Any:
        raise error

    search, _ = make()
    monkeypatch.setattr(toys.ToyTraining, "advance", advance)
    (trial,) = search.evaluate(parsed(search, "0 0 0 | 0"), BUDGET)
    assert trial.status == status
    assert "\n" not in trial.reason


def test_mistakes_in_a_plugin_are_no_failures_of_candidates(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def advance(self: Any, budget: Budget) -> Any:
        raise TypeError("a bug")

    search, _ = make()
    monkeypatch.setattr(toys.ToyTraining, "advance", advance)
    with pytest.raises(TypeError, match="a bug"):
        search.evaluate(parsed(search, "0 0 0 | 0"), BUDGET)


def test_more_failures_than_borne_end_the_run() -> None:
    search, heard = make(**{"engine.max_failures": 1})
    with pytest.raises(NastkError, match="2 candidates failed, expected at most 1"):
        search.evaluate(parsed(search, "3 0 0 | 0", "3 1 0 | 0"), BUDGET)
    assert [v["trial"].status for _, v in heard] == ["diverged", "diverged"]


def test_known_candidates_are_answered_from_memory_at_no_cost() -> None:
    search, _ = make()
    first = search.evaluate(parsed(search, "0 0 0 | 0", "0 0 0 | 0"), BUDGET)
    later = search.evaluate(parsed(search, "0 0 0 | 0"), BUDGET, first_number=2)
    again = [first[1], later[0]]
    assert [t.reason for t in again] == ["known from candidate 0"] * 2
    assert [t.cost for t in again] == [Cost()] * 2
    assert [t.evaluation for t in again] == [first[0].evaluation] * 2
    assert (search.ledger.reused, search.ledger.trials) == (2, 1)
    assert search.ledger.total().steps == 5


def test_another_budget_or_no_reuse_trains_again() -> None:
    search, _ = make()
    architecture = parsed(search, "0 0 0 | 0")
    search.evaluate(architecture, BUDGET)
    search.evaluate(architecture, Budget(6), first_number=1)
    twice = search.evaluate(architecture * 2, BUDGET, first_number=2, reuse=False)
    assert search.ledger.total().steps == 5 + 6 + 10
    assert twice[0].evaluation != twice[1].evaluation


def test_outcome_depends_on_the_number_and_not_on_order_or_executor() -> None:
    one, _ = make()
    two, _ = make()
    two.executor = InProcess()
    codes = ["0 0 0 | 0", "1 0 0 | 0", "2 2 2 | 1"]
    whole = one.evaluate(parsed(one, *codes), BUDGET)
    parts = [
        *two.evaluate(parsed(two, codes[2]), BUDGET, first_number=2),
        *two.evaluate(parsed(two, *codes[:2]), BUDGET),
    ]
    assert without_time(whole) == without_time([*parts[1:], parts[0]])


def test_narrowed_search_shares_ledger_memory_and_journal() -> None:
    search, heard = make()
    narrow = search.with_space(search.space.freeze({"cell0.op": "plain"}))
    narrow.evaluate(parsed(search, "0 0 0 | 0"), BUDGET)
    search.evaluate(parsed(search, "0 0 0 | 0"), BUDGET, first_number=1)
    assert search.space.size() > narrow.space.size()
    assert (search.ledger.reused, len(heard)) == (1, 2)


def test_memory_survives_its_state() -> None:
    search, _ = make()
    search.evaluate(parsed(search, "0 0 0 | 0", "3 0 0 | 0"), BUDGET)
    other, _ = make()
    other.memory.load_state_dict(search.memory.state_dict())
    assert other.memory.trials == search.memory.trials
    known = other.evaluate(parsed(other, "3 0 0 | 0"), BUDGET, first_number=9)[0]
    assert known.reason == "known from candidate 1: the first cell exploded"


class Predictor(toys.ToyEvaluator):
    builds = False

    def evaluate(self, candidates: Sequence[Candidate], *_: Any) -> list[Evaluation]:
        assert all(c.generator is None for c in candidates)
        self.batch = len(candidates)
        value = [float(len(c.architecture.choices)) for c in candidates]
        return [
            Evaluation({"rating": Metric("rating", v, "minimise", MetricCard())}) for v in value
        ]


def test_predictor_scores_a_batch_without_building_anything() -> None:
    search, _ = make()
    search.evaluator = Predictor(dataset=search.dataset, device="cpu")
    trials = search.evaluate(parsed(search, "0 0 0 | 0", "1 1 1 | 1"), BUDGET)
    assert (search.evaluator.batch, [t.ok for t in trials]) == (2, [True, True])
    assert search.ledger.total().steps == 0


class Ranks(toys.ToyEvaluator):
    together = True

    def evaluate(self, candidates: Sequence[Candidate], *_: Any) -> list[Evaluation]:
        for candidate in candidates:
            if candidate.architecture.choices["cell0.op"] == "plain":
                raise TrialError("it paints nothing", status="collapsed")
        return [
            Evaluation({"rating": Metric("rating", float(i), "minimise", MetricCard())})
            for i in range(len(candidates))
        ]


def test_batch_is_measured_in_one_call_where_the_evaluator_wants_it() -> None:
    search, _ = make()
    search.evaluator = Ranks(dataset=search.dataset, device="cpu")
    trials = search.evaluate(parsed(search, "1 0 0 | 0", "3 0 0 | 0", "2 0 0 | 0"), BUDGET)
    assert [t.status for t in trials] == ["ok", "diverged", "ok"]
    assert [t.evaluation and t.evaluation.value("rating") for t in trials] == [0.0, None, 1.0]
    assert [t.cost.steps for t in trials] == [5, 3, 5]


def test_candidate_that_cannot_be_measured_does_not_spoil_its_batch() -> None:
    search, _ = make()
    search.evaluator = Ranks(dataset=search.dataset, device="cpu")
    trials = search.evaluate(parsed(search, "1 0 0 | 0", "0 0 0 | 0", "2 0 0 | 0"), BUDGET)
    assert [(t.status, t.reason) for t in trials] == [
        ("ok", ""), ("collapsed", "it paints nothing"), ("ok", ""),
    ]  # fmt: skip
    assert [t.evaluation and t.evaluation.value("rating") for t in trials] == [0.0, None, 1.0]


def test_evaluator_is_given_the_search_and_its_labelled_candidates(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: list[Search] = []
    monkeypatch.setattr(toys.ToyEvaluator, "start", lambda self, search: given.append(search))
    search, _ = make()
    search.evaluate(parsed(search, "0 0 0 | 0"), BUDGET)
    assert given == [search]
    assert [t.ok for t in given[0].memory.trials.values()] == [True]


@pytest.mark.parametrize("amount", [20, 20.0, 0.5])
def test_a_record_that_was_read_is_written_as_it_was(amount: float) -> None:
    written = json.dumps(to_json(Budget(amount)))
    assert json.dumps(to_json(from_json(Budget, json.loads(written)))) == written
