"""Faults of any component: each breaks the law that it is for."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve, field, frozen

from nastk.executor import InProcess
from nastk.testing.contracts import ComponentContract
from tests.testing.contracts.conftest import caught, component


@frozen
class Silent:
    depth: int = 3


@frozen
class Wrong:
    depth: int = field(default="three", metadata={"help": "how deep"})  # type: ignore[assignment]


@frozen
class Good:
    depth: int = field(default=3, metadata={"help": "how deep"})


@pytest.mark.parametrize(
    ("name", "config", "words"),
    [
        ("component_has_a_name_and_a_summary", None, {"name": "Planted One"}),
        ("component_has_a_name_and_a_summary", None, {"summary": ""}),
        ("component_has_a_name_and_a_summary", None, {"summary": "two\nlines"}),
        ("every_setting_is_described_and_has_a_valid_default", Silent, {}),
        ("every_setting_is_described_and_has_a_valid_default", Wrong, {}),
        ("module_of_the_settings_imports_nothing_heavy", Good, {"config": "scipy:Config"}),
    ],
)
def test_faults_of_any_component_are_caught(name: str, config: Any, words: dict[str, str]) -> None:
    made = component("executor", InProcess, config)
    made = evolve(made, **words)
    caught(ComponentContract, name, made)


def test_settings_that_should_be_refused_and_are_not_are_caught() -> None:
    class Lenient(ComponentContract):
        refused = ({"depth": 4},)

    with pytest.raises(BaseException, match="DID NOT RAISE"):
        Lenient().test_settings_of_a_wrong_type_are_refused_in_one_line(
            component("executor", InProcess, Good)
        )
