from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from nastk.classification.cells import METHODS, Cell
from nastk.classification.table import comparisons, paired_p, rows, spread
from nastk.records import Cost, Metric, MetricCard
from nastk.result import Result


def results(values: dict[str, list[float | None]], labels: float = 0.1) -> Any:
    found = []
    for method, accuracies in values.items():
        for seed, value in enumerate(accuracies):
            part = cast(Any, type("Part", (), {"folder": Path(f"{method}-{seed}")}))
            metric = Metric("accuracy", value, "maximise", MetricCard())
            metrics = {} if value is None else {"accuracy": metric, "balanced_accuracy": metric}
            ledger = {"retrain": Cost(10, 640, 5_000), "evaluate": Cost(seconds=1.0)}
            result = Result(Path("r"), metrics=metrics, ledger=ledger)
            found.append((Cell(method, labels, seed, part), result))
    return found


def table(**values: list[float | None]) -> Any:
    named = {name.replace("_", "-"): v for name, v in values.items()}
    found = results(named)
    return rows(found, {cell.name: 7 for cell, _ in found})


def test_a_row_holds_what_each_seed_came_to_and_what_one_training_cost() -> None:
    (gan, *_) = table(semi_supervised=[0.9, 0.8], real_only=[0.7, 0.7], supervised=[0.5, 0.6])
    assert (gan.method, gan.accuracy, gan.seeds) == ("semi-supervised", (0.9, 0.8), (0, 1))
    assert (gan.steps, gan.images, gan.macs, gan.visible) == (10, 640, 5000, (7, 7))


def test_failed_seeds_are_told_and_left_out_of_pairs() -> None:
    found = table(semi_supervised=[0.9, None], real_only=[0.7, 0.7], supervised=[0.5, 0.6])
    assert (found[0].seeds, found[0].failed) == ((0,), (1,))
    assert [c.pairs for c in comparisons(found)] == [1, 1]
    assert {c.verdict for c in comparisons(found)} == {"too few seeds"}


def test_seeds_are_paired_not_pooled() -> None:
    # The seeds differ by far more than the methods, which differ by the same every time.
    gan, other = [0.5, 0.7, 0.9], [0.401, 0.6, 0.799]
    found = comparisons(table(semi_supervised=gan, real_only=other, supervised=gan))
    assert [c.verdict for c in found] == ["better", "not distinguishable"]
    assert found[0].difference == pytest.approx(0.1)
    assert found[1].p == 1.0


def test_a_worse_gan_is_called_worse() -> None:
    other = [0.6, 0.801, 0.999]
    found = comparisons(table(semi_supervised=[0.5, 0.7, 0.9], real_only=other, supervised=other))
    assert {c.verdict for c in found} == {"worse"}


def test_p_is_the_paired_t_test_of_scipy() -> None:
    from scipy.stats import ttest_rel

    a, b = [0.9, 0.85, 0.7], [0.8, 0.84, 0.6]
    expected = ttest_rel(a, b).pvalue
    assert paired_p([x - y for x, y in zip(a, b, strict=True)]) == pytest.approx(expected)


def test_a_p_value_that_holds_alone_must_be_smaller_among_two() -> None:
    gan: list[float | None] = [0.510, 0.512, 0.518]
    flat: list[float | None] = [0.5, 0.5, 0.5]
    noisy: list[float | None] = [0.52, 0.49, 0.53]
    p = paired_p([0.010, 0.012, 0.018])
    assert p is not None
    assert 0.025 < p < 0.05
    alone = comparisons(table(semi_supervised=gan, real_only=flat, supervised=[None] * 3))
    assert alone[0].verdict == "better"
    both = comparisons(table(semi_supervised=gan, real_only=flat, supervised=noisy))
    assert both[0].verdict == "not distinguishable"


@pytest.mark.parametrize(("values", "text"), [([0.5], "50.0"), ([], "none")])
def test_a_single_seed_has_no_spread(values: list[float], text: str) -> None:
    assert spread(values) == text


def test_methods_are_the_rows_order() -> None:
    found = table(supervised=[0.5], semi_supervised=[0.9], real_only=[0.7])
    assert tuple(row.method for row in found) == METHODS
