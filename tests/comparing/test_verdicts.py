"""What is claimed, and the cheats that must not go through."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from attrs import evolve

from nastk.comparing.cells import Bill, Cell
from nastk.comparing.tables import markdown
from nastk.comparing.verdicts import (
    ITSELF,
    NO_BASELINE,
    NOT_COMPARABLE,
    NOT_DISTINGUISHABLE,
    TOO_FEW,
    Judged,
    Verdict,
    judge,
)
from nastk.records import Cost, Metric, MetricCard
from tests.comparing.conftest import BENCHMARK, NOISE, cell, cells, plan_of, table


def verdict(found: Sequence[Cell], *labels: str, **more: Any) -> Verdict:
    made = table(*labels, **more)
    return judge(plan_of(made), made, found)


def row(found: Verdict, label: str) -> Judged:
    return next(r for r in found.rows if r.label == label)


def altered(found: Sequence[Cell], label: str, **changes: Any) -> list[Cell]:
    return [evolve(c, **changes) if c.row == label else c for c in found]


def kinds(found: Verdict, label: str) -> set[str]:
    return {problem.kind for problem in row(found, label).problems}


def test_a_better_strategy_is_called_better_with_its_ratio_and_interval() -> None:
    found = verdict(cells(clever=5.0, foolish=16.0), "clever", "foolish")
    clever, foolish = row(found, "clever"), row(found, "foolish")
    assert clever.word == "better than random search"
    assert foolish.word == "worse than random search"
    assert clever.standing is not None
    assert clever.standing.effect.low < 0.5 < clever.standing.effect.high < 0.6
    assert clever.standing.beats.value == 1.0
    assert clever.improvement is not None
    assert clever.improvement.value == pytest.approx(0.75, abs=0.02)
    assert row(found, "random").word == ITSELF
    assert found.troubles == []


def test_an_interval_that_crosses_zero_is_told_as_not_distinguishable() -> None:
    noisy = [cell("equal", s, v) for s, v in enumerate((7.0, 14.0, 9.0, 12.5, 8.0, 11.0))]
    found = verdict([*cells(), *noisy], "equal")
    assert row(found, "equal").word == NOT_DISTINGUISHABLE


def test_a_small_p_alone_makes_nothing_better(monkeypatch: pytest.MonkeyPatch) -> None:
    from nastk.comparing import verdicts
    from nastk.comparing.statistics import Interval

    monkeypatch.setattr(verdicts, "mean_interval", lambda sample, rng: Interval(-1.0, -2.0, 0.1))
    clever = row(verdict(cells(clever=5.0), "clever"), "clever")
    assert clever.standing is not None
    assert clever.standing.corrected < 0.01
    assert clever.word == NOT_DISTINGUISHABLE


def test_where_larger_is_better_the_larger_is_called_better() -> None:
    made = [
        evolve(c, metrics={"fd": evolve(c.metrics["fd"], direction="maximise")})
        for c in cells(clever=5.0, large=15.0)
    ]
    found = verdict(made, "clever", "large")
    assert row(found, "clever").word == "worse than random search"
    assert row(found, "large").word == "better than random search"


def test_one_lucky_row_among_many_is_not_enough_after_correction() -> None:
    slight = [cell("slight", s, 10 * n * f) for s, (n, f) in enumerate(
        zip(NOISE, (0.93, 1.0, 0.94, 0.99, 0.95, 0.97), strict=True))]  # fmt: skip
    alone = verdict([*cells(), *slight], "slight")
    p = row(alone, "slight").standing
    assert p is not None
    assert p.p < 0.05
    many = {f"r{i}": 10.0 for i in range(30)}
    found = verdict([*cells(**many), *slight], "slight", *many)
    assert row(found, "slight").word == NOT_DISTINGUISHABLE


def test_a_crashed_seed_counts_as_the_worst_and_stays_in_the_table() -> None:
    made = cells(clever=5.0)
    crashed = [evolve(c, status="failed", reason="diverged", metrics={})
               if (c.row, c.seed) == ("clever", 2) else c for c in made]  # fmt: skip
    found = row(verdict(crashed, "clever"), "clever")
    assert found.values[2] is None
    worst = max(c.metrics["fd"].value or 0 for c in made)
    assert found.mean == pytest.approx(
        (sum(v for v in found.values if v is not None) + worst) / len(found.values)
    )
    assert found.word == NOT_DISTINGUISHABLE
    assert kinds(verdict(crashed, "clever"), "clever") == {"crashed"}


# -- cheats --------------------------------------------------------------------------------------


def test_cheat_a_larger_budget_makes_no_better_strategy() -> None:
    rich = Bill({"candidates": Cost(steps=150)}, final=Cost(steps=50))
    found = verdict(altered(cells(clever=5.0), "clever", bill=rich), "clever")
    assert kinds(found, "clever") == {"unequal-budget"}
    assert row(found, "clever").overrun == pytest.approx(0.5)
    assert "not comparable" in row(found, "clever").word
    assert any("50% more than the budget" in line for line in found.troubles)


def test_cheat_tuning_counts_as_search() -> None:
    made = table("clever")
    tuned = evolve(made, rows=(*made.rows[:2], evolve(made.rows[2], tuned=2)))
    found = judge(plan_of(tuned), tuned, cells(clever=5.0))
    assert row(found, "clever").k == 3
    assert row(found, "clever").spent == 300
    assert kinds(found, "clever") == {"unequal-budget"}


def test_cheat_a_budget_hidden_in_validation_counts() -> None:
    hidden = Bill({"candidates": Cost(steps=60)}, validation=Cost(steps=100))
    found = verdict(altered(cells(clever=5.0), "clever", bill=hidden), "clever")
    assert kinds(found, "clever") == {"unequal-budget"}


def test_cheat_without_a_budget_the_spender_is_told_against_random_search() -> None:
    rich = Bill({"candidates": Cost(macs=150)})
    poor = Bill({"candidates": Cost(macs=100)})
    made = altered(altered(cells(clever=5.0), "clever", bill=rich), "random", bill=poor)
    found = verdict(made, "clever", budget="")
    assert kinds(found, "clever") == {"unequal-budget"}


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"search_splits": ("test",)}, "peeked"),
        ({"status": "peeked", "metrics": {}}, "peeked"),
        ({"choice_splits": ("test",)}, "selection-on-test"),
        ({"benchmark": "another00000"}, "unlike-benchmark"),
    ],
)
def test_cheat_rows_whose_numbers_mean_something_else_are_tested_against_nobody(
    change: dict[str, Any], kind: str
) -> None:
    found = verdict(altered(cells(clever=5.0), "clever", **change), "clever")
    assert kind in kinds(found, "clever")
    assert row(found, "clever").barred
    assert row(found, "clever").word == NOT_COMPARABLE
    assert row(found, "clever").standing is None
    assert found.troubles


@pytest.mark.parametrize(
    "card",
    [
        MetricCard(extractor="judge", split="test", n_fake=5),
        MetricCard(extractor="friend", split="test", n_fake=100),
    ],
)
def test_cheat_unlike_metric_cards_never_share_a_test(card: MetricCard) -> None:
    kept = [
        evolve(c, metrics={"fd": Metric("fd", 5.0, "minimise", card)}) if c.row == "clever" else c
        for c in cells(clever=5.0)
    ]
    found = verdict(kept, "clever")
    assert kinds(found, "clever") == {"unlike-cards"}
    assert row(found, "clever").word == NOT_COMPARABLE


def test_cheat_training_numbers_are_no_test_results() -> None:
    card = MetricCard(extractor="judge", split="train", n_fake=100)
    kept = [evolve(c, metrics={"fd": evolve(c.metrics["fd"], card=card)}) for c in cells(a=5.0)]
    assert "not-test" in kinds(verdict(kept, "a"), "a")


def test_cards_may_differ_from_seed_to_seed_but_not_within_one() -> None:
    def split(made: Cell) -> Cell:
        card = evolve(made.metrics["fd"].card, data=f"split{made.seed}")
        return evolve(made, metrics={"fd": evolve(made.metrics["fd"], card=card)})

    assert verdict([split(c) for c in cells(clever=5.0)], "clever").troubles == []


def test_cheat_a_dropped_seed_is_missed_and_counts_as_the_worst() -> None:
    made = [c for c in cells(clever=5.0) if (c.row, c.seed) != ("clever", 4)]
    found = verdict(made, "clever")
    assert kinds(found, "clever") == {"missing-seed"}
    assert row(found, "clever").values[4] is None
    assert row(found, "clever").word == NOT_COMPARABLE
    assert found.troubles == ["toys: clever: seed 4 missing: counted as worst"]


def test_cheat_two_seeds_carry_no_verdict() -> None:
    made = [c for c in cells(clever=5.0) if c.seed < 2]
    found = verdict(made, "clever", seeds=2)
    assert row(found, "clever").word == TOO_FEW
    assert row(found, "clever").standing is None
    assert "few-seeds" in kinds(found, "clever")


def test_without_random_search_nothing_is_claimed() -> None:
    made = table("clever")
    bare = evolve(made, rows=made.rows[2:])
    found = judge(plan_of(bare, baselines=False), bare, cells(clever=5.0))
    assert row(found, "clever").word == NO_BASELINE


def test_search_and_training_seed_share_the_variance() -> None:
    made = cells(clever=5.0)
    again = [evolve(c, training=1, metrics={"fd": evolve(c.metrics["fd"], value=1.001 * (
        c.metrics["fd"].value or 0))}) for c in made if c.row == "clever"]  # fmt: skip
    found = row(verdict([*made, *again], "clever"), "clever")
    assert found.split is not None
    assert found.split[0] > 10 * found.split[1]
    assert row(verdict([*made, *again], "clever"), "random").split is None


def test_the_same_cells_give_the_same_numbers() -> None:
    made = cells(clever=8.0)
    assert verdict(made, "clever") == verdict(made, "clever")
    assert verdict(made, "clever").benchmark == BENCHMARK


def test_a_row_that_was_left_out_says_why_below_the_table() -> None:
    made = table("shy")
    absent = evolve(made, rows=(*made.rows[:-1], evolve(made.rows[-1], absent="too bright")))
    verdict = judge(plan_of(absent), absent, cells())
    text = markdown([verdict], {})
    assert "| shy | left out |  |" in text
    assert text.count("* shy was left out: too bright\n") == text.count("too bright") == 1
