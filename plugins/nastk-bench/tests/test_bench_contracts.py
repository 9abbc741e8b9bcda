"""The zero-cost scores keep the contract of evaluators, what reads the table that of any part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from nastk.registry import Component
from nastk.testing.contracts import ComponentContract, EvaluatorContract
from nastk_bench import register_components


class TestZeroCost(EvaluatorContract):
    count = 2
    settings: Mapping[str, Any] = {"batch": 4, "draws": 1, "samples": 8}
    refused = ({"draws": 0}, {"score": "luck"})

    @pytest.fixture
    def component(self) -> Component:
        return next(c for c in register_components() if c.name == "zero-cost")


class TestTabulated(ComponentContract):
    """The table answers for one space only, so that no other law applies."""

    @pytest.fixture(params=["tabulated", "nano"])
    def component(self, request: pytest.FixtureRequest) -> Component:
        return next(
            c for c in register_components() if c.name == request.param and c.kind != "space"
        )
