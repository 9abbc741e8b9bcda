from __future__ import annotations

import subprocess
import sys

import pytest
from attrs import fields

from nastk.metrics.class_head import ClassHeadEvaluator
from nastk.metrics.components import COMPONENTS
from nastk.metrics.config import QUALIFIED, EvaluatorConfig
from nastk.metrics.evaluator import StandardEvaluator, standard


def test_components_load_their_factory_and_config() -> None:
    named = {(component.kind, component.name): component for component in COMPONENTS}
    assert set(named) == {("evaluator", "standard"), ("evaluator", "class-head")}
    assert named["evaluator", "standard"].load_factory() is standard
    assert named["evaluator", "standard"].load_config() is EvaluatorConfig
    assert named["evaluator", "class-head"].load_factory() is ClassHeadEvaluator
    assert named["evaluator", "class-head"].load_config() is None


def test_listing_and_configuring_import_no_torch() -> None:
    code = (
        "import sys, nastk.metrics.components, nastk.metrics.config as c; c.EvaluatorConfig();"
        "print([m for m in ('torch', 'numpy', 'torch_fidelity') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_setting_has_a_help_text() -> None:
    assert all(f.metadata["help"] for f in fields(EvaluatorConfig))


def test_every_name_that_may_be_returned_has_a_direction() -> None:
    declared = StandardEvaluator.metrics
    assert set(QUALIFIED) | set(QUALIFIED.values()) <= set(declared)
    assert declared["fid"] == declared["extractor_fd"] == "minimise"
    assert declared["inception_score"] == "maximise"


@pytest.mark.parametrize(
    "wrong",
    [
        {"extractor": "vgg"},
        {"metrics": ("fidd",)},
        {"samples": 1},
        {"batch_size": 0},
        {"kid_subset_size": 1},
        {"mask_size": -1},
        {"latency_repeats": 1},
    ],
)
def test_values_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        EvaluatorConfig(**wrong)  # type: ignore[arg-type]
