from __future__ import annotations

import math
from typing import Any

import pytest
from attrs import evolve

from nastk.errors import PairError
from nastk.metrics.cards import comparable, rank
from nastk.records import Metric, MetricCard

CARD = MetricCard(
    extractor="small-cnn-digits",
    weights="aa",
    n_real=270,
    n_fake=1000,
    split="validation",
    data="bb",
    resizer="r",
    weights_kind="ema",
    dtype="float32",
    extra={"kid_subset_size": 100},
)


def metric(value: float | None, card: MetricCard = CARD, **more: str) -> Metric:
    fields = {"name": "extractor_fd", "direction": "minimise", **more}
    return Metric(value=value, card=card, **fields)  # type: ignore[arg-type]


def test_cards_that_are_alike_have_no_differences() -> None:
    assert comparable(CARD, evolve(CARD, extra={"kid_subset_size": 100})) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("extractor", "inception-v3"),
        ("weights", "ac"),
        ("n_real", 271),
        ("n_fake", 999),
        ("split", "test"),
        ("data", "bc"),
        ("resizer", "s"),
        ("weights_kind", "live"),
        ("dtype", "float64"),
    ],
)
def test_every_field_of_a_card_counts_and_is_named(name: str, value: Any) -> None:
    changed: Any = {name: value}
    other = evolve(CARD, **changed)
    assert [line.split(":")[0] for line in comparable(CARD, other)] == [name]
    with pytest.raises(PairError, match=name):
        rank({"a": metric(1.0), "b": metric(2.0, other)})


def test_extra_settings_count_even_where_one_card_lacks_them() -> None:
    assert comparable(CARD, evolve(CARD, extra={})) == ["kid_subset_size: 100 against nothing"]


def test_rank_puts_the_best_first_in_either_direction() -> None:
    low, high = {"a": metric(2.0), "b": metric(1.0)}, {"a": 2.0, "b": 1.0}
    assert rank(low) == ["b", "a"]
    up = {k: metric(v, name="recall", direction="maximise") for k, v in high.items()}
    assert rank(up) == ["a", "b"]


def test_rank_puts_what_was_not_measured_last_in_either_direction() -> None:
    for direction in ("minimise", "maximise"):
        values = {"none": None, "nan": math.nan, "seen": 5.0}
        metrics = {k: metric(v, direction=direction) for k, v in values.items()}
        assert rank(metrics) == ["seen", "none", "nan"]


def test_rank_refuses_unlike_names() -> None:
    with pytest.raises(PairError, match="fid"):
        rank({"a": metric(1.0), "b": metric(1.0, name="fid")})


def test_rank_refuses_unlike_directions() -> None:
    with pytest.raises(PairError, match="direction: minimise against maximise"):
        rank({"a": metric(1.0), "b": metric(1.0, direction="maximise")})


def test_rank_of_nothing_is_nothing() -> None:
    assert rank({}) == []
