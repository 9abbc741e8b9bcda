"""The strategies of Optuna keep the contract of strategies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from nastk.registry import Component
from nastk.testing.contracts import StrategyContract
from nastk_optuna import register_components

FOUND = {c.name: c for c in register_components()}


class TestRandom(StrategyContract):
    settings: Mapping[str, Any] = {"candidates": 3, "steps": 1}
    refused = ({"candidates": 0}, {"storage": "redis://localhost"}, {"metrics": []})

    @pytest.fixture
    def component(self) -> Component:
        return FOUND["random"]


class TestTpe(TestRandom):
    settings: Mapping[str, Any] = {"candidates": 5, "steps": 1, "startup_trials": 2}

    @pytest.fixture
    def component(self) -> Component:
        return FOUND["tpe"]


class TestNsga2(TestRandom):
    settings: Mapping[str, Any] = {"candidates": 5, "steps": 1, "population": 2}

    @pytest.fixture
    def component(self) -> Component:
        return FOUND["nsga2"]
