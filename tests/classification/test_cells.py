from __future__ import annotations

from pathlib import Path

import pytest

from nastk.classification.cells import LABELS, METHODS, Asked, budgets, plan
from nastk.errors import ConfigError


def test_every_method_is_trained_at_every_budget_with_every_seed(planned) -> None:
    cells = planned(seeds=2, dataset__labels="1.0,0.1")
    found = {(c.labels, c.seed, c.method) for c in cells}
    assert found == {(b, s, m) for b in (1.0, 0.1) for s in (0, 1) for m in METHODS}
    assert len({c.part.folder for c in cells}) == len(cells) == 12
    for cell in cells:
        assert cell.part.config.run.seed == cell.seed
        assert cell.part.config.component("dataset").labels == cell.labels


def test_methods_differ_in_objective_and_batches_only(planned) -> None:
    gan, real, supervised = (c.part.config for c in planned())
    assert gan.differences(real) == ["run.objective: 'semi-supervised' -> 'real-only'"]
    lines = gan.differences(supervised)
    assert {line.partition(":")[0].partition(".")[0] for line in lines} == {
        "run",
        "trainer",
        "objective",
    }
    shares = [c.component("trainer").labelled_share for c in (gan, real, supervised)]
    assert shares == [0.5, 0.5, 1.0]


def test_settings_of_the_objective_go_to_the_methods_that_have_them(planned) -> None:
    gan, real, supervised = (c.part.config for c in planned(objective__class_weight=2.0))
    assert gan.component("objective").class_weight == 2.0
    assert real.component("objective").class_weight == 2.0
    assert supervised.component("objective") is None


def test_the_budgets_are_those_of_the_issue_unless_told() -> None:
    assert tuple(budgets(Asked(""))) == LABELS == (1.0, 0.1, 0.01)


@pytest.mark.parametrize("text", ["", "0", "1.5", "0.1,0.1", "some", "0.1,,1"])
def test_other_budgets_are_refused(text: str, registry) -> None:
    with pytest.raises(ConfigError, match="--labels: got"):
        plan(Asked("A", {"dataset.labels": text}), registry, Path("x"), "cpu")
