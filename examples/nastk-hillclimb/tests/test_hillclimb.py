"""The hill climber keeps what every strategy promises, and climbs."""

from typing import ClassVar

import pytest
from nastk_hillclimb import register_components

from nastk.registry import Component
from nastk.testing.contracts import StrategyContract


class TestHillClimb(StrategyContract):
    settings: ClassVar = {"candidates": 6, "steps": 2, "patience": 2}
    refused: ClassVar = ({"candidates": 0}, {"patience": "long"})

    @pytest.fixture
    def component(self) -> Component:
        return register_components()[0]
