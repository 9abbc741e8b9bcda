from __future__ import annotations

import json

import pytest

from nastk.ledger import Ledger
from nastk.records import Budget, Cost


def filled() -> Ledger:
    ledger = Ledger()
    ledger.enter("candidates", Cost(10, 100, 1000, 1.0))
    ledger.enter("candidates", Cost(3, 30, 300, 0.5), failed=True)
    ledger.enter("retrain", Cost(7, 70, 700, 2.0))
    return ledger


def test_phases_add_up_and_failed_work_is_a_part_of_them() -> None:
    ledger = filled()
    assert ledger.phases["candidates"] == Cost(13, 130, 1300, 1.5)
    assert ledger.total() == Cost(20, 200, 2000, 3.5)
    assert ledger.failed == Cost(3, 30, 300, 0.5)


@pytest.mark.parametrize(
    ("unit", "spent"), [("steps", 13), ("images", 130), ("macs", 1300), ("seconds", 1.5)]
)
def test_budget_is_held_against_the_search_alone(unit: str, spent: float) -> None:
    ledger = filled()
    assert ledger.spent(unit, without=("retrain",)) == spent
    budget = Budget(spent * 2, unit)  # type: ignore[arg-type]
    assert ledger.share(budget, without=("retrain",)) == 0.5
    assert ledger.share(None) == 0.0


def test_state_comes_back_without_repeated_work() -> None:
    ledger = filled()
    ledger.trials, ledger.failures, ledger.reused = 5, 1, 2
    ledger.repeated = Cost(1)
    other = Ledger()
    other.load_state_dict(json.loads(json.dumps(ledger.state_dict())))
    assert other.state_dict() == ledger.state_dict()
    assert (other.trials, other.failures, other.reused) == (5, 1, 2)
    assert other.repeated == Cost()


def test_difference_undoes_a_sum() -> None:
    both = Cost(1, 2, 3, 4.0) + Cost(5, 6, 7, 8.0)
    assert both - Cost(5, 6, 7, 8.0) == Cost(1, 2, 3, 4.0)


def test_hit_rate_is_the_share_of_candidates_that_memory_answered():
    ledger = Ledger()
    assert ledger.hit_rate == 0.0
    ledger.trials, ledger.reused = 30, 10
    assert ledger.hit_rate == 0.25
