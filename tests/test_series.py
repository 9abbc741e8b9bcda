from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nastk import series
from nastk.errors import RunFolderError
from nastk.records import Metric, MetricCard
from nastk.result import Result
from nastk.testing import toys
from nastk.testing.folders import content
from nastk.testing.toys import config


def result(value: float | None, **card: Any) -> Result:
    facts = {"split": "test", "n_real": 100, **card}
    metric = Metric("rating", value, "minimise", MetricCard(**facts))
    return Result(Path("r"), metrics={"rating": metric})


def test_parts_differ_in_folder_and_seed_only(tmp_path: Path) -> None:
    found = series.parts(config(**{"run.seed": 5}), tmp_path / "a", 2)
    assert [p.folder.name for p in found] == ["a-seed5", "a-seed6"]
    assert found[0].config.differences(found[1].config) == ["run.seed: 5 -> 6"]


def test_a_part_is_begun_once_and_then_read(tmp_path: Path) -> None:
    (part,) = series.parts(config(), tmp_path / "a", 1)
    assert series.finished(part, toys.registry()) is None
    first = series.carry_on(part, toys.registry())
    before = content(part.folder)
    again = series.finished(part, toys.registry())
    assert again is not None
    assert (again.codes, again.metrics) == (first.codes, first.metrics)
    assert content(part.folder) == before


def test_a_folder_of_other_settings_is_refused_with_what_differs(tmp_path: Path) -> None:
    (part,) = series.parts(config(), tmp_path / "a", 1)
    series.carry_on(part, toys.registry())
    (other,) = series.parts(config(**{"final.steps": 9}), tmp_path / "a", 1)
    with pytest.raises(RunFolderError, match=r"final\.steps: 250 -> 9"):
        series.finished(other, toys.registry())


def test_mean_and_deviation_are_over_the_runs_that_measured() -> None:
    (average,) = series.averages([result(1.0), result(None), result(3.0)])
    assert (average.mean, average.count) == (2.0, 2)
    assert average.deviation == pytest.approx(2**0.5)


def test_a_single_run_has_a_mean_and_no_deviation() -> None:
    (average,) = series.averages([result(1.5)])
    assert (average.mean, average.deviation) == (1.5, None)


def test_cards_may_differ_in_what_the_seed_changes_and_it_is_named() -> None:
    extra = [{"extractor_accuracy": 0.9}, {"extractor_accuracy": 0.8}]
    pair = [result(1.0, data=d, extra=e) for d, e in zip("ab", extra, strict=True)]
    (average,) = series.averages(pair)
    assert (average.mean, average.varies) == (1.0, ("data", "extractor_accuracy"))


@pytest.mark.parametrize(
    ("name", "card"), [("n_real", {"n_real": 99}), ("mask_size", {"extra": {"mask_size": 4}})]
)
def test_unlike_cards_get_no_mean(name: str, card: dict[str, Any]) -> None:
    (average,) = series.averages([result(1.0), result(1.0, **card)])
    assert (average.mean, average.problem) == (None, f"cards differ in {name}")
