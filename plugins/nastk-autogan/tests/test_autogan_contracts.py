"""The strategies with a controller keep the contract of strategies."""

import pytest

from nastk.testing.contracts import StrategyContract
from nastk_autogan import register_components

FOUND = {c.name: c for c in register_components() if c.kind == "strategy"}


class TestAutogan(StrategyContract):
    settings = {  # noqa: RUF012
        "stage_iterations": [1],
        "shared_steps": 1,
        "controller_steps": 1,
        "controller_width": 8,
        "candidates": 2,
        "beam": 1,
    }
    refused = ({"beam": 0}, {"controller_lr": 0.0})

    @pytest.fixture
    def component(self):
        return FOUND["autogan"]


class TestReinforce(StrategyContract):
    settings = {"candidates": 4, "steps": 1, "controller_width": 8}  # noqa: RUF012
    refused = ({"candidates": 0}, {"batch": 0})

    @pytest.fixture
    def component(self):
        return FOUND["reinforce"]


def test_every_strategy_is_held_to_the_contract():
    assert set(FOUND) == {"autogan", "reinforce"}
