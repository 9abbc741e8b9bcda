"""Runs side by side: alike numbers are ranked, unlike ones never."""

import json
import shutil

import pytest

from nastk.errors import ConfigError
from nastk.report import write_reports
from nastk.report.comparing import columns
from nastk.report.page import MAX_RUNS

from .conftest import Page


def metric(value, direction="minimise", **card):
    return {"value": value, "direction": direction, "card": card}


def test_the_best_of_alike_numbers_is_marked_by_its_direction():
    low, high = columns([{"a": metric(2.0), "b": metric(2.0, "maximise")},
                         {"a": metric(1.0), "b": metric(1.0, "maximise")}])  # fmt: skip
    assert [cell.best for cell in low.cells] == [False, True]
    assert [cell.best for cell in high.cells] == [True, False]


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ({"n_fake": 500}, {"n_fake": 100}, "n_fake 500, 100"),
        ({"extra": {"seed": 1}}, {"extra": {"seed": 2}}, "seed 1, 2"),
        ({"weights": "abc"}, {}, "weights abc, none"),
    ],
)
def test_unlike_cards_are_never_ranked_and_the_difference_is_told(first, second, told):
    [column] = columns([{"a": metric(2.0, **first)}, {"a": metric(1.0, **second)}])
    assert column.unlike == told
    assert not any(cell.best for cell in column.cells)


def test_unlike_directions_are_not_ranked():
    [column] = columns([{"a": metric(2.0)}, {"a": metric(1.0, "maximise")}])
    assert column.unlike
    assert not any(cell.best for cell in column.cells)


def test_a_number_that_only_one_run_has_is_not_the_best():
    [column] = columns([{"a": metric(2.0)}, {"a": metric(None)}, {}])
    assert [cell.text for cell in column.cells] == ["2", "", ""]
    assert not any(cell.best for cell in column.cells)


def test_wrong_values_do_no_harm():
    for wrong in (None, 7, "x", [], [[]], {"value": "x"}, {"value": 1, "card": [1]}):
        assert len(columns([{"a": wrong}, {"a": metric(1.0)}])) == 1


def test_page_compares_first_and_then_shows_each_run(finished, tmp_path):
    other = shutil.copytree(finished, tmp_path / "other")
    events = [json.loads(x) for x in (other / "events.jsonl").read_text().splitlines()]
    result = next(e for e in events if e["type"] == "result")
    name = next(iter(result["metrics"]))
    result["metrics"][name]["card"]["n_fake"] = 123456
    (other / "events.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))
    page = Page(write_reports([finished, other], tmp_path / "a.html").read_text(encoding="utf-8"))
    assert page.text.startswith("2 runs · nastk")
    assert f"{name} ≠" in page.text
    assert "n_fake" in page.text
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert {"r1-answer", "r2-answer"} <= set(ids)
    assert {attrs["href"][1:] for attrs in page.all("a")} <= set(ids)


def test_too_many_runs_are_refused(finished, tmp_path):
    with pytest.raises(ConfigError, match=f"expected 1 to {MAX_RUNS}"):
        write_reports([finished] * (MAX_RUNS + 1), tmp_path / "a.html")
